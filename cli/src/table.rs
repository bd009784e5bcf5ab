//! Tables for people.

use openorder_types::is_unprintable;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::output;

/// A table under its headings; nothing when there are no rows.
pub(crate) fn print(headings: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(headings).chain(rows).collect();
    output::columns(&all).iter().for_each(output::line);
}

/// Names and values, a line each.
pub(crate) fn facts(facts: Vec<(&str, String)>) {
    let given = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let rows: Vec<Vec<String>> = given.map(|(name, value)| vec![format!("{name}:"), value]).collect();
    output::columns(&rows).iter().for_each(output::line);
}

/// One line of at most so many places on a terminal; what is cut is shown as cut. Text of a failure may have several
/// lines.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let clean: String = text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect();
    if clean.width() <= max {
        return clean;
    }
    let mut short = String::new();
    let mut width = 0;
    for letter in clean.chars() {
        width += letter.width().unwrap_or_default();
        if width >= max {
            break;
        }
        short.push(letter);
    }
    short.push('…');
    short
}

/// The value, or a dash for none.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_shown_as_cut() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äbcd", 3), "äb…");
        assert_eq!(cut("a\nb\u{1b}[31m", 9), "a b [31m", "no line and no colour out of a message");
        assert_eq!(cut("의자와 책상", 7), "의자와…", "a syllable takes two places");
        assert_eq!(cut("의자와 책상", 11), "의자와 책상");
        assert_eq!(cut("🪑🪑🪑", 4), "🪑…", "half of it is not shown");
        assert_eq!(or_dash(""), "-");
    }
}
