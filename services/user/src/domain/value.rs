//! What is said of users: values that were checked once and hold from then on. `Debug` shows nothing of them.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use openorder_types::{EmailAddress, TextRule, ValueError};

/// Characters of a new password.
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 8..=128;
const NAME: TextRule = TextRule::line(200, "DISPLAY_NAME_MALFORMED", "DISPLAY_NAME_MALFORMED");

/// The passwords that are tried first, one a line, in lower case.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().filter(|line| !line.is_empty()).collect());

/// A mail address in the one form that it is kept and looked up in: upper and lower case mean the same.
///
/// # Errors
/// `EMAIL_MALFORMED`.
pub fn parse_email(text: &str) -> Result<EmailAddress, ValueError> {
    EmailAddress::parse(&text.to_lowercase())
}

/// Checks the length of a new password; any characters may stand in it.
///
/// # Errors
/// `PASSWORD_LENGTH`.
pub fn check_password(text: &str) -> Result<(), ValueError> {
    // A character has at most four bytes: what is far too long is not read at all.
    if text.len() <= 4 * PASSWORD_LENGTH.end() && PASSWORD_LENGTH.contains(&text.chars().count()) {
        return Ok(());
    }
    Err(ValueError::new("PASSWORD_LENGTH", "must have 8 to 128 characters"))
}

/// Whether a password is among those that are tried first, in upper or lower case.
#[must_use]
pub fn is_common(password: &str) -> bool {
    COMMON.contains(password.to_lowercase().as_str())
}

macro_rules! hidden {
    ($(#[$doc:meta])* $name:ident($kept:ty)) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name($kept);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(***)"))
            }
        }
    };
}

hidden! {
    /// How a person, or a key, is called: one line of 0 to 200 characters. Personal data.
    UserName(String)
}

impl UserName {
    /// # Errors
    /// `DISPLAY_NAME_MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        NAME.parse(text).map(|text| Self(text.into_string()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

hidden! {
    /// What is kept of a password: Argon2id as a PHC string.
    PasswordHash(String)
}

impl PasswordHash {
    /// The text as it was made by this service; it is looked into when a password is compared with it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

hidden! {
    /// 32 random bytes.
    Salt([u8; 32])
}

impl Salt {
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a user signs in with: 1 to 64 of `[A-Za-z0-9._-]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientId(String);

impl ClientId {
    /// An empty one is `default`.
    ///
    /// # Errors
    /// `CLIENT_ID_MALFORMED`; also of the one that stands for API keys.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let text = if text.is_empty() { "default" } else { text };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.len() <= 64 && text.bytes().all(allowed) && text != openorder_auth::API_KEY_CLIENT_ID {
            return Ok(Self(text.to_owned()));
        }
        Err(ValueError::new("CLIENT_ID_MALFORMED", "must be 1 to 64 of [A-Za-z0-9._-], and not api-key"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_of_any_characters_and_neither_short_nor_endless() {
        for right in ["8 signs!", &"ä".repeat(128), "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}"] {
            assert!(check_password(right).is_ok(), "{right:?}");
        }
        for wrong in ["", "seven 7", &"x".repeat(129), &"ä".repeat(129)] {
            assert_eq!(check_password(wrong).unwrap_err().reason, "PASSWORD_LENGTH");
        }
    }

    #[test]
    fn what_is_tried_first_is_known_in_any_case() {
        for common in ["password", "PassWord", "12345678", "qwertyuiop"] {
            assert!(is_common(common), "{common}");
        }
        assert!(!is_common("correct horse battery staple"));
    }

    /// One that could not be chosen anyhow would only make the list look longer.
    #[test]
    fn every_common_password_could_be_chosen_and_stands_once_in_lower_case() {
        let lines: Vec<&str> = include_str!("common_passwords.txt").lines().collect();
        assert_eq!(lines.len(), COMMON.len(), "each stands once");
        for line in lines {
            assert!(check_password(line).is_ok() && line.to_lowercase() == line, "{line}");
        }
    }

    #[test]
    fn a_mail_address_has_one_form() {
        assert_eq!(parse_email("Ada@Example.COM").unwrap().as_str(), "ada@example.com");
        assert_eq!(parse_email("ada").unwrap_err().reason, "EMAIL_MALFORMED");
    }

    #[test]
    fn nothing_of_a_person_or_a_secret_is_shown() {
        let shown = format!(
            "{:?} {:?} {:?}",
            UserName::parse("Ada Lovelace").unwrap(),
            PasswordHash::new("$argon2id$secret"),
            Salt::new([7; 32])
        );
        assert_eq!(shown, "UserName(***) PasswordHash(***) Salt(***)");
    }

    #[test]
    fn a_client_is_named_and_api_keys_are_none() {
        assert_eq!(ClientId::parse("").unwrap().as_str(), "default");
        assert_eq!(ClientId::parse("web-2.0").unwrap().as_str(), "web-2.0");
        for wrong in ["api-key", "a b", &"x".repeat(65)] {
            assert_eq!(ClientId::parse(wrong).unwrap_err().reason, "CLIENT_ID_MALFORMED", "{wrong}");
        }
    }
}
