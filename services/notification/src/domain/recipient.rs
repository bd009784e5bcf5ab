//! Where a notification goes: an address of one channel.

use std::fmt;

use openorder_types::{EmailAddress, ValueError};

use crate::domain::Channel;

/// Longest push token, in bytes; the providers' own are shorter.
pub const PUSH_TOKEN_LENGTH_MAX: usize = 1_024;

/// A telephone number as ITU-T E.164 writes it for the world: '+', country code, subscriber, 8 to 15 digits in all.
/// `Debug` shows it masked.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Parses the text.
    ///
    /// # Errors
    /// `PHONE_NUMBER_MALFORMED` for any other text.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let digits = text.strip_prefix('+').unwrap_or_default();
        let valid = (8..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !valid {
            let allowed = "must be a telephone number with its country code: '+' and 8 to 15 digits, no spaces";
            return Err(ValueError::new("PHONE_NUMBER_MALFORMED", allowed));
        }
        Ok(Self(text.to_owned()))
    }

    /// The number itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number with all but its beginning and end hidden: `+49***21`.
    #[must_use]
    pub fn masked(&self) -> String {
        // ASCII by construction.
        let (start, end) = (self.0.get(..3), self.0.get(self.0.len().saturating_sub(2)..));
        format!("{}***{}", start.unwrap_or_default(), end.unwrap_or_default())
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneNumber({})", self.masked())
    }
}

/// What names one installation of the app to the push provider: it gave it out, and nobody else reads anything from it.
/// Who holds it can send to it, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PushToken(String);

impl PushToken {
    /// Parses the text.
    ///
    /// # Errors
    /// `PUSH_TOKEN_MALFORMED` unless it is 1 to [`PUSH_TOKEN_LENGTH_MAX`] visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let valid =
            (1..=PUSH_TOKEN_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !valid {
            let allowed = format!("must be 1 to {PUSH_TOKEN_LENGTH_MAX} visible ASCII characters");
            return Err(ValueError::new("PUSH_TOKEN_MALFORMED", allowed));
        }
        Ok(Self(text.to_owned()))
    }

    /// The token itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last four characters, if they say little enough: `***k3Qz`.
    #[must_use]
    pub fn masked(&self) -> String {
        let shown = self.0.len().checked_sub(4).filter(|hidden| *hidden >= 12).and_then(|from| self.0.get(from..));
        format!("***{}", shown.unwrap_or_default())
    }
}

impl fmt::Debug for PushToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushToken({})", self.masked())
    }
}

/// An address of one channel. `Debug` shows it masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// A mailbox.
    Email(EmailAddress),
    /// A telephone.
    Sms(PhoneNumber),
    /// An app.
    Push(PushToken),
}

impl Recipient {
    /// Parses an address of this channel.
    ///
    /// # Errors
    /// That of the address.
    pub fn parse(channel: Channel, text: &str) -> Result<Self, ValueError> {
        match channel {
            Channel::Email => EmailAddress::parse(text).map(Self::Email),
            Channel::Sms => PhoneNumber::parse(text).map(Self::Sms),
            Channel::Push => PushToken::parse(text).map(Self::Push),
        }
    }

    /// The address itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email(address) => address.as_str(),
            Self::Sms(number) => number.as_str(),
            Self::Push(token) => token.as_str(),
        }
    }

    /// The address as others may see it.
    #[must_use]
    pub fn masked(&self) -> String {
        match self {
            Self::Email(address) => address.masked(),
            Self::Sms(number) => number.masked(),
            Self::Push(token) => token.masked(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_telephone_number_has_its_country_code_and_nothing_else() {
        for number in ["+4930901820", "+12025550123", "+123456789012345"] {
            assert_eq!(PhoneNumber::parse(number).unwrap().as_str(), number);
        }
        for text in
            ["", "+", "030901820", "+0301234567", "+1234567", "+1234567890123456", "+49 30 901820", "+49٣٣٣٣٣٣٣"]
        {
            assert_eq!(PhoneNumber::parse(text).unwrap_err().reason, "PHONE_NUMBER_MALFORMED", "{text}");
        }
    }

    #[test]
    fn a_push_token_is_visible_text_of_a_bounded_length() {
        assert!(PushToken::parse("ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]").is_ok());
        assert!(PushToken::parse(&"a".repeat(PUSH_TOKEN_LENGTH_MAX)).is_ok());
        for text in ["", "two words", "line\nbreak", "é", &"a".repeat(PUSH_TOKEN_LENGTH_MAX + 1)] {
            assert_eq!(PushToken::parse(text).unwrap_err().reason, "PUSH_TOKEN_MALFORMED");
        }
    }

    #[test]
    fn no_address_is_given_away_by_a_log_line() {
        for (channel, text, masked) in [
            (Channel::Email, "ada@example.com", "a***@example.com"),
            (Channel::Sms, "+4930901821", "+49***21"),
            (Channel::Push, "short", "***"),
            (Channel::Push, "0123456789abcdefk3Qz", "***k3Qz"),
        ] {
            let recipient = Recipient::parse(channel, text).unwrap();
            assert_eq!((recipient.as_str(), recipient.masked().as_str()), (text, masked));
            let shown = format!("{recipient:?}");
            assert!(shown.contains(masked) && !shown.contains(text), "{shown}");
        }
    }
}
