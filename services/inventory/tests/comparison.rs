//! The comparison of reservations with their orders.
#![allow(clippy::unwrap_used)]

use chrono::{TimeDelta, TimeZone, Utc};
use openorder_inventory::domain::{
    Line, MismatchKind, OrderPhase, OrderState, Reservation, ReservationCheck, ReservationState, check_expired,
    check_reservation,
};
use openorder_types::{Quantity, Sku, Timestamp};
use uuid::Uuid;

fn now() -> Timestamp {
    Utc.timestamp_opt(1_800_000_000, 0).unwrap()
}

fn in_an_hour() -> Timestamp {
    now() + TimeDelta::hours(1)
}

fn held_reservation() -> Reservation {
    let line = Line { sku: Sku::parse("sku-0").unwrap(), quantity: Quantity::parse(1_i64).unwrap(), product_number: 0 };
    Reservation {
        order_id: Uuid::from_u128(1),
        lines: vec![line],
        state: ReservationState::Held,
        reason: String::new(),
        modified_order_version: None,
        version: 1,
        create_time: now(),
        update_time: now(),
        expire_time: Some(in_an_hour()),
    }
}

fn order(phase: OrderPhase, update_time: Timestamp) -> OrderState {
    OrderState { phase, status: 0, update_time, payment_deadline: None }
}

#[test]
fn what_ran_out_of_time_is_kept_or_given_back_as_its_order_says() {
    let (grace, expired) = (TimeDelta::minutes(10), in_an_hour());
    let check = |phase, at| check_expired(Some(&order(phase, now())), expired, grace, at);
    for at in [expired, expired + grace] {
        assert_eq!(check(OrderPhase::Paid, at), ReservationCheck::Keep);
        assert_eq!(check(OrderPhase::Shipped, at), ReservationCheck::Keep);
        assert_eq!(check(OrderPhase::Settled, at), ReservationCheck::GiveBack);
        assert_eq!(check_expired(None, expired, grace, at), ReservationCheck::GiveBack, "nobody knows the order");
    }
    let early = expired + grace - TimeDelta::milliseconds(1);
    assert_eq!(check(OrderPhase::Open, early), ReservationCheck::Fine, "looked at again");
    assert_eq!(check(OrderPhase::Open, expired + grace), ReservationCheck::Mismatch(MismatchKind::OpenButExpired));
}

#[test]
fn a_reservation_and_its_order_may_contradict_each_other_for_a_while() {
    let (grace, made) = (TimeDelta::minutes(10), now());
    let held = held_reservation();
    let with = |change: &dyn Fn(&mut Reservation)| {
        let mut changed = held.clone();
        change(&mut changed);
        changed
    };
    let released = with(&|one| (one.state, one.expire_time) = (ReservationState::Released, None));
    let shipped = with(&|one| one.state = ReservationState::Shipped);
    let kept = with(&|one| one.expire_time = None);
    let young = with(&|one| one.expire_time = Some(made + TimeDelta::hours(3)));
    let (open_but_expired, shipped_but_held, paid_but_released) = (
        ReservationCheck::Mismatch(MismatchKind::OpenButExpired),
        ReservationCheck::Mismatch(MismatchKind::ShippedButHeld),
        ReservationCheck::Mismatch(MismatchKind::PaidButReleased),
    );
    let cases = [
        (&held, OrderPhase::Open, open_but_expired),
        (&young, OrderPhase::Open, ReservationCheck::Fine),
        (&held, OrderPhase::Paid, ReservationCheck::Fine),
        (&kept, OrderPhase::Paid, ReservationCheck::Fine),
        (&kept, OrderPhase::Shipped, shipped_but_held),
        (&held, OrderPhase::Settled, ReservationCheck::GiveBack),
        (&kept, OrderPhase::Settled, ReservationCheck::GiveBack),
        (&released, OrderPhase::Open, ReservationCheck::Fine),
        (&released, OrderPhase::Paid, paid_but_released),
        (&released, OrderPhase::Shipped, paid_but_released),
        (&released, OrderPhase::Settled, ReservationCheck::Fine),
        (&shipped, OrderPhase::Shipped, ReservationCheck::Fine),
        (&shipped, OrderPhase::Settled, ReservationCheck::Fine),
    ];
    for (reservation, phase, expected) in cases {
        let since = made + TimeDelta::hours(2);
        let case = format!("{:?}, {phase:?}", reservation.state);
        assert_eq!(
            check_reservation(reservation, Some(&order(phase, since)), grace, since + grace),
            expected,
            "{case}"
        );
        let early = since + grace - TimeDelta::milliseconds(1);
        assert_eq!(
            check_reservation(reservation, Some(&order(phase, since)), grace, early),
            ReservationCheck::Fine,
            "{case}, early"
        );
    }
    assert_eq!(
        check_reservation(&held, None, grace, in_an_hour()),
        ReservationCheck::Fine,
        "its time tells, not the comparison"
    );
}

#[test]
fn an_order_that_waits_for_its_customer_to_pay_contradicts_nothing_until_that_time_is_over() {
    let (grace, expired) = (TimeDelta::minutes(10), in_an_hour());
    let deadline = expired + TimeDelta::minutes(30);
    let waiting = OrderState { payment_deadline: Some(deadline), ..order(OrderPhase::Open, now()) };
    let held = held_reservation();
    let late = deadline + grace;
    for (at, is_fine) in [(expired + grace, true), (late - TimeDelta::milliseconds(1), true), (late, false)] {
        let expected = match is_fine {
            true => ReservationCheck::Fine,
            false => ReservationCheck::Mismatch(MismatchKind::OpenButExpired),
        };
        assert_eq!(check_expired(Some(&waiting), expired, grace, at), expected, "{at}");
        assert_eq!(check_reservation(&held, Some(&waiting), grace, at), expected, "{at}");
    }
    // One that is over before the reservation's own time changes nothing.
    let short = OrderState { payment_deadline: Some(now()), ..order(OrderPhase::Open, now()) };
    assert_eq!(check_expired(Some(&short), expired, grace, expired), ReservationCheck::Fine);
}
