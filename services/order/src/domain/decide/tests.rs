//! Given a state, when a command comes, then events or a rejection. The saga's own histories are in `tests/saga`.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use openorder_types::{Currency, Money, Quantity, UserId};
use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        CONFIRMING, CancellationCause, OrderStatus, PAYING, PaymentMode, ProductAnswers, RequestedLine, ReservationMode,
    },
    saga::Participant,
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
const STATUSES: [OrderStatus; 8] = [
    OrderStatus::Pending,
    OrderStatus::Confirmed,
    OrderStatus::Paid,
    OrderStatus::Preparing,
    OrderStatus::Shipped,
    OrderStatus::Delivered,
    OrderStatus::Cancelled,
    OrderStatus::Rejected,
];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn tea() -> Sku {
    Sku::parse("TEA").unwrap()
}

fn new_order() -> NewOrder {
    NewOrder {
        order_id: Uuid::from_u128(1),
        customer_id: UserId::parse("ada").unwrap(),
        customer_email: None,
        lines: vec![RequestedLine { sku: tea(), quantity: Quantity::parse(3).unwrap() }],
        reservation_mode: ReservationMode::Deferred,
        payment_mode: PaymentMode::Automatic,
        expected_total: None,
        issued_coupon_id: None,
        shipping_address: None,
        checkout_id: None,
        product_answers: ProductAnswers::new(),
    }
}

fn catalogue() -> HashMap<Sku, CatalogItem> {
    let item = CatalogItem {
        sku: tea(),
        product_id: Uuid::from_u128(2),
        product_version: 1,
        product_number: 1,
        display_name: "Tea".to_owned(),
        unit_price: Money::new(500, Currency::parse("EUR").unwrap()),
        deleted: false,
    };
    HashMap::from([(tea(), item)])
}

fn context(catalogue: &HashMap<Sku, CatalogItem>, seconds: i64) -> Context<'_> {
    Context { catalogue, settings: &SETTINGS, now: at(seconds) }
}

/// An order of Ada's at this status, its saga at this step.
fn given(status: OrderStatus, step: Step) -> (Order, Saga) {
    let Creation { mut order, mut saga, .. } = create(&new_order(), &context(&catalogue(), 0)).unwrap();
    order.status = status;
    saga.step = step;
    (order, saga)
}

fn when((order, saga): &(Order, Saga), command: &OrderCommand, seconds: i64) -> Result<Vec<Event>, Rejection> {
    decide(State { order, saga }, command, &context(&HashMap::new(), seconds))
}

fn cancel(owner: Option<&str>) -> OrderCommand {
    let owner = owner.map(|owner| UserId::parse(owner).unwrap());
    OrderCommand::Cancel {
        cause: CancellationCause::Customer,
        detail: "too late".to_owned(),
        owner,
        is_held_back: false,
    }
}

fn facts(events: &[Event]) -> Vec<&OrderEvent> {
    let facts = events.iter().filter_map(|event| match event {
        Event::Order(event) => Some(event),
        _ => None,
    });
    facts.collect()
}

#[test]
fn a_new_order_waits_for_its_stock_and_nothing_else_follows() {
    let Creation { order, saga, events } = create(&new_order(), &context(&catalogue(), 7)).unwrap();
    assert_eq!((order.status, order.version, order.create_time), (OrderStatus::Pending, 1, at(7)));
    assert_eq!(order.total.map(|total| total.minor_units()), Some(1_500));
    assert_eq!((saga, events), (Saga::begin(at(7)), Vec::new()));
}

