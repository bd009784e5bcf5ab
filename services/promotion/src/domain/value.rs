//! What a coupon is made of: values that were checked once and hold from then on.

use std::collections::BTreeSet;
use std::fmt;

use openorder_types::{Currency, Money, Sku, Timestamp, ValueError};

/// Minor units of an amount at most.
const AMOUNT_MINOR_UNITS_MAX: i64 = 1_000_000_000_000;
/// Hundredths of a percent that are the whole.
const BASIS_POINTS_MAX: i32 = 10_000;
/// SKUs that a coupon may be for at most.
pub const SKUS_MAX: usize = 100;
const ISSUE_LIMIT_MAX: i32 = 1_000_000_000;
const ISSUE_LIMIT_PER_USER_MAX: i32 = 1_000;

/// The name that users type: 3 to 32 of `[A-Z0-9_-]`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(String);

impl Code {
    /// # Errors
    /// `COUPON_CODE_MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let is_inner = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if (3..=32).contains(&text.len()) && starts_well && text.bytes().all(is_inner) {
            return Ok(Self(text.to_owned()));
        }
        let allowed = "must be 3 to 32 of [A-Z0-9_-], beginning with a letter or digit";
        Err(ValueError::new("COUPON_CODE_MALFORMED", allowed))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much a coupon takes off the lines that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// This much, and never more than the lines.
    Fixed(Money),
    /// A share, in hundredths of a percent, and not more than the maximum.
    Percent { basis_points: i32, maximum: Option<Money> },
}

/// What a coupon takes off, and of which orders. Its amounts are of one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    value: Value,
    minimum_total: Option<Money>,
    /// Empty: all lines.
    skus: BTreeSet<Sku>,
}

impl Terms {
    /// # Errors
    /// `DISCOUNT_OUT_OF_RANGE`, `CURRENCY_MISMATCH`, `LIST_TOO_LONG`, each with the field of
    /// `openorder.promotion.v1.CouponTerms` that it is about.
    pub fn parse(
        value: Value,
        minimum_total: Option<Money>,
        skus: BTreeSet<Sku>,
    ) -> Result<Self, (&'static str, ValueError)> {
        let amounts = match value {
            Value::Fixed(amount) => [("fixed_amount", Some(amount)), ("minimum_total", minimum_total)],
            Value::Percent { basis_points, maximum } => {
                if !(1..=BASIS_POINTS_MAX).contains(&basis_points) {
                    let allowed = ValueError::new("DISCOUNT_OUT_OF_RANGE", "must be between 1 and 10000");
                    return Err(("percent_basis_points", allowed));
                }
                [("maximum_discount", maximum), ("minimum_total", minimum_total)]
            }
        };
        let mut currency: Option<Currency> = None;
        for (field, amount) in amounts.into_iter().filter_map(|(field, amount)| Some((field, amount?))) {
            if !(1..=AMOUNT_MINOR_UNITS_MAX).contains(&amount.minor_units()) {
                let allowed = "must be more than zero and at most 10^12 minor units";
                return Err((field, ValueError::new("DISCOUNT_OUT_OF_RANGE", allowed)));
            }
            if currency.is_some_and(|other| other != amount.currency()) {
                let allowed = "all amounts of a coupon are of one currency";
                return Err((field, ValueError::new("CURRENCY_MISMATCH", allowed)));
            }
            currency = Some(amount.currency());
        }
        if skus.len() > SKUS_MAX {
            return Err(("skus", ValueError::new("LIST_TOO_LONG", format!("must have at most {SKUS_MAX} entries"))));
        }
        Ok(Self { value, minimum_total, skus })
    }

    pub const fn value(&self) -> Value {
        self.value
    }

    pub const fn minimum_total(&self) -> Option<Money> {
        self.minimum_total
    }

    /// Whether it is for this product.
    pub fn is_for(&self, sku: &Sku) -> bool {
        self.skus.is_empty() || self.skus.contains(sku)
    }

    /// All amounts that it names.
    pub fn amounts(&self) -> Vec<Money> {
        let of_value = match self.value {
            Value::Fixed(amount) => Some(amount),
            Value::Percent { maximum, .. } => maximum,
        };
        of_value.into_iter().chain(self.minimum_total).collect()
    }

