//! Currency codes of ISO 4217 and the number of decimals each of them has.

use std::fmt;

use crate::value::ValueError;

/// Currencies without decimals.
const EXPONENT_0: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
    "XPF",
];

/// Currencies with three decimals.
const EXPONENT_3: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Units of account with four decimals.
const EXPONENT_4: &[&str] = &["CLF", "UYW"];

/// Currencies with two decimals. Metals, bond units, test codes and fund codes are left out:
/// nobody pays an order in them.
const EXPONENT_2: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BMD", "BND", "BOB",
    "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DKK",
    "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ", "GYD", "HKD",
    "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD", "KZT", "LAK", "LBP",
    "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR",
    "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD",
    "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL",
    "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "UYU", "UZS", "VED", "VES", "WST", "XCD",
    "XCG", "YER", "ZAR", "ZMW", "ZWG",
];

/// A currency by its ISO 4217 code; only codes in use exist.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Parses a code of three capital letters.
    ///
    /// # Errors
    /// `CURRENCY_UNKNOWN` for anything that is not the code of a currency in use.
    pub fn parse(code: &str) -> Result<Self, ValueError> {
        let known =
            [EXPONENT_2, EXPONENT_0, EXPONENT_3, EXPONENT_4].iter().any(|codes| codes.binary_search(&code).is_ok());
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(bytes) if known => Ok(Self(bytes)),
            _ => Err(ValueError::new(
                "CURRENCY_UNKNOWN",
                "must be an ISO 4217 currency code in capital letters, such as EUR",
            )),
        }
    }

    /// The code, such as `EUR`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII codes are ever stored, so the fallback is never reached.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// How many decimals the currency has: 0 for KRW, 2 for EUR, 3 for KWD.
    #[must_use]
    pub fn exponent(&self) -> u32 {
        let code = self.as_str();
        if EXPONENT_0.binary_search(&code).is_ok() {
            0
        } else if EXPONENT_3.binary_search(&code).is_ok() {
            3
        } else if EXPONENT_4.binary_search(&code).is_ok() {
            4
        } else {
            2
        }
    }

    /// Minor units in one unit: 100 for EUR, 1 for KRW.
    #[must_use]
    pub fn minor_per_unit(&self) -> i64 {
        10_i64.pow(self.exponent())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Currency {
    type Err = ValueError;

    fn from_str(code: &str) -> Result<Self, ValueError> {
        Self::parse(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_disjoint() {
        let mut all: Vec<&str> = Vec::new();
        for table in [EXPONENT_0, EXPONENT_2, EXPONENT_3, EXPONENT_4] {
            assert!(table.is_sorted(), "binary search needs sorted tables");
            all.extend(table);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a currency has one exponent");
        assert!(all.iter().all(|code| code.len() == 3));
    }

    #[test]
    fn exponents_follow_iso_4217() {
        let exponent = |code| Currency::parse(code).map(|currency| currency.exponent());
        assert_eq!(exponent("KRW"), Ok(0));
        assert_eq!(exponent("JPY"), Ok(0));
        assert_eq!(exponent("EUR"), Ok(2));
        assert_eq!(exponent("HUF"), Ok(2));
        assert_eq!(exponent("KWD"), Ok(3));
        assert_eq!(exponent("CLF"), Ok(4));
    }

    #[test]
    fn only_known_codes_in_capitals_parse() {
        for text in ["", "eur", "EURO", "XXX", "XTS", "DEM", "E R", "€€"] {
            let reason = Currency::parse(text).map_err(|error| error.reason);
            assert_eq!(reason, Err("CURRENCY_UNKNOWN"), "{text:?}");
        }
    }
}
