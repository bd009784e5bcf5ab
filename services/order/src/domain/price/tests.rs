#![allow(clippy::unwrap_used)]

use openorder_types::{Currency, Quantity, UserId};
use proptest::prelude::*;

use super::*;
use crate::domain::{NewOrder, PaymentMode, ReservationMode};

fn money(minor_units: i64, currency: &str) -> Money {
    Money::new(minor_units, Currency::parse(currency).unwrap())
}

fn sku(index: usize) -> Sku {
    Sku::parse(&format!("SKU-{index}")).unwrap()
}

fn item(index: usize, unit_price: Money) -> (Sku, CatalogItem) {
    let item = CatalogItem {
        sku: sku(index),
        product_id: Uuid::from_u128(index as u128),
        product_version: 1,
        product_number: 7,
        display_name: format!("Product {index}"),
        unit_price,
        deleted: false,
    };
    (sku(index), item)
}

fn line(index: usize, quantity: i64) -> RequestedLine {
    RequestedLine { sku: sku(index), quantity: Quantity::parse(quantity).unwrap() }
}

fn order(lines: Vec<RequestedLine>) -> NewOrder {
    NewOrder {
        order_id: Uuid::from_u128(1),
        customer_id: UserId::parse("ada").unwrap(),
        customer_email: None,
        lines,
        reservation_mode: ReservationMode::Deferred,
        payment_mode: PaymentMode::Automatic,
        expected_total: None,
        issued_coupon_id: None,
        shipping_address: None,
        checkout_id: None,
        product_answers: ProductAnswers::new(),
    }
}

/// Prices the order, and says whether it may be made at these prices.
fn decide(new: &NewOrder, catalogue: &HashMap<Sku, CatalogItem>) -> Result<PricedLines, Rejection> {
    let priced = price(&new.lines, catalogue, &new.product_answers)?;
    check_prices(new.expected_total, &new.product_answers, &priced)?;
    Ok(priced)
}

fn reason(result: Result<PricedLines, Rejection>) -> &'static str {
    result.unwrap_err().reason
}

#[test]
fn a_line_costs_its_price_times_its_pieces_and_the_order_the_sum() {
    let catalogue = HashMap::from([item(1, money(250, "EUR")), item(2, money(999, "EUR"))]);
    let priced = decide(&order(vec![line(2, 3), line(1, 4)]), &catalogue).unwrap();
    assert_eq!(priced.total, Some(money(3 * 999 + 4 * 250, "EUR")));
    let [first, second] = priced.lines.as_slice() else { unreachable!("{priced:?}") };
    assert_eq!((&first.sku, &second.sku), (&sku(2), &sku(1)), "in the order of the request");
    assert_eq!(first.price, Some((money(999, "EUR"), money(2_997, "EUR"))));
    assert_eq!((first.display_name.as_str(), first.product_number), ("Product 2", 7));
}

#[test]
fn products_of_two_currencies_make_no_order() {
    let catalogue = HashMap::from([item(1, money(250, "EUR")), item(2, money(250, "USD"))]);
    assert_eq!(reason(decide(&order(vec![line(1, 1), line(2, 1)]), &catalogue)), "CURRENCY_MISMATCH");
    // Also when nothing else could be said of the total: a SKU is unknown.
    assert_eq!(reason(decide(&order(vec![line(1, 1), line(3, 1), line(2, 1)]), &catalogue)), "CURRENCY_MISMATCH");
}

#[test]
fn a_line_or_a_sum_that_no_amount_can_hold_makes_no_order() {
    let catalogue = HashMap::from([item(1, money(i64::MAX, "EUR")), item(2, money(1, "EUR"))]);
    let largest = decide(&order(vec![line(1, 1)]), &catalogue).unwrap();
    assert_eq!(largest.total, Some(money(i64::MAX, "EUR")));
    assert_eq!(reason(decide(&order(vec![line(1, 2)]), &catalogue)), "TOTAL_TOO_LARGE", "of one line");
    assert_eq!(reason(decide(&order(vec![line(1, 1), line(2, 1)]), &catalogue)), "TOTAL_TOO_LARGE", "of both");
}

#[test]
fn a_sku_that_the_copy_does_not_have_is_asked_about_before_it_counts_as_unknown() {
    let catalogue = HashMap::from([item(1, money(250, "EUR"))]);
    let mut new = order(vec![line(1, 1), line(2, 1)]);
    assert_eq!(reason(decide(&new, &catalogue)), rejection::CATALOGUE_IN_DOUBT);
    new.product_answers.insert(sku(2), false);
    let priced = decide(&new, &catalogue).unwrap();
    assert_eq!(priced.total, None);
    let prices: Vec<bool> = priced.lines.iter().map(|line| line.price.is_some()).collect();
    assert_eq!(prices, [true, false]);
}

