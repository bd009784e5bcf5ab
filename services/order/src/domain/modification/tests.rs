//! Given an order, when other lines are wanted, then what follows.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, time::Duration};

use openorder_types::{Currency, Quantity, Sku, Timestamp, UserId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        CatalogItem, Creation, NewOrder, OrderCommand, PaymentMode, ProductAnswers, RequestedLine, ReservationMode,
        create, decide, evolve,
    },
    saga::{Saga, SagaSettings},
};

const SETTINGS: SagaSettings = SagaSettings {
    ships: false,
    step: Duration::from_secs(60),
    payment_window: Duration::from_secs(900),
    completion: None,
    compensation: Duration::from_secs(10),
    compensation_max: Duration::from_secs(60),
    compensation_attempts_max: 5,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}

fn money(minor_units: i64, currency: &str) -> Money {
    Money::new(minor_units, Currency::parse(currency).unwrap())
}

/// TEA for 5 euros, CUP for 3, YEN for 700 of them.
fn catalogue() -> HashMap<Sku, CatalogItem> {
    let item = |name: &str, unit_price| {
        let item = CatalogItem {
            sku: sku(name),
            product_id: Uuid::from_u128(2),
            product_version: 1,
            product_number: 1,
            display_name: name.to_lowercase(),
            unit_price,
            deleted: false,
        };
        (sku(name), item)
    };
    HashMap::from([item("TEA", money(500, "EUR")), item("CUP", money(300, "EUR")), item("YEN", money(700, "JPY"))])
}

fn lines(wanted: &[(&str, i64)]) -> Vec<RequestedLine> {
    let line =
        |(name, pieces): &(&str, i64)| RequestedLine { sku: sku(name), quantity: Quantity::parse(*pieces).unwrap() };
    wanted.iter().map(line).collect()
}

/// An order of Ada's, of three TEA, that is just made.
fn made(payment_mode: PaymentMode) -> (Order, Saga) {
    let new = NewOrder {
        order_id: Uuid::from_u128(1),
        customer_id: UserId::parse("ada").unwrap(),
        customer_email: None,
        lines: lines(&[("TEA", 3)]),
        reservation_mode: ReservationMode::Deferred,
        payment_mode,
        expected_total: None,
        issued_coupon_id: None,
        shipping_address: None,
        checkout_id: None,
        product_answers: ProductAnswers::new(),
    };
    let catalogue = catalogue();
    let Creation { order, saga, .. } = create(&new, &context(&catalogue)).unwrap();
    (order, saga)
}

fn context(catalogue: &HashMap<Sku, CatalogItem>) -> Context<'_> {
    Context { catalogue, settings: &SETTINGS, now: at(9) }
}

fn wanted(expected_version: i64, wanted: &[(&str, i64)]) -> ModifyRequest {
    let (lines, product_answers) = (lines(wanted), ProductAnswers::new());
    ModifyRequest { lines, expected_version, expected_total: None, owner: None, product_answers }
}

fn when((order, saga): &mut (Order, Saga), command: &OrderCommand) -> Result<Vec<Event>, Rejection> {
    let catalogue = catalogue();
    let events = decide(State { order, saga }, command, &context(&catalogue))?;
    for event in &events {
        evolve(order, saga, event, at(9));
    }
    Ok(events)
}

fn ask(order: &mut (Order, Saga), wanted: ModifyRequest) -> Result<Vec<Event>, &'static str> {
    when(order, &OrderCommand::Modify(Box::new(wanted))).map_err(|rejection| rejection.reason)
}

fn hear(order: &mut (Order, Saga), signal: Signal) {
    when(order, &OrderCommand::Signal(signal)).unwrap();
}

/// The same, waiting to be paid.
fn waiting() -> (Order, Saga) {
    let mut order = made(PaymentMode::Manual);
    hear(&mut order, Signal::StockReserved);
    order
}

fn shown(lines: &[OrderLine]) -> Vec<(&str, i64)> {
    lines.iter().map(|line| (line.sku.as_str(), line.quantity.get())).collect()
}

#[test]
fn the_order_has_its_lines_until_the_new_ones_are_held_and_then_costs_what_they_cost_now() {
    let mut order = waiting();
    let events = ask(&mut order, wanted(2, &[("CUP", 2), ("TEA", 1)])).unwrap();
    assert!(matches!(events[0], Event::Order(OrderEvent::ModificationRequested { .. })), "{events:?}");
    assert_eq!(events.last(), Some(&Event::PaymentHoldRequested));
    assert_eq!((order.0.version, order.0.status), (3, OrderStatus::Confirmed));
    assert_eq!((shown(&order.0.lines), order.0.total), (vec![("TEA", 3)], Some(money(1_500, "EUR"))));
    let asked = order.0.modification.clone().unwrap();
    assert_eq!((asked.order_version, shown(&asked.lines)), (3, vec![("CUP", 2), ("TEA", 1)]));
    assert_eq!((asked.total, asked.is_under_way()), (Some(money(1_100, "EUR")), true));
    hear(&mut order, Signal::PaymentHeldBack { order_version: 3 });
    hear(&mut order, Signal::StockModified { order_version: 3 });
    assert_eq!((order.0.version, shown(&order.0.lines)), (4, vec![("CUP", 2), ("TEA", 1)]));
    assert_eq!(order.0.total, Some(money(1_100, "EUR")));
    let taken = order.0.modification.as_ref().unwrap();
    assert_eq!((taken.state, taken.lines.len(), taken.total), (ModificationState::Accepted, 0, None));
}