#[test]
fn a_new_order_of_an_unknown_product_is_rejected_at_once_and_its_customer_finds_it() {
    let mut new = new_order();
    new.lines.push(RequestedLine { sku: Sku::parse("COFFEE").unwrap(), quantity: Quantity::parse(1).unwrap() });
    new.product_answers.insert(Sku::parse("COFFEE").unwrap(), false);
    let Creation { mut order, mut saga, events } = create(&new, &context(&catalogue(), 7)).unwrap();
    assert_eq!((order.status, order.version, saga.step), (OrderStatus::Pending, 1, Step::Reserving), "as created");
    for event in &events {
        evolve(&mut order, &mut saga, event, at(7));
    }
    assert_eq!((order.status, order.version), (OrderStatus::Rejected, 2));
    assert_eq!((order.status_reason.as_str(), order.status_detail.as_str()), ("UNKNOWN_SKU", "unknown: COFFEE"));
    assert_eq!((order.total, saga.step, saga.stock), (None, Step::Rejected, Participant::Asked));
    assert_eq!(State { order: &order, saga: &saga }.deadline(&SETTINGS, None), None, "nothing is waited for");
}

#[test]
fn an_order_that_would_be_refused_for_its_price_is_not_made() {
    let mut new = new_order();
    new.expected_total = Some(Money::new(1_499, Currency::parse("EUR").unwrap()));
    new.product_answers.insert(tea(), true);
    assert_eq!(create(&new, &context(&catalogue(), 0)).unwrap_err().reason, "PRICE_CHANGED");
}

#[test]
fn an_order_may_be_cancelled_until_it_is_shipped() {
    for status in STATUSES {
        let step = if status == OrderStatus::Pending { Step::Reserving } else { Step::Completed };
        let cancelled = when(&given(status, step), &cancel(None), 1);
        if status < OrderStatus::Shipped {
            let events = cancelled.unwrap();
            let expected = OrderEvent::Cancelled {
                cause: CancellationCause::Customer,
                reason: "CANCELLED_BY_CUSTOMER".to_owned(),
                detail: "too late".to_owned(),
            };
            assert_eq!(facts(&events), [&expected], "{status}");
        } else {
            let rejection = cancelled.unwrap_err();
            assert_eq!(rejection.reason, "ORDER_NOT_CANCELLABLE", "{status}");
            assert!(rejection.metadata.contains(&("status", status.to_string())));
        }
    }
}

#[test]
fn somebody_elses_order_is_not_found_whatever_its_status() {
    for status in STATUSES {
        let order = given(status, Step::Completed);
        assert_eq!(when(&order, &cancel(Some("bert")), 1).unwrap_err().reason, "ORDER_NOT_FOUND", "{status}");
    }
    assert!(when(&given(OrderStatus::Pending, Step::Reserving), &cancel(Some("ada")), 1).is_ok());
}

#[test]
fn an_order_is_moved_on_from_where_the_caller_believes_it_to_be_and_one_status_at_a_time() {
    for status in STATUSES {
        for previous in STATUSES {
            for current in STATUSES {
                let order = given(status, Step::Completed);
                let moved = when(&order, &OrderCommand::UpdateStatus { previous, current, is_agreed: false }, 1);
                let allowed = match (previous, current) {
                    (OrderStatus::Preparing, OrderStatus::Shipped) => Some(OrderEvent::Shipped),
                    (OrderStatus::Shipped, OrderStatus::Delivered) => Some(OrderEvent::Delivered),
                    _ => None,
                };
                match (allowed, status == previous) {
                    (Some(event), true) => assert_eq!(facts(&moved.unwrap()), [&event]),
                    (Some(_), false) => assert_eq!(moved.unwrap_err().reason, "ORDER_STATUS_MISMATCH"),
                    (None, _) => assert_eq!(moved.unwrap_err().reason, "ORDER_TRANSITION_NOT_ALLOWED"),
                }
            }
        }
    }
}