    pub const fn skus(&self) -> &BTreeSet<Sku> {
        &self.skus
    }
}

/// The time in which a coupon can be issued and used: from its beginning on, until before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Validity {
    /// # Errors
    /// `VALIDITY_EMPTY`: it ends before it begins.
    pub fn parse(from: Timestamp, until: Timestamp) -> Result<Self, ValueError> {
        if from < until {
            return Ok(Self { from, until });
        }
        Err(ValueError::new("VALIDITY_EMPTY", "must be after valid_from_time"))
    }
}

/// A number within bounds.
macro_rules! limit {
    ($(#[doc = $doc:literal])+ $name:ident: 1 to $max:ident, $reason:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(i32);

        impl $name {
            /// # Errors
            #[doc = concat!("`", $reason, "`.")]
            pub fn parse(number: i32) -> Result<Self, ValueError> {
                if (1..=$max).contains(&number) {
                    return Ok(Self(number));
                }
                Err(ValueError::new($reason, format!("must be between 1 and {}", $max)))
            }

            pub const fn get(self) -> i32 {
                self.0
            }
        }
    };
}

limit! {
    /// How many of a coupon may be issued in all.
    IssueLimit: 1 to ISSUE_LIMIT_MAX, "ISSUE_LIMIT_OUT_OF_RANGE"
}

limit! {
    /// How many of a coupon one user may be issued.
    IssueLimitPerUser: 1 to ISSUE_LIMIT_PER_USER_MAX, "ISSUE_LIMIT_PER_USER_OUT_OF_RANGE"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor_units: i64, currency: &str) -> Money {
        Money::new(minor_units, Currency::parse(currency).unwrap())
    }

    #[test]
    fn a_code_is_short_and_of_capital_letters() {
        for good in ["ABC", "SUMMER-2026_B", "0AB", &"A".repeat(32)] {
            assert!(Code::parse(good).is_ok(), "{good}");
        }
        for wrong in ["", "AB", "abc", "-AB", "A B", "Ä12", &"A".repeat(33)] {
            assert_eq!(Code::parse(wrong).unwrap_err().reason, "COUPON_CODE_MALFORMED", "{wrong}");
        }
    }

    #[test]
    fn amounts_are_bounded_and_of_one_currency() {
        let refused = |value, minimum| {
            Terms::parse(value, minimum, BTreeSet::new()).map_err(|(field, error)| (field, error.reason)).unwrap_err()
        };
        let (one, most) = (money(1, "EUR"), money(AMOUNT_MINOR_UNITS_MAX, "EUR"));
        assert!(Terms::parse(Value::Fixed(most), Some(one), BTreeSet::new()).is_ok());
        let percent = |basis_points, maximum| Value::Percent { basis_points, maximum };
        assert!(Terms::parse(percent(10_000, None), None, BTreeSet::new()).is_ok());
        assert_eq!(refused(percent(0, None), None), ("percent_basis_points", "DISCOUNT_OUT_OF_RANGE"));
        assert_eq!(refused(percent(10_001, None), None), ("percent_basis_points", "DISCOUNT_OUT_OF_RANGE"));
        assert_eq!(refused(Value::Fixed(money(0, "EUR")), None), ("fixed_amount", "DISCOUNT_OUT_OF_RANGE"));
        let too_much = money(AMOUNT_MINOR_UNITS_MAX + 1, "EUR");
        assert_eq!(refused(percent(1, Some(too_much)), None), ("maximum_discount", "DISCOUNT_OUT_OF_RANGE"));
        assert_eq!(refused(Value::Fixed(one), Some(money(1, "KRW"))), ("minimum_total", "CURRENCY_MISMATCH"));
        let skus = (0..=SKUS_MAX).map(|number| Sku::parse(&format!("S{number}")).unwrap()).collect();
        let refused = Terms::parse(Value::Fixed(one), None, skus).map_err(|(field, error)| (field, error.reason));
        assert_eq!(refused, Err(("skus", "LIST_TOO_LONG")));
    }
}
