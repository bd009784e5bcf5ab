//! The words that an order is found by. No personal data is among them: no address, and nothing that a customer wrote.

use std::collections::BTreeSet;

use openorder_types::ValueError;
use uuid::Uuid;

use crate::domain::View;

/// Characters of a query.
const QUERY_CHARACTERS_MAX: usize = 200;
/// Words of a query.
const QUERY_WORDS_MAX: usize = 10;
/// Characters of a word that are looked at; longer ones are as good as equal.
const WORD_CHARACTERS_MAX: usize = 64;
/// Characters from which on a word finds those that begin with it: fewer would find nearly everything.
const PREFIX_CHARACTERS_MIN: usize = 3;

/// The words of a document, each once: runs of letters and digits in lower case.
pub fn words_of(order_id: Uuid, view: &View) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for line in view.order.lines.value().into_iter().flatten() {
        words.extend(words_in(&line.sku));
        words.extend(words_in(&line.display_name));
    }
    words.extend(words_in(view.status_reason()));
    words.extend(words_in(&order_id.to_string()));
    if let Some(parcel) = view.shipment.parcel.value() {
        words.extend(words_in(&parcel.tracking_number));
    }
    words
}

fn words_in(text: &str) -> impl Iterator<Item = String> {
    let runs = text.split(|letter: char| !letter.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(|run| {
        // A lower case letter may be two characters, of which the second is a mark.
        let lower = run.chars().flat_map(char::to_lowercase).filter(|one| one.is_alphanumeric());
        lower.take(WORD_CHARACTERS_MAX).collect()
    })
}

/// The words that somebody looks for; all must be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(BTreeSet<String>);

impl Words {
    /// Reads a query; the empty one has no words.
    ///
    /// # Errors
    /// `QUERY_TOO_LONG`, `QUERY_WITHOUT_WORDS`, `QUERY_TOO_MANY_WORDS`.
    pub fn parse(query: &str) -> Result<Self, ValueError> {
        if query.is_empty() {
            return Ok(Self::default());
        }
        if query.chars().nth(QUERY_CHARACTERS_MAX).is_some() {
            return Err(ValueError::new("QUERY_TOO_LONG", "must be at most 200 characters"));
        }
        let words: BTreeSet<String> = words_in(query).collect();
        match words.len() {
            0 => Err(ValueError::new("QUERY_WITHOUT_WORDS", "must have a letter or a digit")),
            1..=QUERY_WORDS_MAX => Ok(Self(words)),
            _ => Err(ValueError::new("QUERY_TOO_MANY_WORDS", "must have at most 10 words")),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The query in PostgreSQL's words. Words are letters and digits: nothing in them means something else there.
    pub fn to_tsquery(&self) -> String {
        let words = self.0.iter().map(|word| match word.chars().nth(PREFIX_CHARACTERS_MIN - 1) {
            Some(_) => format!("'{word}':*"),
            None => format!("'{word}'"),
        });
        words.collect::<Vec<_>>().join(" & ")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        let found: Vec<String> = words_in("CHAIR-2.red  Grüße/Ärger OUT_OF_STOCK 의자!").collect();
        assert_eq!(found, ["chair", "2", "red", "grüße", "ärger", "out", "of", "stock", "의자"]);
        assert_eq!(words_in(&"x".repeat(100)).next().map(|word| word.len()), Some(64));
    }

    #[test]
    fn a_query_is_all_its_words_and_longer_ones_also_begin_others() {
        let query = Words::parse("Red cha 42 red").unwrap();
        assert_eq!(query.to_tsquery(), "'42' & 'cha':* & 'red':*");
        assert!(Words::parse("").unwrap().is_empty());
        let reason = |query: &str| Words::parse(query).unwrap_err().reason;
        assert_eq!(reason(" -!- "), "QUERY_WITHOUT_WORDS");
        assert_eq!(reason(&"a ".repeat(101)), "QUERY_TOO_LONG");
        assert_eq!(reason("a b c d e f g h i j k"), "QUERY_TOO_MANY_WORDS");
        assert!(Words::parse("a b c d e f g h i j").is_ok());
    }

    proptest! {
        #[test]
        fn nothing_in_a_query_but_letters_and_digits_reaches_the_database(query in "\\PC{0,60}") {
            if let Ok(words) = Words::parse(&query) {
                let inside = words.0.iter().flat_map(|word| word.chars());
                prop_assert!(inside.clone().all(char::is_alphanumeric), "{:?}", inside.collect::<String>());
            }
        }
    }
}
