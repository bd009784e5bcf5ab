//! What an order with a coupon or a parcel does at each step.

use openorder_order::{
    domain::{CancellationCause, OrderStatus, ShipmentFact},
    saga::{Effect, OpenSince, Participant, Saga, SagaSettings, Signal, Step, next},
};

use crate::{
    SETTINGS, at,
    case::{Case, Coupon},
    euros, out_of_stock, paid, refused,
    world::{Letter, World},
};

/// Gives the signals one after the other to the saga of an order with a coupon; returns it and all effects.
fn given(signals: &[Signal], settings: &SagaSettings) -> (Saga, Vec<Effect>) {
    let mut saga = Saga::begin_with_coupon(at(0));
    let mut effects = Vec::new();
    for signal in signals {
        let (after, more) = next(&saga, signal, settings, at(1));
        saga = after;
        effects.extend(more);
    }
    (saga, effects)
}

fn held() -> Signal {
    Signal::CouponHeld { line_discounts: vec![euros(10)] }
}

fn expired() -> Signal {
    Signal::CouponRejected { reason: "COUPON_EXPIRED".to_owned(), detail: String::new() }
}

fn confirmed() -> Effect {
    Effect::Confirm { line_discounts: vec![euros(10)] }
}

#[test]
fn an_order_is_confirmed_once_stock_and_coupon_are_held_whichever_is_first() {
    for signals in [[Signal::StockReserved, held()], [held(), Signal::StockReserved]] {
        let (saga, effects) = given(&signals[..1], &SETTINGS);
        assert_eq!((saga.step, effects.len()), (Step::Reserving, 0));
        let (saga, effects) = given(&signals, &SETTINGS);
        assert_eq!((saga.step, effects), (Step::Paying, vec![confirmed()]));
        let twice = [signals.as_slice(), &signals].concat();
        assert_eq!(given(&twice, &SETTINGS).1, [confirmed()], "doubled answers have no effect");
    }
}

#[test]
fn a_coupon_that_cannot_be_used_rejects_the_order_with_its_reason_and_the_stock_is_asked_back() {
    let rejected = Effect::Reject { reason: "COUPON_EXPIRED".to_owned(), detail: String::new() };
    let release = Effect::RequestRelease { cause: CancellationCause::Operator };
    for signals in [vec![expired()], vec![Signal::StockReserved, expired()]] {
        let (saga, effects) = given(&signals, &SETTINGS);
        assert_eq!((saga.step, saga.stock), (Step::Compensating, Participant::Undoing));
        assert_eq!(effects, [rejected.clone(), release.clone()]);
        let (saga, effects) = given(&[signals, vec![Signal::StockReleased { expired: false }]].concat(), &SETTINGS);
        assert_eq!((saga.step, effects.len()), (Step::Compensated, 2), "rejected, and not cancelled too");
    }
    let (saga, effects) = given(&[out_of_stock()], &SETTINGS);
    assert_eq!((saga.step, saga.coupon, saga.coupon_requests), (Step::Compensating, Participant::Undoing, 2));
    assert_eq!(effects.last(), Some(&Effect::RequestCouponRelease));
    let (saga, effects) = given(&[out_of_stock(), expired()], &SETTINGS);
    assert_eq!((saga.step, saga.coupon, effects.len()), (Step::Compensated, Participant::Refused, 2));
}

#[test]
fn a_payment_that_fails_gives_stock_and_coupon_back_and_then_cancels() {
    let begun = [Signal::StockReserved, held(), refused()];
    let (saga, effects) = given(&begun, &SETTINGS);
    let cause = CancellationCause::PaymentFailed;
    assert_eq!(effects[1..], [Effect::RequestRelease { cause }, Effect::RequestCouponRelease]);
    assert_eq!(saga.step, Step::Compensating);
    let answers = [Signal::StockReleased { expired: false }, Signal::CouponRestored];
    let (saga, effects) = given(&[begun.as_slice(), &answers].concat(), &SETTINGS);
    assert_eq!((saga.step, effects.len()), (Step::Compensated, 4));
    assert!(matches!(&effects[3], Effect::Cancel { reason, .. } if reason == "INSUFFICIENT_BALANCE"));
}

