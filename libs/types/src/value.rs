//! Text and numbers that were checked once, at the edge, and are valid from then on.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::text::is_unprintable;

/// Why a value was refused: a stable reason and a sentence that is safe to show to a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// Stable, `UPPER_SNAKE`, such as `SKU_MALFORMED`.
    pub reason: &'static str,
    /// What is allowed; never repeats the value.
    pub message: String,
}

impl ValueError {
    /// An error with a stable reason and a sentence that says what is allowed.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// 1 to 64 of `[A-Za-z0-9._-]`, the first one a letter or digit.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// 1 to 64 of `[A-Za-z0-9._:-]`.
fn is_request_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
}

/// A deliberately plain reading of RFC 5321: one `@`, a dotted domain of labels, at most 254 bytes.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let local_part = |c: char| {
        !c.is_whitespace()
            && !is_unprintable(c)
            && !matches!(c, '<' | '>' | '(' | ')' | '[' | ']' | ',' | ';' | ':' | '\\' | '"')
    };
    text.len() <= 254
        && (1..=64).contains(&local.len())
        && local.chars().all(local_part)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.contains('.')
        && domain.split('.').all(label)
}

/// Texts that are handed on and kept in several places are shared by their clones.
macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident($text:ty), $valid:ident, $reason:literal, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($text);

        impl $name {
            /// Parses the text.
            ///
            /// # Errors
            #[doc = concat!("`", $reason, "`: ", $allowed, ".")]
            pub fn parse(text: &str) -> Result<Self, ValueError> {
                if $valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(ValueError::new($reason, $allowed))
                }
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = ValueError;

            fn from_str(text: &str) -> Result<Self, ValueError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;

            fn try_from(text: String) -> Result<Self, ValueError> {
                if $valid(&text) {
                    Ok(Self(text.into()))
                } else {
                    Err(ValueError::new($reason, $allowed))
                }
            }
        }
    };
}

macro_rules! shown {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

text_value!(
    /// The key of an article: `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`.
    Sku(Arc<str>),
    is_name,
    "SKU_MALFORMED",
    "must be 1 to 64 of letters, digits, '.', '_' and '-', the first one a letter or digit"
);
shown!(Sku);

text_value!(
    /// A user, and so a customer too: `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`.
    UserId(Arc<str>),
    is_name,
    "USER_ID_MALFORMED",
    "must be 1 to 64 of letters, digits, '.', '_' and '-', the first one a letter or digit"
);
shown!(UserId);

text_value!(
    /// The key under which a command's first result is kept: 1 to 64 of `[A-Za-z0-9._:-]`.
    RequestId(String),
    is_request_id,
    "REQUEST_ID_MALFORMED",
    "must be 1 to 64 of letters, digits, '.', '_', ':' and '-'"
);
shown!(RequestId);

text_value!(
    /// A mail address of at most 254 bytes. `Display` and `Debug` show the first letter and the domain
    /// alone, so that a log line cannot give it away; [`EmailAddress::as_str`] exposes it.
    EmailAddress(Arc<str>),
    is_email,
    "EMAIL_MALFORMED",
    "must be a mail address with one '@' and a dotted domain, at most 254 bytes"
);

impl RequestId {
    /// Gives the text away.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl Sku {
    /// The text, which all clones share.
    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl UserId {
    /// The text, which all clones share.
    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl EmailAddress {
    /// The address with all but its first letter and its domain hidden: `a***@example.com`.
    #[must_use]
    pub fn masked(&self) -> String {
        let (local, domain) = self.0.split_once('@').unwrap_or_default();
        let first: String = local.chars().take(1).collect();
        format!("{first}***@{domain}")
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress({})", self.masked())
    }
}

/// How many pieces of an article: 1 to [`Quantity::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i64);

impl Quantity {
    /// The largest quantity of one line.
    pub const MAX: i64 = 1_000_000;

    /// Checks the bounds.
    ///
    /// # Errors
    /// `QUANTITY_OUT_OF_RANGE` outside 1..=1,000,000.
    pub fn parse(pieces: impl Into<i64>) -> Result<Self, ValueError> {
        let pieces = pieces.into();
        if (1..=Self::MAX).contains(&pieces) {
            Ok(Self(pieces))
        } else {
            Err(ValueError::new("QUANTITY_OUT_OF_RANGE", "must be between 1 and 1000000"))
        }
    }

    /// The number of pieces.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses a UUID in its hyphenated form; `reason` names the field, such as `ORDER_ID_MALFORMED`.
///
/// # Errors
/// The given reason for any other text.
pub fn parse_uuid(text: &str, reason: &'static str) -> Result<Uuid, ValueError> {
    // Braced, URN and simple forms would give one object several names.
    if text.len() != 36 {
        return Err(ValueError::new(reason, "must be a UUID in hyphenated form"));
    }
    Uuid::try_parse(text).map_err(|_| ValueError::new(reason, "must be a UUID in hyphenated form"))
}
