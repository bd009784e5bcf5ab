//! Rules of money, as examples and as properties.
#![allow(clippy::unwrap_used)]

use openorder_types::{Currency, Money, MoneyError};
use proptest::prelude::*;

fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

fn money(minor_units: i64, code: &str) -> Money {
    Money::new(minor_units, currency(code))
}

#[test]
fn units_and_nanos_are_read_exactly() {
    for (code, units, nanos, minor) in [
        ("EUR", 12, 340_000_000, 1_234),
        ("EUR", -12, -340_000_000, -1_234),
        ("EUR", 0, -10_000_000, -1),
        ("KRW", 1_200, 0, 1_200),
        ("KWD", 0, 5_000_000, 5),
        ("CLF", 1, 100_000, 10_001),
    ] {
        let read = Money::from_units_nanos(code, units, nanos);
        assert_eq!(read, Ok(money(minor, code)), "{code} {units} {nanos}");
        assert_eq!(read.unwrap().to_units_nanos(), (units, nanos));
    }
}

#[test]
fn nothing_is_rounded() {
    for (code, nanos) in [("EUR", 5_000_000), ("EUR", 1), ("KRW", 500_000_000), ("KWD", 500_000)] {
        assert_eq!(Money::from_units_nanos(code, 1, nanos), Err(MoneyError::TooPrecise { currency: currency(code) }),);
    }
}

#[test]
fn malformed_amounts_are_refused() {
    for (units, nanos) in [(1, -10_000_000), (-1, 10_000_000), (0, 1_000_000_000), (0, i32::MIN)] {
        assert_eq!(Money::from_units_nanos("EUR", units, nanos), Err(MoneyError::NanosMalformed), "{units} {nanos}",);
    }
    assert_eq!(Money::from_units_nanos("EUR", i64::MAX, 0), Err(MoneyError::Overflow));
    assert_eq!(Money::from_units_nanos("eur", 1, 0), Err(MoneyError::CurrencyUnknown));
}

#[test]
fn currencies_do_not_mix() {
    let mismatch = MoneyError::CurrencyMismatch { left: currency("EUR"), right: currency("USD") };
    assert_eq!(money(1, "EUR").checked_add(money(1, "USD")), Err(mismatch));
    assert_eq!(money(1, "EUR").checked_sub(money(1, "USD")), Err(mismatch));
}

#[test]
fn arithmetic_never_wraps() {
    let most = money(i64::MAX, "EUR");
    let least = money(i64::MIN, "EUR");
    assert_eq!(most.checked_add(money(1, "EUR")), Err(MoneyError::Overflow));
    assert_eq!(least.checked_sub(money(1, "EUR")), Err(MoneyError::Overflow));
    assert_eq!(most.checked_mul(2), Err(MoneyError::Overflow));
    assert_eq!(least.checked_mul(-1), Err(MoneyError::Overflow));
}

#[test]
fn amounts_are_shown_with_the_decimals_of_their_currency() {
    for (minor, code, shown) in [
        (1_234, "EUR", "12.34 EUR"),
        (5, "EUR", "0.05 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (1_200, "KRW", "1200 KRW"),
        (-5, "KWD", "-0.005 KWD"),
        (i64::MIN, "EUR", "-92233720368547758.08 EUR"),
    ] {
        assert_eq!(money(minor, code).to_string(), shown);
    }
}

fn any_currency() -> impl Strategy<Value = Currency> {
    prop::sample::select(vec!["EUR", "USD", "KRW", "JPY", "KWD", "BHD", "CLF"]).prop_map(currency)
}

proptest! {
    #[test]
    fn the_wire_form_goes_both_ways(minor in any::<i64>(), currency in any_currency()) {
        let amount = Money::new(minor, currency);
        let (units, nanos) = amount.to_units_nanos();
        prop_assert!(units == 0 || nanos == 0 || units.signum() == i64::from(nanos).signum());
        prop_assert_eq!(Money::from_units_nanos(currency.as_str(), units, nanos), Ok(amount));
    }

    #[test]
    fn adding_and_taking_away_are_inverse(a in any::<i64>(), b in any::<i64>(), currency in any_currency()) {
        let (a, b) = (Money::new(a, currency), Money::new(b, currency));
        if let Ok(sum) = a.checked_add(b) {
            prop_assert_eq!(sum.checked_sub(b), Ok(a));
            prop_assert_eq!(b.checked_add(a), Ok(sum));
        } else {
            let exact = i128::from(a.minor_units()) + i128::from(b.minor_units());
            prop_assert!(i64::try_from(exact).is_err());
        }
    }

    #[test]
    fn what_is_read_is_never_rounded(units in -1_000_000_i64..1_000_000, nanos in -999_999_999_i32..=999_999_999, currency in any_currency()) {
        if let Ok(amount) = Money::from_units_nanos(currency.as_str(), units, nanos) {
            prop_assert_eq!(amount.to_units_nanos(), (units, nanos));
        }
    }
}