#[test]
fn a_coupon_without_an_answer_has_a_deadline_of_its_own_way_and_a_reason_of_its_own() {
    let (saga, _) = given(&[Signal::StockReserved], &SETTINGS);
    let open = |stock, coupon| OpenSince { own: at(0), stock: at(stock), payment: at(0), coupon: at(coupon) };
    let deadline = |open| saga.deadline_on_open_way(&SETTINGS, &open);
    assert_eq!(deadline(open(500, 0)), Some(at(60)), "the stock is not waited for any more");
    assert_eq!(deadline(open(0, 500)), Some(at(560)));
    let (_, effects) = given(&[Signal::StockReserved, Signal::DeadlinePassed], &SETTINGS);
    assert_eq!(effects.len(), 2, "{effects:?}");
    let answers = [Signal::StockReleased { expired: false }, Signal::CouponRestored];
    let (_, effects) = given(&[&[Signal::StockReserved, Signal::DeadlinePassed], &answers[..]].concat(), &SETTINGS);
    assert!(matches!(effects.last(), Some(Effect::Cancel { reason, .. }) if reason == "COUPON_TIMED_OUT"));
}

#[test]
fn a_paid_order_redeems_its_coupon_and_waits_for_its_parcel_where_there_are_parcels() {
    let signals = [Signal::StockReserved, held(), paid()];
    let paid = Effect::MarkPaid { payment_id: "p".to_owned() };
    let (saga, effects) = given(&signals, &SETTINGS);
    assert_eq!(effects[1..], [paid.clone(), Effect::RequestRedemption, Effect::Prepare]);
    assert_eq!((saga.coupon, saga.coupon_requests), (Participant::Done, 2));
    let ships = SagaSettings { ships: true, ..SETTINGS };
    let (saga, effects) = given(&signals, &ships);
    assert_eq!(effects[1..], [paid, Effect::RequestRedemption]);
    assert_eq!((saga.step, saga.shipment), (Step::Completed, Participant::Asked));
    let (saga, effects) = next(&saga, &Signal::ShipmentCreated, &ships, at(2));
    assert_eq!((saga.shipment, effects), (Participant::Done, vec![Effect::Prepare]));
    assert_eq!(next(&saga, &Signal::ShipmentCreated, &ships, at(3)), (saga, Vec::new()), "doubled");
}

#[test]
fn an_order_follows_its_parcel_through_what_it_has_not_heard_of() {
    for (fact, status) in
        [(ShipmentFact::Shipped, OrderStatus::Shipped), (ShipmentFact::Delivered, OrderStatus::Delivered)]
    {
        let mut world = World::of(Case { ships: true, ..Case::GOOD });
        world.deliver(|letter| *letter == Letter::MakeParcel);
        assert_eq!(world.order.status, OrderStatus::Paid);
        world.handle(Letter::Fact(fact));
        assert_eq!(world.order.status, status);
        world.handle(Letter::Fact(ShipmentFact::Created));
        assert_eq!(world.order.status, status, "late");
    }
}

#[test]
fn an_order_whose_parcel_has_left_is_not_called_off_whoever_hears_of_it_first() {
    let mut world = World::of(Case { ships: true, coupon: Coupon::Part, ..Case::GOOD });
    world.deliver(|_| false);
    world.carry(false);
    world.cancel();
    assert_eq!(world.order.status, OrderStatus::Preparing, "it has not heard of the carrier yet");
    world.deliver(|_| false);
    assert_eq!(world.order.status, OrderStatus::Shipped);
    world.check();
    // The other way about.
    let mut world = World::of(Case { ships: true, coupon: Coupon::Part, ..Case::GOOD });
    world.deliver(|_| false);
    world.cancel();
    assert_eq!(world.order.status, OrderStatus::Cancelled);
    world.carry(false);
    world.deliver(|_| false);
    world.check();
    assert!(!world.parcel_reported_lost);
}

#[test]
fn a_parcel_that_the_shipping_service_calls_off_cancels_the_order_and_gives_all_back() {
    let mut world = World::of(Case { ships: true, coupon: Coupon::Part, ..Case::GOOD });
    world.deliver(|_| false);
    let facts = world.shipping.cancel(CancellationCause::Operator);
    world.under_way.extend(facts.into_iter().map(Letter::Fact));
    world.deliver(|_| false);
    assert_eq!(
        (world.order.status, world.order.status_reason.as_str()),
        (OrderStatus::Cancelled, "CANCELLED_BY_OPERATOR")
    );
    world.check();
}
