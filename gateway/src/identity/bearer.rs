//! What a call says of its caller.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// The scheme (RFC 6750); its case means nothing.
const SCHEME: &str = "bearer";

/// What stands in `authorization`.
pub(crate) enum Bearer {
    Nothing,
    /// A token, or an API key.
    Token(HeaderValue),
    /// Something else, or two of it.
    Unreadable,
}

impl Bearer {
    /// Takes it out of the headers: a token is for the gateway alone.
    pub(crate) fn take(headers: &mut HeaderMap) -> Self {
        // All that a call without a token costs.
        if !headers.contains_key(AUTHORIZATION) {
            return Self::Nothing;
        }
        let is_one = headers.get_all(AUTHORIZATION).iter().nth(1).is_none();
        match headers.remove(AUTHORIZATION) {
            Some(value) if is_one && token(&value).is_some() => Self::Token(value),
            _ => Self::Unreadable,
        }
    }
}

/// The token in the value of the header.
pub(crate) fn token(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case(SCHEME) && is_token).then_some(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn taken(values: &[&'static str]) -> (Bearer, HeaderMap) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        (Bearer::take(&mut headers), headers)
    }

    #[test]
    fn one_bearer_token_is_read_and_goes_no_further() {
        for value in ["Bearer abc.d", "bearer abc.d", "BEARER  abc.d "] {
            let (bearer, left) = taken(&[value]);
            let Bearer::Token(value) = bearer else { panic!("{value}") };
            assert_eq!(token(&value), Some("abc.d"));
            assert!(left.is_empty());
        }
    }

    #[test]
    fn what_is_no_single_bearer_token_is_not_taken_for_none() {
        for values in
            [&["Basic YTpi"][..], &["Bearer"], &["Bearer "], &["Bearer a b"], &[""], &["Bearer a", "Bearer b"]]
        {
            let (bearer, left) = taken(values);
            assert!(matches!(bearer, Bearer::Unreadable), "{values:?}");
            assert!(left.is_empty(), "{values:?}");
        }
        assert!(matches!(taken(&[]).0, Bearer::Nothing));
    }
}
