//! The `grpc-timeout` header of the gRPC protocol.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Name of the header that carries the time a caller will still wait.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Reads the header. `None` when it is missing or not what the protocol says (at most 8 digits and a unit).
#[must_use]
pub fn parse(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.as_bytes();
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3_600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Writes the header: microseconds if they fit eight digits (100 s), else milliseconds (27 h), else the largest value.
#[must_use]
pub fn header(timeout: Duration) -> HeaderValue {
    const DIGITS_MAX: u128 = 99_999_999;
    let (amount, unit) = match (timeout.as_micros(), timeout.as_millis()) {
        (micros, _) if micros <= DIGITS_MAX => (micros, 'u'),
        (_, millis) => (millis.min(DIGITS_MAX), 'm'),
    };
    HeaderValue::from_str(&format!("{amount}{unit}")).unwrap_or(HeaderValue::from_static("0n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Duration> {
        parse(&HeaderMap::from_iter([(GRPC_TIMEOUT, HeaderValue::from_str(text).unwrap())]))
    }

    #[test]
    fn all_units_are_read() {
        let seconds = Duration::from_secs;
        assert_eq!(read("2H"), Some(seconds(7_200)));
        assert_eq!(read("3M"), Some(seconds(180)));
        assert_eq!(read("42S"), Some(seconds(42)));
        assert_eq!(read("13m"), Some(Duration::from_millis(13)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn anything_else_is_no_timeout() {
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789S", "1 S"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(parse(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_never_more(millis in 0_u64..1_000_000_000) {
            let timeout = Duration::from_millis(millis);
            let read = read(header(timeout).to_str().unwrap()).unwrap();
            prop_assert!(read <= timeout);
            prop_assert!(millis > 99_999_999 || read == timeout);
        }
    }
}
