//! What a coupon takes off an order.

use openorder_types::{Money, Sku};

use crate::domain::{RefusalReason, Terms, Value};

/// Hundredths of a percent that are the whole.
const WHOLE: i128 = 10_000;

/// A line of an order, as coupons look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub sku: Sku,
    /// What its pieces cost; not negative.
    pub total: Money,
}

/// What the coupon takes off each line, in the order of the lines. The parts add up to what it takes off in all, which is
/// more than nothing and at most the lines that it is for. A share is rounded to the nearest minor unit, halves up; the
/// whole is distributed over the lines by what they cost, by largest remainder.
///
/// # Errors
/// `CouponMinimumNotReached`; `CouponNotApplicable`: other goods, another currency, or too little to take anything off.
pub fn discounts(terms: &Terms, lines: &[Line]) -> Result<Vec<Money>, RefusalReason> {
    let not_applicable = RefusalReason::CouponNotApplicable;
    let currency = lines.first().map(|line| line.total.currency()).ok_or(not_applicable)?;
    let is_foreign = |amount: &Money| amount.currency() != currency;
    if lines.iter().any(|line| is_foreign(&line.total)) || terms.amounts().iter().any(is_foreign) {
        return Err(not_applicable);
    }
    let units = |line: &Line| i128::from(line.total.minor_units());
    let sum: i128 = lines.iter().map(units).sum();
    if terms.minimum_total().is_some_and(|minimum| sum < i128::from(minimum.minor_units())) {
        return Err(RefusalReason::CouponMinimumNotReached);
    }
    let weights: Vec<i128> = lines.iter().map(|line| if terms.is_for(&line.sku) { units(line) } else { 0 }).collect();
    let base: i128 = weights.iter().sum();
    let amount = match terms.value() {
        Value::Fixed(amount) => i128::from(amount.minor_units()).min(base),
        Value::Percent { basis_points, maximum } => {
            let share = (base * i128::from(basis_points) + WHOLE / 2) / WHOLE;
            maximum.map_or(share, |maximum| share.min(i128::from(maximum.minor_units())))
        }
    };
    if amount <= 0 {
        return Err(not_applicable);
    }
    let parts = distribute(amount, &weights, base);
    // Each is at most what its line costs.
    Ok(parts.into_iter().map(|part| Money::new(i64::try_from(part).unwrap_or(i64::MAX), currency)).collect())
}