#[test]
fn the_saga_of_a_shipped_order_knows_that_its_stock_is_gone() {
    let (previous, current) = (OrderStatus::Preparing, OrderStatus::Shipped);
    let (mut order, mut saga) = given(previous, Step::Completed);
    saga.stock = Participant::Done;
    let events =
        when(&(order.clone(), saga.clone()), &OrderCommand::UpdateStatus { previous, current, is_agreed: false }, 1)
            .unwrap();
    for event in &events {
        evolve(&mut order, &mut saga, event, at(1));
    }
    assert_eq!((order.status, saga.stock), (OrderStatus::Shipped, Participant::Used));
    let lost = OrderCommand::Signal(Signal::StockReleased { expired: true });
    assert_eq!(when(&(order, saga), &lost, 2).unwrap().last(), Some(&Event::StockLost));
}

#[test]
fn operators_decide_on_failed_compensations_alone() {
    for request in [CompensationRequest::Retry, CompensationRequest::Settle] {
        let (operator, reason) = ("olga".to_owned(), "they are back".to_owned());
        let command = OrderCommand::Compensation { request, operator, reason };
        for number in 1..=7 {
            let step = Step::from_number(number).unwrap();
            let decided = when(&given(OrderStatus::Pending, step), &command, 1);
            if step == Step::CompensationFailed {
                assert!(!facts(&decided.unwrap()).is_empty());
            } else {
                let rejection = decided.unwrap_err();
                assert_eq!(rejection.reason, "COMPENSATION_NOT_FAILED");
                assert!(rejection.metadata.contains(&("step", step.as_str().to_owned())));
            }
        }
    }
}

#[test]
fn only_what_an_operator_has_tried_again_is_answered_again() {
    let answers = |events: &[Event]| -> Vec<bool> {
        let asked = events.iter().filter_map(|event| match event {
            Event::ReleaseRequested { answer_again, .. } | Event::RefundRequested { answer_again, .. } => {
                Some(*answer_again)
            }
            _ => None,
        });
        asked.collect()
    };
    let (order, mut saga) = given(OrderStatus::Cancelled, Step::CompensationFailed);
    (saga.stock, saga.payment) = (Participant::Undoing, Participant::Undoing);
    let (operator, reason) = ("olga".to_owned(), "they are back".to_owned());
    let retry = OrderCommand::Compensation { request: CompensationRequest::Retry, operator, reason };
    let events = when(&(order.clone(), saga.clone()), &retry, 1).unwrap();
    assert_eq!(answers(&events), [true, true]);
    assert!(matches!(&events[0], Event::Saga(after) if after.releases == 1), "it numbers the requests that follow");
    saga.step = Step::Compensating;
    let passed = OrderCommand::Signal(Signal::DeadlinePassed);
    assert_eq!(answers(&when(&(order, saga), &passed, 1).unwrap()), [false, false]);
}

#[test]
fn a_signal_that_comes_too_late_is_rejected() {
    let order = given(OrderStatus::Cancelled, Step::Compensated);
    let late = OrderCommand::Signal(Signal::StockReserved);
    assert_eq!(when(&order, &late, 1).unwrap_err().reason, "SIGNAL_WITHOUT_EFFECT");
}

#[test]
fn a_deadline_counts_from_when_the_way_was_open_and_changes_nothing_before() {
    let order = given(OrderStatus::Pending, Step::Reserving);
    let check =
        |stock| OrderCommand::CheckDeadline(OpenSince { own: at(0), stock: at(stock), payment: at(0), coupon: at(0) });
    assert_eq!(when(&order, &check(0), 59), Ok(Vec::new()));
    assert_eq!(when(&order, &check(30), 60), Ok(Vec::new()), "the inventory service was away until then");
    for (open_since, now) in [(0, 60), (30, 90)] {
        let events = when(&order, &check(open_since), now).unwrap();
        assert!(matches!(events[0], Event::Saga(Saga { step: Step::Compensating, .. })), "{events:?}");
    }
}

