//! The rules of stock over random histories: nothing is oversold, what is given back is what was held.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;

use chrono::{TimeDelta, TimeZone, Utc};
use openorder_inventory::domain::{
    Line, MismatchKind, OrderState, Reservation, ReservationState, Standing, StockLevel, Verdict, judge, judge_expired,
};
use openorder_types::{Quantity, Sku, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

fn now() -> Timestamp {
    Utc.timestamp_opt(1_800_000_000, 0).unwrap()
}

fn in_an_hour() -> Timestamp {
    now() + TimeDelta::hours(1)
}

fn sku(number: u8) -> Sku {
    Sku::parse(&format!("sku-{number}")).unwrap()
}

fn lines(wanted: &[(u8, i64)]) -> Vec<Line> {
    let mut seen = std::collections::HashSet::new();
    let each_once = wanted.iter().filter(|(number, _)| seen.insert(*number));
    each_once
        .map(|(number, pieces)| Line {
            sku: sku(*number),
            quantity: Quantity::parse(*pieces).unwrap(),
            product_number: 0,
        })
        .collect()
}

fn levels(quantities: &[i64]) -> HashMap<Sku, StockLevel> {
    quantities
        .iter()
        .zip(0_u8..)
        .map(|(pieces, number)| (sku(number), StockLevel::new(sku(number), 0, *pieces)))
        .collect()
}

#[test]
fn all_lines_are_held_or_none() {
    let mut stock = levels(&[5, 1]);
    let (reservation, shortfalls) =
        Reservation::decide(Uuid::now_v7(), lines(&[(0, 2), (1, 2)]), &mut stock, now(), in_an_hour());
    assert_eq!((reservation.state, reservation.reason.as_str()), (ReservationState::Rejected, "OUT_OF_STOCK"));
    assert_eq!(shortfalls.len(), 1);
    assert_eq!((shortfalls[0].requested_quantity, shortfalls[0].available_quantity), (2, 1));
    assert!(stock.values().all(|level| level.reserved_quantity == 0));
    let (reservation, _) =
        Reservation::decide(Uuid::now_v7(), lines(&[(0, 2), (1, 1)]), &mut stock, now(), in_an_hour());
    assert_eq!(reservation.state, ReservationState::Held);
    assert_eq!(stock[&sku(1)].available_quantity(), 0);
}

#[test]
fn an_unknown_sku_outweighs_one_that_is_short() {
    let mut stock = levels(&[0]);
    let (reservation, _) =
        Reservation::decide(Uuid::now_v7(), lines(&[(0, 1), (9, 1)]), &mut stock, now(), in_an_hour());
    assert_eq!(reservation.reason, "UNKNOWN_SKU");
}

#[test]
fn an_adjustment_never_takes_what_is_held() {
    let mut stock = levels(&[5]);
    Reservation::decide(Uuid::now_v7(), lines(&[(0, 4)]), &mut stock, now(), in_an_hour());
    let level = stock.get_mut(&sku(0)).unwrap();
    assert_eq!(level.adjust(-2).unwrap_err().reason, "OUT_OF_STOCK");
    level.adjust(-1).unwrap();
    assert_eq!(level.adjust(2_000_000_000).unwrap_err().reason, "STOCK_LIMIT_EXCEEDED");
    assert_eq!((level.on_hand_quantity, level.reserved_quantity), (4, 4));
}

#[test]
fn what_is_held_runs_out_of_time_and_nothing_else_does() {
    let mut stock = levels(&[5]);
    let (mut reservation, _) = Reservation::decide(Uuid::now_v7(), lines(&[(0, 4)]), &mut stock, now(), in_an_hour());
    assert_eq!(reservation.expire_time, Some(in_an_hour()));
    assert!(!reservation.is_expired(in_an_hour() - TimeDelta::milliseconds(1)) && reservation.is_expired(in_an_hour()));
    // What is given back, has left or was never held does not run out.
    reservation.release("REQUESTED".to_owned(), &mut stock, now());
    let (rejected, _) = Reservation::decide(Uuid::now_v7(), lines(&[(0, 9)]), &mut stock, now(), in_an_hour());
    let (mut shipped, _) = Reservation::decide(Uuid::now_v7(), lines(&[(0, 1)]), &mut stock, now(), in_an_hour());
    shipped.ship(&mut stock, now());
    for gone in [reservation, rejected, shipped, Reservation::tombstone(Uuid::now_v7(), "EXPIRED".to_owned(), now())] {
        assert_eq!((gone.expire_time, gone.is_expired(in_an_hour())), (None, false), "{:?}", gone.state);
    }
}

fn order(standing: Standing, update_time: Timestamp) -> OrderState {
    OrderState { standing, status: 0, update_time }
}

#[test]
fn what_ran_out_of_time_is_kept_or_given_back_as_its_order_says() {
    let (grace, expired) = (TimeDelta::minutes(10), in_an_hour());
    let judge = |standing, at| judge_expired(Some(&order(standing, now())), expired, grace, at);
    for at in [expired, expired + grace] {
        assert_eq!(judge(Standing::Paid, at), Verdict::Keep);
        assert_eq!(judge(Standing::Shipped, at), Verdict::Keep);
        assert_eq!(judge(Standing::Settled, at), Verdict::GiveBack);
        assert_eq!(judge_expired(None, expired, grace, at), Verdict::GiveBack, "nobody knows the order");
    }
    let early = expired + grace - TimeDelta::milliseconds(1);
    assert_eq!(judge(Standing::Open, early), Verdict::Fine, "looked at again");
    assert_eq!(judge(Standing::Open, expired + grace), Verdict::Mismatch(MismatchKind::OpenButExpired));
}

#[test]
fn a_reservation_and_its_order_may_contradict_each_other_for_a_while() {
    let (grace, made) = (TimeDelta::minutes(10), now());
    let mut stock = levels(&[100]);
    let (held, _) = Reservation::decide(Uuid::now_v7(), lines(&[(0, 1)]), &mut stock, made, in_an_hour());
    let with = |change: &dyn Fn(&mut Reservation)| {
        let mut changed = held.clone();
        change(&mut changed);
        changed
    };
    let released = with(&|one| {
        one.release("EXPIRED".to_owned(), &mut levels(&[100]), made);
    });
    let shipped = with(&|one| one.state = ReservationState::Shipped);
    let kept = with(&|one| one.expire_time = None);
    let young = with(&|one| one.expire_time = Some(made + TimeDelta::hours(3)));
    let (open_but_expired, shipped_but_held, paid_but_released) = (
        Verdict::Mismatch(MismatchKind::OpenButExpired),
        Verdict::Mismatch(MismatchKind::ShippedButHeld),
        Verdict::Mismatch(MismatchKind::PaidButReleased),
    );
    let cases = [
        (&held, Standing::Open, open_but_expired),
        (&young, Standing::Open, Verdict::Fine),
        (&held, Standing::Paid, Verdict::Fine),
        (&kept, Standing::Paid, Verdict::Fine),
        (&kept, Standing::Shipped, shipped_but_held),
        (&held, Standing::Settled, Verdict::GiveBack),
        (&kept, Standing::Settled, Verdict::GiveBack),
        (&released, Standing::Open, Verdict::Fine),
        (&released, Standing::Paid, paid_but_released),
        (&released, Standing::Shipped, paid_but_released),
        (&released, Standing::Settled, Verdict::Fine),
        (&shipped, Standing::Shipped, Verdict::Fine),
        (&shipped, Standing::Settled, Verdict::Fine),
    ];
    for (reservation, standing, verdict) in cases {
        let since = made + TimeDelta::hours(2);
        let case = format!("{:?}, {standing:?}", reservation.state);
        assert_eq!(judge(reservation, Some(&order(standing, since)), grace, since + grace), verdict, "{case}");
        let early = since + grace - TimeDelta::milliseconds(1);
        assert_eq!(judge(reservation, Some(&order(standing, since)), grace, early), Verdict::Fine, "{case}, early");
    }
    assert_eq!(judge(&held, None, grace, in_an_hour()), Verdict::Fine, "its time tells, not the comparison");
}

#[derive(Debug, Clone)]
enum Act {
    Reserve(Vec<(u8, i64)>),
    Release(prop::sample::Index),
    Ship(prop::sample::Index),
    Expire(prop::sample::Index),
    Adjust(u8, i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => prop::collection::vec((0_u8..4, 1_i64..6), 1..4).prop_map(Act::Reserve),
        2 => any::<prop::sample::Index>().prop_map(Act::Release),
        2 => any::<prop::sample::Index>().prop_map(Act::Ship),
        1 => any::<prop::sample::Index>().prop_map(Act::Expire),
        1 => (0_u8..3, -5_i64..10).prop_map(|(number, delta)| Act::Adjust(number, delta)),
    ]
}

proptest! {
    #[test]
    fn stock_is_conserved_over_any_history(initial in prop::collection::vec(0_i64..30, 3), acts in prop::collection::vec(act(), 1..60)) {
        let mut stock = levels(&initial);
        let mut reservations: Vec<Reservation> = Vec::new();
        let mut adjusted = [0_i64; 3];
        for act in acts {
            match act {
                Act::Reserve(wanted) => {
                    let (reservation, shortfalls) = Reservation::decide(Uuid::now_v7(), lines(&wanted), &mut stock, now(), in_an_hour());
                    prop_assert_eq!(shortfalls.is_empty(), reservation.state == ReservationState::Held);
                    reservations.push(reservation);
                }
                Act::Release(which) if !reservations.is_empty() => {
                    let reservation = which.get(&reservations).order_id;
                    let reservation = reservations.iter_mut().find(|one| one.order_id == reservation).unwrap();
                    let before = reservation.state;
                    let given_back = reservation.release("REQUESTED".to_owned(), &mut stock, now());
                    prop_assert_eq!(given_back.is_none(), before == ReservationState::Shipped);
                    // A second release gives nothing back.
                    let again = reservation.release("REQUESTED".to_owned(), &mut stock, now());
                    prop_assert!(again.is_none_or(|lines| lines.is_empty()));
                }
                Act::Ship(which) if !reservations.is_empty() => {
                    let reservation = which.get(&reservations).order_id;
                    let reservation = reservations.iter_mut().find(|one| one.order_id == reservation).unwrap();
                    reservation.ship(&mut stock, now());
                    prop_assert!(reservation.ship(&mut stock, now()).is_empty());
                }
                Act::Expire(which) if !reservations.is_empty() => {
                    let index = which.index(reservations.len());
                    if reservations[index].is_expired(in_an_hour()) {
                        prop_assert_eq!(reservations[index].state, ReservationState::Held);
                        reservations[index].release("EXPIRED".to_owned(), &mut stock, in_an_hour());
                    }
                }
                Act::Adjust(number, delta) => {
                    if stock.get_mut(&sku(number)).unwrap().adjust(delta).is_ok() {
                        adjusted[usize::from(number)] += delta;
                    }
                }
                Act::Release(_) | Act::Ship(_) | Act::Expire(_) => {}
            }
            for number in 0..3_u8 {
                let pieces = |state| -> i64 {
                    let of_state = reservations.iter().filter(|one| one.state == state);
                    of_state.flat_map(|one| &one.lines).filter(|line| line.sku == sku(number)).map(|line| line.quantity.get()).sum()
                };
                let level = &stock[&sku(number)];
                prop_assert!(0 <= level.reserved_quantity && level.reserved_quantity <= level.on_hand_quantity);
                prop_assert_eq!(level.reserved_quantity, pieces(ReservationState::Held));
                let shipped = pieces(ReservationState::Shipped);
                prop_assert_eq!(level.on_hand_quantity, initial[usize::from(number)] + adjusted[usize::from(number)] - shipped);
            }
        }
    }
}
