//! Money that moves.

use std::fmt;

use openorder_types::{Currency, Money, ValueError};

/// The largest amount of one charge, in minor units of its currency.
pub const CHARGE_MINOR_UNITS_MAX: i64 = 1_000_000_000_000;

/// An amount that is more than zero: what is charged, paid or given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Amount(Money);

impl Amount {
    /// Checks that there is something to move.
    ///
    /// # Errors
    /// `AMOUNT_OUT_OF_RANGE` for zero and less.
    pub fn parse(money: Money) -> Result<Self, ValueError> {
        if money.is_positive() { Ok(Self(money)) } else { Err(out_of_range("must be more than zero")) }
    }

    /// Checks an amount that a caller wants to put into a wallet.
    ///
    /// # Errors
    /// `AMOUNT_OUT_OF_RANGE` outside 1 to [`CHARGE_MINOR_UNITS_MAX`] minor units.
    pub fn parse_charge(money: Money) -> Result<Self, ValueError> {
        if money.minor_units() > CHARGE_MINOR_UNITS_MAX {
            return Err(out_of_range("must be at most 10^12 minor units of its currency"));
        }
        Self::parse(money)
    }

    pub const fn money(self) -> Money {
        self.0
    }

    pub const fn currency(self) -> Currency {
        self.0.currency()
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn out_of_range(allowed: &str) -> ValueError {
    ValueError::new("AMOUNT_OUT_OF_RANGE", allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money::new(minor_units, Currency::parse("EUR").unwrap())
    }

    #[test]
    fn an_amount_is_more_than_nothing() {
        for (minor_units, fits) in [(i64::MIN, false), (-1, false), (0, false), (1, true), (i64::MAX, true)] {
            assert_eq!(Amount::parse(eur(minor_units)).is_ok(), fits, "{minor_units}");
        }
    }

    #[test]
    fn a_charge_is_bounded() {
        assert!(Amount::parse_charge(eur(CHARGE_MINOR_UNITS_MAX)).is_ok());
        for minor_units in [0, -1, CHARGE_MINOR_UNITS_MAX + 1, i64::MAX] {
            assert_eq!(Amount::parse_charge(eur(minor_units)).unwrap_err().reason, "AMOUNT_OUT_OF_RANGE");
        }
    }
}
