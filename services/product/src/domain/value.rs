//! What a product is made of: values that were checked once and hold from then on.

use openorder_types::{Money, TextRule, ValueError};

const DESCRIPTION: TextRule = TextRule::lines(DESCRIPTION_LENGTH_MAX, "DESCRIPTION_MALFORMED", "DESCRIPTION_MALFORMED");
/// Characters of a description at most.
pub const DESCRIPTION_LENGTH_MAX: usize = 4_000;
/// Minor units of a price at most: a million such prices still fit 64 bits.
const PRICE_MINOR_UNITS_MAX: i64 = 1_000_000_000_000;
/// Pieces that a stock may start with at most.
const INITIAL_STOCK_MAX: i64 = 1_000_000_000;

/// The text that customers see: at most 4,000 characters, of control characters only line feeds and tabs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description(String);

impl Description {
    /// Checks a description; an empty one is fine.
    ///
    /// # Errors
    /// `DESCRIPTION_MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        DESCRIPTION.parse(text).map(|text| Self(text.into_string()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What one piece costs: more than nothing, at most 10^12 minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price(Money);

impl Price {
    /// # Errors
    /// `PRICE_OUT_OF_RANGE`.
    pub fn parse(amount: Money) -> Result<Self, ValueError> {
        if (1..=PRICE_MINOR_UNITS_MAX).contains(&amount.minor_units()) {
            Ok(Self(amount))
        } else {
            Err(ValueError::new("PRICE_OUT_OF_RANGE", "must be more than zero and at most 10^12 minor units"))
        }
    }

    pub const fn amount(&self) -> Money {
        self.0
    }
}

/// Pieces that the stock of a new SKU starts with: 0 to 1,000,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitialStock(i64);

impl InitialStock {
    /// # Errors
    /// `INITIAL_STOCK_OUT_OF_RANGE`.
    pub fn parse(pieces: impl Into<i64>) -> Result<Self, ValueError> {
        let pieces = pieces.into();
        if (0..=INITIAL_STOCK_MAX).contains(&pieces) {
            Ok(Self(pieces))
        } else {
            Err(ValueError::new("INITIAL_STOCK_OUT_OF_RANGE", "must be between 0 and 1000000000"))
        }
    }

    pub const fn get(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::Currency;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_description_may_be_empty_and_have_lines() {
        assert!(Description::parse("").is_ok());
        assert!(Description::parse("one\ntwo\tthree").is_ok());
        assert!(Description::parse(&"ä".repeat(4_000)).is_ok());
        for wrong in ["\u{1b}[31m", "\u{2066}", &"x".repeat(4_001)] {
            assert_eq!(Description::parse(wrong).unwrap_err().reason, "DESCRIPTION_MALFORMED");
        }
    }

    proptest! {
        #[test]
        fn a_price_is_positive_and_bounded(minor_units: i64) {
            let amount = Money::new(minor_units, Currency::parse("EUR").unwrap());
            prop_assert_eq!(Price::parse(amount).is_ok(), minor_units > 0 && minor_units <= 1_000_000_000_000);
        }

        #[test]
        fn an_initial_stock_is_bounded(pieces in prop_oneof![any::<i64>(), -2_i64..=2, 999_999_998..=1_000_000_002_i64]) {
            let parsed = InitialStock::parse(pieces);
            prop_assert_eq!(parsed.is_ok(), (0..=1_000_000_000).contains(&pieces));
            if let Ok(stock) = parsed {
                prop_assert_eq!(stock.get(), pieces);
            }
        }
    }
}
