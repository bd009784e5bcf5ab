//! Amounts of money: whole minor units with their currency, checked arithmetic only.

use std::fmt;

use crate::currency::Currency;
use crate::value::ValueError;

/// An amount in the smallest unit of its currency: cents for EUR, won for KRW.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor_units: i64,
    currency: Currency,
}

/// Why arithmetic on money was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The code is not the code of a currency in use.
    #[error("must have an ISO 4217 currency code, such as EUR")]
    CurrencyUnknown,
    /// Two amounts of different currencies.
    #[error("amounts are in {left} and {right}")]
    CurrencyMismatch {
        /// Currency of the first amount.
        left: Currency,
        /// Currency of the second amount.
        right: Currency,
    },
    /// The result does not fit 64 bits of minor units.
    #[error("the amount is too large")]
    Overflow,
    /// Nanos are outside ±999,999,999 or have another sign than the units.
    #[error("nanos must be within ±999999999 and have the sign of units")]
    NanosMalformed,
    /// The amount is finer than the smallest unit of its currency.
    #[error("the amount is finer than the smallest unit of {currency}")]
    TooPrecise {
        /// The currency that has no such unit.
        currency: Currency,
    },
}

impl From<MoneyError> for ValueError {
    fn from(error: MoneyError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

impl MoneyError {
    /// The stable reason of this error.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::CurrencyUnknown => "CURRENCY_UNKNOWN",
            Self::CurrencyMismatch { .. } => "CURRENCY_MISMATCH",
            Self::Overflow => "AMOUNT_TOO_LARGE",
            Self::NanosMalformed => "AMOUNT_MALFORMED",
            Self::TooPrecise { .. } => "AMOUNT_TOO_PRECISE",
        }
    }
}

const NANOS_PER_UNIT: i64 = 1_000_000_000;

impl Money {
    /// An amount of minor units.
    #[must_use]
    pub const fn new(minor_units: i64, currency: Currency) -> Self {
        Self { minor_units, currency }
    }

    /// Nothing, in this currency.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor_units(&self) -> i64 {
        self.minor_units
    }

    /// The currency.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Less than nothing.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.minor_units < 0
    }

    /// Nothing.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.minor_units == 0
    }

    /// More than nothing.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.minor_units > 0
    }

    /// The sum.
    ///
    /// # Errors
    /// Different currencies, or more than 64 bits.
    pub fn checked_add(&self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_add)
    }

    /// The difference.
    ///
    /// # Errors
    /// Different currencies, or more than 64 bits.
    pub fn checked_sub(&self, other: Self) -> Result<Self, MoneyError> {
        self.combine(other, i64::checked_sub)
    }

    /// The amount times a whole number, such as a quantity.
    ///
    /// # Errors
    /// More than 64 bits.
    pub fn checked_mul(&self, times: i64) -> Result<Self, MoneyError> {
        let minor_units = self.minor_units.checked_mul(times);
        minor_units.map(|minor_units| Self::new(minor_units, self.currency)).ok_or(MoneyError::Overflow)
    }

    fn combine(self, other: Self, operation: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency });
        }
        operation(self.minor_units, other.minor_units)
            .map(|minor_units| Self::new(minor_units, self.currency))
            .ok_or(MoneyError::Overflow)
    }

    /// Reads the form of `google.type.Money`: whole units, and billionths of the same sign.
    ///
    /// # Errors
    /// An unknown currency, nanos out of range or of the other sign, an amount finer than the
    /// currency's smallest unit (nothing is ever rounded), or one that does not fit.
    pub fn from_units_nanos(code: &str, units: i64, nanos: i32) -> Result<Self, MoneyError> {
        let currency = Currency::parse(code).map_err(|_| MoneyError::CurrencyUnknown)?;
        let nanos = i64::from(nanos);
        if nanos.abs() >= NANOS_PER_UNIT || (units > 0 && nanos < 0) || (units < 0 && nanos > 0) {
            return Err(MoneyError::NanosMalformed);
        }
        let nanos_per_minor = NANOS_PER_UNIT / currency.minor_per_unit();
        if nanos % nanos_per_minor != 0 {
            return Err(MoneyError::TooPrecise { currency });
        }
        units
            .checked_mul(currency.minor_per_unit())
            .and_then(|minor| minor.checked_add(nanos / nanos_per_minor))
            .map(|minor_units| Self::new(minor_units, currency))
            .ok_or(MoneyError::Overflow)
    }

    /// The form of `google.type.Money`: whole units, and billionths of the same sign.
    #[must_use]
    pub fn to_units_nanos(&self) -> (i64, i32) {
        let per_unit = self.currency.minor_per_unit();
        let nanos = self.minor_units % per_unit * (NANOS_PER_UNIT / per_unit);
        // Less than a unit of nanos always fits 32 bits.
        (self.minor_units / per_unit, i32::try_from(nanos).unwrap_or_default())
    }
}

impl fmt::Display for Money {
    /// `12.34 EUR`, `1200 KRW`, `-0.005 KWD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative() { "-" } else { "" };
        let per_unit = self.currency.minor_per_unit().unsigned_abs();
        let minor = self.minor_units.unsigned_abs();
        let units = minor / per_unit;
        match self.currency.exponent() as usize {
            0 => write!(f, "{sign}{units} {}", self.currency),
            width => write!(f, "{sign}{units}.{:0width$} {}", minor % per_unit, self.currency),
        }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
