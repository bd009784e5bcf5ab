//! What is said of a parcel: values that were checked once and hold from then on.

use std::fmt;

use openorder_types::{TextRule, ValueError};

const CARRIER: TextRule = TextRule::line(64, "CARRIER_MALFORMED", "CARRIER_MALFORMED");
const LOCATION: TextRule = TextRule::line(200, "LOCATION_MALFORMED", "LOCATION_TOO_LONG");
const ADDRESS_BYTES_MAX: usize = 65_536;

/// Where a parcel goes: an encoded `google.type.PostalAddress`, as it was given with the order. No rule looks into it.
///
/// Personal data: `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Vec<u8>);

impl Address {
    /// # Errors
    /// `ADDRESS_TOO_LONG`: more than 64 KiB.
    pub fn parse(encoded: Vec<u8>) -> Result<Self, ValueError> {
        if encoded.len() > ADDRESS_BYTES_MAX {
            return Err(ValueError::new("ADDRESS_TOO_LONG", format!("must have at most {ADDRESS_BYTES_MAX} bytes")));
        }
        Ok(Self(encoded))
    }

    pub fn encoded(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(***)")
    }
}

/// Who carries a parcel: one line of 1 to 64 characters, some of them not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier(String);

impl Carrier {
    /// # Errors
    /// `CARRIER_MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if text.trim().is_empty() {
            return Err(ValueError::new("CARRIER_MALFORMED", "must be 1 to 64 characters, not all blank"));
        }
        CARRIER.parse(text).map(|text| Self(text.into_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where something happened, for people to read: one line of at most 200 characters; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Location(String);

impl Location {
    /// # Errors
    /// `LOCATION_MALFORMED`, `LOCATION_TOO_LONG`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        LOCATION.parse(text).map(|text| Self(text.into_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A number of somebody else: 1 to 64 characters of a few kinds.
macro_rules! foreign_number {
    ($(#[doc = $doc:literal])+ $name:ident of $marks:literal, $reason:literal, $allowed:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// # Errors
            #[doc = concat!("`", $reason, "`.")]
            pub fn parse(text: &str) -> Result<Self, ValueError> {
                let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || $marks.contains(&byte);
                if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
                    return Ok(Self(text.to_owned()));
                }
                Err(ValueError::new($reason, concat!("must be 1 to 64 of ", $allowed)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

foreign_number! {
    /// The number by which a carrier knows a parcel.
    TrackingNumber of b"._-", "TRACKING_NUMBER_MALFORMED", "[A-Za-z0-9._-]"
}

foreign_number! {
    /// A carrier's own id of what it says.
    CarrierEventId of b"._:-", "CARRIER_EVENT_ID_MALFORMED", "[A-Za-z0-9._:-]"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_nothing_of_itself() {
        let address = Address::parse(b"Elm Street 13".to_vec()).unwrap();
        assert_eq!((format!("{address:?}").as_str(), address.encoded()), ("Address(***)", &b"Elm Street 13"[..]));
        assert_eq!(Address::parse(vec![0; ADDRESS_BYTES_MAX + 1]).unwrap_err().reason, "ADDRESS_TOO_LONG");
    }

    #[test]
    fn what_a_carrier_says_is_short_and_on_one_line() {
        assert!(Carrier::parse("Österreichische Post").is_ok() && Carrier::parse(&"ä".repeat(64)).is_ok());
        for wrong in ["", "  ", "two\nlines", &"x".repeat(65)] {
            assert_eq!(Carrier::parse(wrong).unwrap_err().reason, "CARRIER_MALFORMED", "{wrong:?}");
        }
        assert!(Location::parse("").is_ok() && Location::parse(&"ä".repeat(200)).is_ok());
        assert_eq!(Location::parse(&"x".repeat(201)).unwrap_err().reason, "LOCATION_TOO_LONG");
        assert_eq!(Location::parse("\u{202E}nilreB").unwrap_err().reason, "LOCATION_MALFORMED");
    }

    #[test]
    fn numbers_of_others_are_of_few_characters() {
        assert!(
            TrackingNumber::parse("1Z999AA10123456784").is_ok() && CarrierEventId::parse("dhl:2026-11.7_a").is_ok()
        );
        for wrong in ["", "a b", "a:b", "ä", &"1".repeat(65)] {
            assert_eq!(TrackingNumber::parse(wrong).unwrap_err().reason, "TRACKING_NUMBER_MALFORMED", "{wrong:?}");
        }
        assert_eq!(CarrierEventId::parse("a/b").unwrap_err().reason, "CARRIER_EVENT_ID_MALFORMED");
    }
}