#[test]
fn an_order_that_has_a_whole_time_is_due_at_the_earlier_of_its_deadlines() {
    let limited = SagaSettings { completion: Some(Duration::from_secs(40)), ..SETTINGS };
    let (order, saga) = given(OrderStatus::Pending, Step::Reserving);
    let state = State { order: &order, saga: &saga };
    let open = OpenSince { own: at(0), stock: at(500), payment: at(0), coupon: at(0) };
    assert_eq!(state.deadline(&SETTINGS, None), Some(at(60)));
    assert_eq!(state.deadline(&SETTINGS, Some(&open)), Some(at(560)));
    assert_eq!(state.deadline(&limited, None), Some(at(40)));
    assert_eq!(state.deadline(&limited, Some(&open)), Some(at(40)), "the way open or not");
}

#[test]
fn the_expected_steps_lead_where_is_decided_from_where_orders_are() {
    let catalogue = catalogue();
    let Creation { mut order, mut saga, events } = create(&new_order(), &context(&catalogue, 0)).unwrap();
    assert!(events.is_empty());
    let signals = [Signal::StockReserved, Signal::PaymentCompleted { payment_id: "p".to_owned() }];
    for (step, signal) in [&CONFIRMING, &PAYING].into_iter().zip(signals) {
        let (status, version, began) = (order.status, order.version, saga.step_time);
        assert_eq!((step.from.status, step.from.saga(began)), (status, saga.clone()), "{signal:?}");
        assert!(!step.led_to(&order, &saga, version, began));
        let state = State { order: &order, saga: &saga };
        let command = OrderCommand::Signal(signal);
        let events = decide(state, &command, &context(&catalogue, 9)).unwrap();
        // When the order came to where it stands is not known where the step is taken first, and changes nothing.
        let state = State { order: &order, saga: &step.from.saga(at(5)) };
        assert_eq!(decide(state, &command, &context(&catalogue, 9)).as_ref(), Ok(&events));
        for event in &events {
            evolve(&mut order, &mut saga, event, at(9));
        }
        assert!(step.led_to(&order, &saga, version + step.versions, at(9)), "{order:?} {saga:?}");
        assert!(!step.led_to(&order, &saga, version + step.versions + 1, at(9)));
    }
    assert_eq!(order.payment_id, "p");
}

#[test]
fn an_order_that_a_caller_pays_has_as_long_as_was_said_when_it_was_made() {
    let catalogue = catalogue();
    let mut new = new_order();
    assert_eq!(create(&new, &context(&catalogue, 0)).unwrap().order.payment_window, None);
    new.payment_mode = PaymentMode::Manual;
    let Creation { mut order, mut saga, .. } = create(&new, &context(&catalogue, 0)).unwrap();
    assert_eq!(order.payment_window, Some(SETTINGS.payment_window));
    assert_eq!(State { order: &order, saga: &saga }.payment_deadline(None), None, "not before it is confirmed");
    let confirmed = when(&(order.clone(), saga.clone()), &OrderCommand::Signal(Signal::StockReserved), 5).unwrap();
    for event in &confirmed {
        evolve(&mut order, &mut saga, event, at(5));
    }
    // What the setting says now counts for new orders.
    let shorter = SagaSettings { payment_window: Duration::from_secs(1), step: Duration::from_secs(1), ..SETTINGS };
    let state = State { order: &order, saga: &saga };
    assert_eq!(state.payment_deadline(None), Some(at(905)));
    assert_eq!((state.deadline(&shorter, None), state.step_deadline(&shorter, None)), (Some(at(905)), Some(at(905))));
    let open = OpenSince { own: at(0), stock: at(0), payment: at(0), coupon: at(0) };
    let check = OrderCommand::CheckDeadline(open);
    assert_eq!(when(&(order.clone(), saga.clone()), &check, 904), Ok(Vec::new()));
    let events = when(&(order, saga), &check, 905).unwrap();
    assert!(
        matches!(&events[0], Event::Saga(Saga { pending: Some((_, why)), .. }) if why == "PAYMENT_DEADLINE_EXCEEDED")
    );
}