#[test]
fn a_refusal_keeps_the_lines_and_shows_what_was_asked_for_and_why_not() {
    let mut order = waiting();
    ask(&mut order, wanted(2, &[("CUP", 2)])).unwrap();
    hear(&mut order, Signal::PaymentHeldBack { order_version: 3 });
    let (reason, detail) = ("OUT_OF_STOCK".to_owned(), "CUP: 2 asked for, 1 available".to_owned());
    hear(&mut order, Signal::StockModificationRejected { order_version: 3, reason, detail });
    let order = order.0;
    assert_eq!((order.version, shown(&order.lines), order.status_reason.as_str()), (4, vec![("TEA", 3)], ""));
    let refused = order.modification.unwrap();
    assert_eq!((refused.state, refused.reason.as_str()), (ModificationState::Rejected, "OUT_OF_STOCK"));
    assert_eq!((shown(&refused.lines), refused.detail.as_str()), (vec![("CUP", 2)], "CUP: 2 asked for, 1 available"));
}

#[test]
fn what_is_wanted_is_checked_before_anything_is_asked_for() {
    let mut order = waiting();
    let before = order.clone();
    let of_bert = ModifyRequest { owner: UserId::parse("bert").ok(), ..wanted(2, &[("CUP", 1)]) };
    assert_eq!(ask(&mut order, of_bert), Err("ORDER_NOT_FOUND"));
    for version in [1, 3] {
        assert_eq!(ask(&mut order, wanted(version, &[("CUP", 1)])), Err("ORDER_VERSION_MISMATCH"));
    }
    assert_eq!(ask(&mut order, wanted(2, &[("CUP", 1), ("YEN", 1)])), Err("CURRENCY_MISMATCH"));
    // What the copy does not have is asked about first.
    let unknown = wanted(2, &[("CUP", 1), ("NO", 1)]);
    assert_eq!(ask(&mut order, unknown.clone()), Err("CATALOGUE_IN_DOUBT"));
    let product_answers = ProductAnswers::from([(sku("NO"), false), (sku("CUP"), true)]);
    assert_eq!(ask(&mut order, ModifyRequest { product_answers, ..unknown }), Err("UNKNOWN_SKU"));
    let product_answers = ProductAnswers::from([(sku("CUP"), true)]);
    let dear = ModifyRequest { expected_total: Some(money(299, "EUR")), product_answers, ..wanted(2, &[("CUP", 1)]) };
    assert_eq!(ask(&mut order, dear), Err("PRICE_CHANGED"));
    assert_eq!(order, before);
    let shown = ModifyRequest { expected_total: Some(money(300, "EUR")), ..wanted(2, &[("CUP", 1)]) };
    assert!(ask(&mut order, shown).is_ok());
    assert_eq!(ask(&mut order, wanted(3, &[("CUP", 1)])), Err("MODIFICATION_UNDER_WAY"));
}

#[test]
fn an_order_that_is_paid_by_itself_can_be_changed_until_its_stock_is_decided() {
    let mut order = made(PaymentMode::Automatic);
    let events = ask(&mut order, wanted(1, &[("CUP", 1)])).unwrap();
    assert_eq!(events.len(), 2, "nothing is asked of anybody: {events:?}");
    hear(&mut order, Signal::StockReserved);
    hear(&mut order, Signal::StockModified { order_version: 2 });
    assert_eq!((order.0.status, order.0.version, order.0.total), (OrderStatus::Confirmed, 4, Some(money(300, "EUR"))));
    assert_eq!(ask(&mut order, wanted(4, &[("TEA", 1)])), Err("ORDER_NOT_MODIFIABLE"));
    let mut order = made(PaymentMode::Automatic);
    hear(&mut order, Signal::StockReserved);
    assert_eq!(ask(&mut order, wanted(2, &[("CUP", 1)])), Err("ORDER_NOT_MODIFIABLE"), "its payment is under way");
}

#[test]
fn a_change_that_ends_with_its_order_says_what_the_order_was_cancelled_for() {
    let mut order = waiting();
    ask(&mut order, wanted(2, &[("CUP", 1)])).unwrap();
    let cause = crate::domain::CancellationCause::Customer;
    hear(&mut order, Signal::CancelRequested { cause, detail: "too late".to_owned() });
    let ended = order.0.modification.unwrap();
    assert_eq!((ended.state, ended.reason.as_str()), (ModificationState::Rejected, "CANCELLED_BY_CUSTOMER"));
    assert_eq!((order.1.modifying, shown(&order.0.lines)), (None, vec![("TEA", 3)]));
}

proptest! {
    /// Over any row of changes, each of which is taken or refused: the order has the lines that were taken last, costs their
    /// sum, and each fact is one version.
    #[test]
    fn an_order_is_of_the_lines_that_were_taken_last(
        changes in prop::collection::vec((1_i64..9, 1_i64..9, any::<bool>()), 1..12),
    ) {
        let mut order = waiting();
        let (mut expected, mut version) = (vec![("TEA", 3)], 2);
        for (tea, cups, is_taken) in changes {
            let new = [("CUP", cups), ("TEA", tea)];
            ask(&mut order, wanted(version, &new)).unwrap();
            let order_version = version + 1;
            hear(&mut order, Signal::PaymentHeldBack { order_version });
            if is_taken {
                hear(&mut order, Signal::StockModified { order_version });
                expected = new.to_vec();
            } else {
                let (reason, detail) = ("OUT_OF_STOCK".to_owned(), String::new());
                hear(&mut order, Signal::StockModificationRejected { order_version, reason, detail });
            }
            version += 2;
            prop_assert_eq!((order.0.version, shown(&order.0.lines)), (version, expected.clone()));
            let sum = expected.iter().map(|(name, pieces)| pieces * if *name == "TEA" { 500 } else { 300 }).sum();
            prop_assert_eq!(order.0.total, Some(money(sum, "EUR")));
        }
    }
}