/// Distributes an amount, more than nothing and at most the sum of the weights, by weight and largest remainder; of equal
/// remainders the earlier one is larger. No part is more than its weight: only what was rounded down is given one more.
fn distribute(amount: i128, weights: &[i128], sum: i128) -> Vec<i128> {
    let mut parts: Vec<i128> = weights.iter().map(|weight| amount * weight / sum).collect();
    let missing = amount - parts.iter().sum::<i128>();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|index| std::cmp::Reverse(weights.get(*index).map(|weight| amount * weight % sum)));
    for index in by_remainder.into_iter().take(usize::try_from(missing).unwrap_or(0)) {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use openorder_types::Currency;
    use proptest::prelude::*;

    use super::*;

    fn money(minor_units: i64, currency: &str) -> Money {
        Money::new(minor_units, Currency::parse(currency).unwrap())
    }

    fn lines(totals: &[i64], currency: &str) -> Vec<Line> {
        let line = |(index, total): (usize, &i64)| Line {
            sku: Sku::parse(&format!("S{index}")).unwrap(),
            total: money(*total, currency),
        };
        totals.iter().enumerate().map(line).collect()
    }

    fn terms(value: Value, minimum: Option<Money>, skus: &[&str]) -> Terms {
        let skus: BTreeSet<Sku> = skus.iter().map(|sku| Sku::parse(sku).unwrap()).collect();
        Terms::parse(value, minimum, skus).unwrap()
    }

    fn units(terms: &Terms, lines: &[Line]) -> Result<Vec<i64>, RefusalReason> {
        discounts(terms, lines).map(|parts| parts.iter().map(Money::minor_units).collect())
    }

    #[test]
    fn an_amount_is_distributed_by_what_the_lines_cost_and_the_largest_remainder_gets_the_rest() {
        let ten = terms(Value::Fixed(money(1_000, "EUR")), None, &[]);
        assert_eq!(units(&ten, &lines(&[2_000, 1_000, 1_000], "EUR")), Ok(vec![500, 250, 250]));
        assert_eq!(units(&ten, &lines(&[1_000, 1_000, 1_000], "EUR")), Ok(vec![334, 333, 333]), "the earlier first");
        assert_eq!(units(&ten, &lines(&[300, 0, 200], "EUR")), Ok(vec![300, 0, 200]), "no more than the lines");
        let some = terms(Value::Fixed(money(1_000, "EUR")), None, &["S1"]);
        assert_eq!(units(&some, &lines(&[2_000, 1_500], "EUR")), Ok(vec![0, 1_000]));
    }

    #[test]
    fn a_share_is_rounded_to_the_nearest_minor_unit_and_has_a_maximum() {
        let percent = |basis_points, maximum| terms(Value::Percent { basis_points, maximum }, None, &[]);
        assert_eq!(units(&percent(1_000, None), &lines(&[1_005], "KRW")), Ok(vec![101]), "100.5 won");
        assert_eq!(units(&percent(1_000, None), &lines(&[1_004], "KRW")), Ok(vec![100]));
        assert_eq!(units(&percent(10_000, None), &lines(&[1_234, 1], "KWD")), Ok(vec![1_234, 1]));
        assert_eq!(units(&percent(5_000, Some(money(7, "EUR"))), &lines(&[10, 10], "EUR")), Ok(vec![4, 3]));
    }

    #[test]
    fn a_coupon_for_other_goods_another_currency_or_a_larger_order_takes_nothing_off() {
        let order = lines(&[1_000, 500], "EUR");
        let fixed = |minimum, skus: &[&str]| terms(Value::Fixed(money(100, "EUR")), minimum, skus);
        let not_applicable = Err(RefusalReason::CouponNotApplicable);
        assert_eq!(units(&fixed(None, &["OTHER"]), &order), not_applicable);
        assert_eq!(units(&fixed(None, &[]), &lines(&[1_000], "KRW")), not_applicable);
        assert_eq!(units(&fixed(None, &[]), &[]), not_applicable);
        let little = terms(Value::Percent { basis_points: 1, maximum: None }, None, &[]);
        assert_eq!(units(&little, &lines(&[4_999], "EUR")), not_applicable, "less than half a cent");
        assert_eq!(units(&fixed(Some(money(1_501, "EUR")), &[]), &order), Err(RefusalReason::CouponMinimumNotReached));
        assert!(units(&fixed(Some(money(1_500, "EUR")), &["S1"]), &order).is_ok(), "the minimum is of all lines");
        let anywhere = terms(Value::Percent { basis_points: 5_000, maximum: None }, None, &[]);
        assert_eq!(units(&anywhere, &lines(&[10], "KWD")), Ok(vec![5]), "a share without amounts is of any currency");
    }

    proptest! {
        /// The parts add up to what the coupon says, none is negative or more than its line, whatever the currency's
        /// decimals (KRW none, EUR two, KWD three), also at the largest amounts.
        #[test]
        fn the_parts_add_up_and_none_is_more_than_its_line(
            currency in prop::sample::select(vec!["KRW", "EUR", "KWD"]),
            totals in prop::collection::vec(prop_oneof![0..5_i64, 0..100_000_i64, 0..=1_000_000_000_000_000_i64], 1..100),
            for_which in prop::collection::vec(any::<bool>(), 100),
            is_fixed in any::<bool>(),
            fixed in 1..=1_000_000_000_000_i64,
            basis_points in 1..=10_000_i32,
            maximum in prop::option::of(1..=1_000_000_000_000_i64),
        ) {
            let skus: Vec<String> = (0..totals.len()).filter(|index| for_which[*index]).map(|index| format!("S{index}")).collect();
            let skus: Vec<&str> = skus.iter().map(String::as_str).collect();
            let value = if is_fixed {
                Value::Fixed(money(fixed, currency))
            } else {
                Value::Percent { basis_points, maximum: maximum.map(|maximum| money(maximum, currency)) }
            };
            let terms = terms(value, None, &skus);
            let order = lines(&totals, currency);
            let base: i128 = order.iter().filter(|line| terms.is_for(&line.sku)).map(|line| i128::from(line.total.minor_units())).sum();
            let expected = match value {
                Value::Fixed(_) => i128::from(fixed).min(base),
                Value::Percent { .. } => {
                    let share = (base * i128::from(basis_points) + 5_000) / 10_000;
                    maximum.map_or(share, |maximum| share.min(i128::from(maximum)))
                }
            };
            match units(&terms, &order) {
                Err(reason) => prop_assert!(expected == 0 && reason == RefusalReason::CouponNotApplicable),
                Ok(parts) => {
                    prop_assert_eq!(parts.iter().map(|part| i128::from(*part)).sum::<i128>(), expected);
                    prop_assert_eq!(parts.len(), order.len());
                    for (part, line) in parts.iter().zip(&order) {
                        let most = if terms.is_for(&line.sku) { line.total.minor_units() } else { 0 };
                        prop_assert!((0..=most).contains(part));
                    }
                }
            }
        }
    }
}