#[test]
fn a_product_that_was_deleted_here_or_there_has_no_price() {
    let (of_one, mut deleted) = item(1, money(250, "EUR"));
    deleted.deleted = true;
    let unpriced = |catalogue: &HashMap<Sku, CatalogItem>, is_sold: bool| {
        let answers = ProductAnswers::from([(sku(1), is_sold)]);
        price(&[line(1, 1)], catalogue, &answers).unwrap().lines[0].price.is_none()
    };
    assert!(unpriced(&HashMap::from([(of_one, deleted)]), true), "the copy is of after the answer");
    let sold_here = HashMap::from([item(1, money(250, "EUR"))]);
    assert!(unpriced(&sold_here, false), "the product service has just answered that it does not sell it");
    assert!(!unpriced(&sold_here, true));
}

#[test]
fn another_total_than_the_customer_was_shown_is_refused_once_every_price_was_asked_for() {
    let catalogue = HashMap::from([item(1, money(250, "EUR")), item(2, money(999, "EUR"))]);
    let mut new = order(vec![line(1, 1), line(2, 1)]);
    for other in [money(1_248, "EUR"), money(1_249, "USD")] {
        new.expected_total = Some(other);
        new.product_answers.clear();
        assert_eq!(reason(decide(&new, &catalogue)), rejection::CATALOGUE_IN_DOUBT);
        new.product_answers.insert(sku(1), true);
        assert_eq!(reason(decide(&new, &catalogue)), rejection::CATALOGUE_IN_DOUBT, "the second is in doubt");
        new.product_answers.insert(sku(2), true);
        assert_eq!(reason(decide(&new, &catalogue)), "PRICE_CHANGED");
    }
    new.product_answers.clear();
    new.expected_total = Some(money(1_249, "EUR"));
    assert!(decide(&new, &catalogue).is_ok(), "nobody is asked when the total is as shown");
}

#[test]
fn a_total_that_was_shown_does_not_matter_for_an_order_without_one() {
    let mut new = order(vec![line(1, 1)]);
    new.expected_total = Some(money(5, "EUR"));
    new.product_answers.insert(sku(1), false);
    assert_eq!(decide(&new, &HashMap::new()).unwrap().total, None);
}

/// Prices of a few products: some near the largest amount, in one currency or two, some unknown.
fn catalogue() -> impl Strategy<Value = Vec<Option<Money>>> {
    let minor_units = prop_oneof![8 => 0..1_000_000_i64, 1 => (i64::MAX - 10)..=i64::MAX];
    let currency = prop_oneof![9 => Just("EUR"), 1 => Just("USD")];
    let price = (minor_units, currency).prop_map(|(minor_units, currency)| money(minor_units, currency));
    prop::collection::vec(prop::option::weighted(0.9, price), 1..8)
}

proptest! {
    /// Against arithmetic that cannot overflow: the total is the exact sum, and an order has none only for a reason.
    #[test]
    fn the_total_is_exact_or_the_order_says_why_it_has_none(
        prices in catalogue(),
        quantities in prop::collection::vec(1_i64..=1_000_000, 8),
    ) {
        let items = prices.iter().enumerate().filter_map(|(index, price)| price.map(|price| item(index, price)));
        let catalogue: HashMap<Sku, CatalogItem> = items.collect();
        let lines: Vec<RequestedLine> = (0..prices.len()).map(|index| line(index, quantities[index])).collect();
        let known = || prices.iter().zip(&quantities).filter_map(|(price, quantity)| price.zip(Some(*quantity)));
        let exact: i128 = known().map(|(price, quantity)| i128::from(price.minor_units()) * i128::from(quantity)).sum();
        let mut currencies: Vec<String> = known().map(|(price, _)| price.currency().to_string()).collect();
        currencies.dedup();

        let priced = price(&lines, &catalogue, &ProductAnswers::new());
        match &priced {
            Ok(priced) => {
                prop_assert!(currencies.len() <= 1);
                prop_assert!(exact <= i128::from(i64::MAX));
                let is_complete = prices.iter().all(Option::is_some);
                prop_assert_eq!(priced.total.map(|total| i128::from(total.minor_units())), is_complete.then_some(exact));
                let without = priced.lines.iter().map(|line| line.price.is_none());
                prop_assert!(without.eq(prices.iter().map(Option::is_none)));
            }
            Err(rejection) => match rejection.reason {
                "CURRENCY_MISMATCH" => prop_assert!(currencies.len() > 1),
                "TOTAL_TOO_LARGE" => prop_assert!(exact > i128::from(i64::MAX)),
                other => prop_assert!(false, "{other}"),
            },
        }
    }
}
