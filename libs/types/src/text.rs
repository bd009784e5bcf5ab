//! Free text: what people write for people, such as the reason of a cancellation.
//!
//! It goes far: into PostgreSQL (which takes no U+0000), into events, and onto an operator's terminal, where a control
//! character is a command and a bidirectional override makes a line read other than it is. So none of these comes in.

use crate::value::ValueError;

/// What the free text of a field may be, and the stable reasons with which it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextRule {
    length_max: usize,
    lines: bool,
    malformed: &'static str,
    too_long: &'static str,
}

impl TextRule {
    /// Why somebody does something: one line of at most 500 characters; `REASON_MALFORMED`, `REASON_TOO_LONG`.
    pub const REASON: Self = Self::line(500, "REASON_MALFORMED", "REASON_TOO_LONG");
    /// A text that a list is filtered by: one line of at most 500 characters; `TEXT_MALFORMED`, `TEXT_TOO_LONG`.
    pub const CONDITION: Self = Self::line(500, "TEXT_MALFORMED", "TEXT_TOO_LONG");

    /// One line of at most `length_max` characters (not bytes).
    #[must_use]
    pub const fn line(length_max: usize, malformed: &'static str, too_long: &'static str) -> Self {
        Self { length_max, lines: false, malformed, too_long }
    }

    /// Like [`Self::line`], with line feeds and tabs.
    #[must_use]
    pub const fn lines(length_max: usize, malformed: &'static str, too_long: &'static str) -> Self {
        Self { length_max, lines: true, malformed, too_long }
    }

    /// Characters of the text at most.
    #[must_use]
    pub const fn length_max(self) -> usize {
        self.length_max
    }

    /// Checks a text; an empty one is fine.
    ///
    /// # Errors
    /// The rule's reasons: too long, or with a character that [`is_unprintable`].
    pub fn parse(self, text: &str) -> Result<FreeText, ValueError> {
        let allowed = |letter| !is_unprintable(letter) || (self.lines && matches!(letter, '\n' | '\t'));
        // A character has at most four bytes: what is far too long is not read at all.
        if text.len() > 4 * self.length_max || text.chars().count() > self.length_max {
            return Err(ValueError::new(self.too_long, format!("must have at most {} characters", self.length_max)));
        }
        if text.chars().all(allowed) {
            return Ok(FreeText(text.to_owned()));
        }
        let exception = if self.lines { " other than line feeds and tabs" } else { "" };
        let message = format!("must not have control characters{exception}, nor bidirectional overrides");
        Err(ValueError::new(self.malformed, message))
    }
}

/// Whether a character does something to the place where it is shown, and is nothing to read: the control characters
/// (U+0000 to U+001F, U+007F to U+009F), the separators of lines and paragraphs (U+2028, U+2029), and what changes the
/// direction of the text around it (U+202A to U+202E, U+2066 to U+2069).
#[must_use]
pub fn is_unprintable(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A text that follows a [`TextRule`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeText(String);

impl FreeText {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the text away.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

const NAME: TextRule = TextRule::line(200, "DISPLAY_NAME_MALFORMED", "DISPLAY_NAME_MALFORMED");

/// The name that customers see: one line of 1 to 200 characters, some of them not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// Checks a name.
    ///
    /// # Errors
    /// `DISPLAY_NAME_MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.trim().is_empty() {
            return Err(ValueError::new("DISPLAY_NAME_MALFORMED", "must be 1 to 200 characters, not all blank"));
        }
        NAME.parse(text).map(|text| Self(text.into_string()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DisplayName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_name_says_something_on_one_line() {
        assert!(DisplayName::parse("Keyboard").is_ok());
        assert!(DisplayName::parse(&"ä".repeat(200)).is_ok(), "characters count, not bytes");
        for wrong in ["", "   ", "two\nlines", "nul\0", "\u{202E}draobyeK", &"x".repeat(201)] {
            assert_eq!(DisplayName::parse(wrong).unwrap_err().reason, "DISPLAY_NAME_MALFORMED", "{wrong:?}");
        }
    }
}
