//! What a value may be, and how it is read from text and from TOML.

use std::net::SocketAddr;

use crate::secret::{Secret, without_password};

/// A value as a layer gives it. Environment and flags give text alone; every type reads text.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Text, from any layer.
    Text(String),
    /// A whole number of a TOML file.
    Integer(i64),
    /// A number of a TOML file.
    Float(f64),
    /// A truth value of a TOML file.
    Bool(bool),
    /// A list of texts of a TOML file.
    List(Vec<String>),
    /// Something that no setting takes, such as a date; holds what it is.
    Other(&'static str),
}

impl Raw {
    /// The value for an error message. Passwords in URLs are hidden; whether the whole is a secret,
    /// only the setting knows.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{}\"", without_password(text)),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(truth) => truth.to_string(),
            Self::List(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| without_password(text)).collect();
                format!("[{}]", texts.join(", "))
            }
            Self::Other(kind) => (*kind).to_owned(),
        }
    }
}

/// The type of a setting.
pub trait Value: Sized {
    /// What the default is written as.
    type Given;

    /// The default.
    fn given(default: Self::Given) -> Self;

    /// Reads a value; `None` when it is not allowed.
    fn read(raw: &Raw) -> Option<Self>;

    /// What is allowed, for error messages: `a whole number`.
    fn allowed() -> String;

    /// The value as an operator may see it.
    fn shown(&self) -> String;

    /// Whether a refused value may be repeated in an error message.
    fn is_secret() -> bool {
        false
    }
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        impl Value for $ty {
            type Given = Self;

            fn given(default: Self) -> Self {
                default
            }

            fn read(raw: &Raw) -> Option<Self> {
                match raw {
                    // Underscores as in Rust and TOML: 86_400_000.
                    Raw::Text(text) => text.trim().replace('_', "").parse().ok(),
                    Raw::Integer(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }

            fn allowed() -> String {
                format!("a whole number from {} to {}", Self::MIN, Self::MAX)
            }

            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

integers!(u16, u32, u64, usize, i32, i64);

impl Value for f64 {
    type Given = Self;

    fn given(default: Self) -> Self {
        default
    }

    fn read(raw: &Raw) -> Option<Self> {
        let number = match raw {
            Raw::Text(text) => text.trim().parse().ok()?,
            // Settings are far below 2^53, where this would lose something.
            #[allow(clippy::cast_precision_loss)]
            Raw::Integer(number) => *number as Self,
            Raw::Float(number) => *number,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }

    fn allowed() -> String {
        "a number".to_owned()
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    type Given = Self;

    fn given(default: Self) -> Self {
        default
    }

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Bool(truth) => Some(*truth),
            Raw::Text(text) => match text.trim() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    fn allowed() -> String {
        "true or false".to_owned()
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    type Given = &'static str;

    fn given(default: &'static str) -> Self {
        default.to_owned()
    }

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn allowed() -> String {
        "text".to_owned()
    }

    fn shown(&self) -> String {
        without_password(self)
    }
}

impl Value for Secret {
    type Given = &'static str;

    fn given(default: &'static str) -> Self {
        Self::new(default)
    }

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Some(Self::new(text.as_str())),
            _ => None,
        }
    }

    fn allowed() -> String {
        "text".to_owned()
    }

    fn shown(&self) -> String {
        self.shown()
    }

    fn is_secret() -> bool {
        true
    }
}

/// A list: text with commas, or a TOML array of texts. Blank parts are dropped.
impl Value for Vec<String> {
    type Given = &'static str;

    fn given(default: &'static str) -> Self {
        parts(default)
    }

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => Some(parts(text)),
            Raw::List(texts) => Some(texts.clone()),
            _ => None,
        }
    }

    fn allowed() -> String {
        "a list of texts with commas between them".to_owned()
    }

    fn shown(&self) -> String {
        let texts: Vec<String> = self.iter().map(|text| without_password(text)).collect();
        texts.join(",")
    }
}

fn parts(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// An address to listen on; the default is written as `([127, 0, 0, 1], 8080)`.
impl Value for SocketAddr {
    type Given = ([u8; 4], u16);

    fn given(default: ([u8; 4], u16)) -> Self {
        Self::from(default)
    }

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn allowed() -> String {
        "an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned()
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

/// Declares an enum of the values that a setting may have, each with its name in files and variables.
///
/// ```
/// openorder_config::choices! {
///     /// How mail leaves.
///     pub enum EmailTransport {
///         /// It does not: the message is kept in the history.
///         Record = "record",
///         /// By SMTP.
///         Smtp = "smtp",
///     }
/// }
/// assert_eq!(EmailTransport::Smtp.as_str(), "smtp");
/// ```
#[macro_export]
macro_rules! choices {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[doc = $doc:literal])+ $choice:ident = $text:literal ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $( $(#[doc = $doc])+ $choice ),+
        }

        impl $name {
            /// The name in files and variables.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$choice => $text ),+
                }
            }
        }

        impl $crate::Value for $name {
            type Given = Self;

            fn given(default: Self) -> Self {
                default
            }

            fn read(raw: &$crate::value::Raw) -> ::core::option::Option<Self> {
                match raw {
                    $crate::value::Raw::Text(text) => match text.trim() {
                        $( $text => ::core::option::Option::Some(Self::$choice), )+
                        _ => ::core::option::Option::None,
                    },
                    _ => ::core::option::Option::None,
                }
            }

            fn allowed() -> ::std::string::String {
                ::std::format!("one of {}", [$( $text ),+].join(", "))
            }

            fn shown(&self) -> ::std::string::String {
                self.as_str().to_owned()
            }
        }
    };
}
