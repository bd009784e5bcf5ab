//! Values that are used and never shown.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// What stands where a secret would.
pub const HIDDEN: &str = "<hidden>";

/// A password, a token, or a URL that may hold one. `Display` and `Debug` never show it; the memory
/// is wiped when it is dropped.
#[derive(Clone, Default)]
pub struct Secret(SecretString);

impl Secret {
    /// Hides the text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// What an operator may see: a URL without its password, nothing of anything else.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.expose() {
            "" => String::new(),
            url if is_url(url) => without_password(url),
            _ => HIDDEN.to_owned(),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// `scheme://…`
fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// The text with the password of a URL hidden, and with it every query value whose name speaks of a
/// password, a secret, a token or a key. Other text comes back as it is. In doubt it hides more: a
/// password may hold an unescaped `/`, `?` or `@`.
#[must_use]
pub fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://").filter(|_| is_url(text)) else {
        return text.to_owned();
    };
    let (user, rest) = match rest.rsplit_once('@') {
        None => (String::new(), rest),
        Some((user_info, rest)) => match user_info.split_once(':') {
            None => (format!("{user_info}@"), rest),
            Some((user, _)) => (format!("{user}:{HIDDEN}@"), rest),
        },
    };
    let Some((place, query)) = rest.split_once('?') else {
        return format!("{scheme}://{user}{rest}");
    };
    let query: Vec<String> = query.split('&').map(without_secret_value).collect();
    format!("{scheme}://{user}{place}?{}", query.join("&"))
}

fn without_secret_value(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if names_a_secret(name) => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    }
}

fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "secret", "token", "key"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_secret_is_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {}", secret.shown()), "<hidden> <hidden> <hidden>");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(Secret::default().shown(), "");
    }

    #[test]
    fn a_url_shows_all_but_its_password() {
        for (url, shown) in [
            ("postgres://app:pw@db:5432/orders", "postgres://app:<hidden>@db:5432/orders"),
            ("postgres://app@db/orders", "postgres://app@db/orders"),
            ("postgres://db/orders", "postgres://db/orders"),
            ("redis://:pw@cache:6379/0", "redis://:<hidden>@cache:6379/0"),
            ("postgres://app:p@ss/w?rd@db/orders", "postgres://app:<hidden>@db/orders"),
            (
                "postgres://db/o?user=app&password=pw&sslmode=require",
                "postgres://db/o?user=app&password=<hidden>&sslmode=require",
            ),
            ("https://h/?api_key=1&SSLPassword=2", "https://h/?api_key=<hidden>&SSLPassword=<hidden>"),
        ] {
            assert_eq!(without_password(url), shown);
            assert_eq!(Secret::new(url).shown(), shown);
        }
    }

    #[test]
    fn other_text_is_left_to_strings_and_hidden_for_secrets() {
        for text in ["127.0.0.1:8101", "a:b@c", "1x://u:p@h"] {
            assert_eq!(without_password(text), text);
            assert_eq!(Secret::new(text).shown(), HIDDEN);
        }
    }
}
