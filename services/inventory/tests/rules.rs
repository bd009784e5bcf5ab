//! The rules of stock without a database: given a state, when a command comes, then these events and this state.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashMap, time::Duration};

use chrono::{TimeDelta, TimeZone, Utc};
use openorder_inventory::domain::{
    Command, Decision, Event, Line, QUANTITY_MAX, Reservation, ReservationState, SeedSource, State, StockLevel, decide,
    evolve,
};
use openorder_types::{Quantity, Sku, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

const LOW: i64 = 2;
const HOUR: Duration = Duration::from_secs(3_600);

fn now() -> Timestamp {
    Utc.timestamp_opt(1_800_000_000, 0).unwrap()
}

fn in_an_hour() -> Timestamp {
    now() + HOUR
}

fn at(now: Timestamp) -> Decision {
    Decision { now, low_threshold_quantity: LOW, reservation_ttl: HOUR }
}

fn sku(number: u8) -> Sku {
    Sku::parse(&format!("sku-{number}")).unwrap()
}

fn order(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn lines_of(wanted: &[(u8, i64)], product_number: i64) -> Vec<Line> {
    let mut seen = std::collections::HashSet::new();
    let each_once = wanted.iter().filter(|(number, _)| seen.insert(*number));
    each_once
        .map(|(number, pieces)| Line { sku: sku(*number), quantity: Quantity::parse(*pieces).unwrap(), product_number })
        .collect()
}

fn reserve(number: u128, wanted: &[(u8, i64)]) -> Command {
    Command::Reserve { order_id: order(number), lines: lines_of(wanted, 0) }
}

fn modify(number: u128, order_version: i64, wanted: &[(u8, i64)]) -> Command {
    Command::Modify { order_id: order(number), lines: lines_of(wanted, 0), order_version }
}

fn release(number: u128) -> Command {
    Command::Release { order_id: order(number), reason: "REQUESTED".to_owned(), answer_again: false }
}

fn release_again(number: u128) -> Command {
    Command::Release { order_id: order(number), reason: "OTHER".to_owned(), answer_again: true }
}

fn ship(number: u128) -> Command {
    Command::Ship { order_id: order(number) }
}

fn adjust(number: u8, delta: i64) -> Command {
    Command::Adjust { sku: sku(number), delta, reason: "counted".to_owned() }
}

fn seed(number: u8, product_number: i64, initial_quantity: i64, source: SeedSource) -> Command {
    Command::Seed { sku: sku(number), product_number, initial_quantity, source }
}

/// Levels with these pieces on hand, of products without a number.
fn stock(quantities: &[i64]) -> State {
    let levels = quantities.iter().zip(0_u8..);
    let levels: HashMap<Sku, StockLevel> =
        levels.map(|(pieces, number)| (sku(number), StockLevel::new(sku(number), 0, *pieces))).collect();
    State { levels, ..State::default() }
}

/// Decides and applies one command; its events, or the reason of its rejection.
fn run_at(state: &mut State, command: &Command, now: Timestamp) -> Result<Vec<Event>, &'static str> {
    let before = state.clone();
    let decided = decide(state, command, &at(now));
    assert_eq!(*state, before, "a decision changes nothing");
    let events = decided.map_err(|rejection| rejection.reason)?;
    for event in &events {
        evolve(state, event);
    }
    Ok(events)
}

fn run(state: &mut State, command: &Command) -> Result<Vec<Event>, &'static str> {
    run_at(state, command, now())
}

fn given(mut state: State, commands: &[Command]) -> State {
    for command in commands {
        run(&mut state, command).unwrap();
    }
    state
}

fn pieces(state: &State, number: u8) -> (i64, i64) {
    let level = &state.levels[&sku(number)];
    (level.on_hand_quantity, level.reserved_quantity)
}

fn reservation(state: &State, number: u128) -> &Reservation {
    &state.reservations[&order(number)]
}

#[test]
fn all_lines_are_held_or_none() {
    let mut state = stock(&[5, 1]);
    let events = run(&mut state, &reserve(1, &[(0, 2), (1, 2)])).unwrap();
    let [Event::ReservationRejected { reservation: rejected, shortfalls }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((rejected.state, rejected.reason.as_str()), (ReservationState::Rejected, "OUT_OF_STOCK"));
    assert_eq!(shortfalls.len(), 1);
    assert_eq!((shortfalls[0].requested_quantity, shortfalls[0].available_quantity), (2, 1));
    assert_eq!((pieces(&state, 0), pieces(&state, 1)), ((5, 0), (1, 0)));

    let events = run(&mut state, &reserve(2, &[(0, 2), (1, 1)])).unwrap();
    assert!(matches!(events[0], Event::Reserved(_)), "{events:?}");
    assert_eq!((pieces(&state, 0), pieces(&state, 1)), ((5, 2), (1, 1)));
    assert_eq!(reservation(&state, 2).expire_time, Some(in_an_hour()));
}

#[test]
fn an_unknown_sku_outweighs_one_that_is_short() {
    let state = given(stock(&[0]), &[reserve(1, &[(0, 1), (9, 1)])]);
    assert_eq!(reservation(&state, 1).reason, "UNKNOWN_SKU");
}

#[test]
fn a_repeated_reservation_changes_nothing_and_other_lines_are_rejected() {
    let mut state = given(stock(&[5]), &[reserve(1, &[(0, 2)]), reserve(2, &[(0, 9)])]);
    let before = state.clone();
    assert_eq!(run(&mut state, &reserve(1, &[(0, 2)])), Ok(vec![]));
    assert_eq!(run(&mut state, &reserve(2, &[(0, 9)])), Ok(vec![]), "a rejected one, too");
    assert_eq!(run(&mut state, &reserve(1, &[(0, 3)])), Err("RESERVATION_ALREADY_EXISTS"));
    assert_eq!(run(&mut state, &reserve(1, &[(0, 2), (1, 1)])), Err("RESERVATION_ALREADY_EXISTS"));
    assert_eq!(state, before);
}

#[test]
fn an_adjustment_never_takes_what_is_held() {
    let mut state = given(stock(&[5]), &[reserve(1, &[(0, 4)])]);
    assert_eq!(run(&mut state, &adjust(0, -2)), Err("OUT_OF_STOCK"));
    assert_eq!(run(&mut state, &adjust(0, QUANTITY_MAX)), Err("STOCK_LIMIT_EXCEEDED"));
    assert_eq!(run(&mut state, &adjust(0, i64::MAX)), Err("STOCK_LIMIT_EXCEEDED"));
    assert_eq!(run(&mut state, &adjust(0, i64::MIN)), Err("OUT_OF_STOCK"));
    assert_eq!(run(&mut state, &adjust(9, 1)), Err("UNKNOWN_SKU"));
    assert_eq!(pieces(&state, 0), (5, 4));
    run(&mut state, &adjust(0, -1)).unwrap();
    assert_eq!(pieces(&state, 0), (4, 4));
    run(&mut state, &adjust(0, QUANTITY_MAX - 4)).unwrap();
    assert_eq!(pieces(&state, 0), (QUANTITY_MAX, 4));
}

#[test]
fn low_and_depleted_stock_are_events_once_each() {
    let mut state = stock(&[5]);
    let events = run(&mut state, &adjust(0, -3)).unwrap();
    assert_eq!(events[1..], [Event::StockLow { sku: sku(0), threshold_quantity: LOW }]);
    assert_eq!(run(&mut state, &reserve(1, &[(0, 1)])).unwrap().len(), 1, "it was low before");
    let events = run(&mut state, &reserve(2, &[(0, 1)])).unwrap();
    assert_eq!(events[1..], [Event::StockDepleted { sku: sku(0) }]);
    let level = &state.levels[&sku(0)];
    assert_eq!((level.event_version, level.version), (3, 4), "adjusted, low, depleted; and two reservations");
}

#[test]
fn a_release_gives_back_once_and_is_answered_again_only_on_demand() {
    let mut state = given(stock(&[5]), &[reserve(1, &[(0, 4)])]);
    let events = run(&mut state, &release(1)).unwrap();
    assert!(matches!(&events[..], [Event::Released { given_back, .. }] if given_back.len() == 1), "{events:?}");
    assert_eq!((pieces(&state, 0), reservation(&state, 1).version), ((5, 0), 2));
    assert_eq!(run(&mut state, &release(1)), Ok(vec![]));
    let events = run(&mut state, &release_again(1)).unwrap();
    assert!(matches!(&events[..], [Event::Released { given_back, .. }] if given_back.is_empty()), "{events:?}");
    let released = reservation(&state, 1);
    assert_eq!((pieces(&state, 0), released.version, released.reason.as_str()), ((5, 0), 3, "REQUESTED"));
}

#[test]
fn an_order_that_was_called_off_first_never_holds_anything() {
    let mut state = given(stock(&[5]), &[release(1)]);
    let called_off = reservation(&state, 1);
    assert_eq!((called_off.state, called_off.version, called_off.lines.len()), (ReservationState::Released, 1, 0));
    assert_eq!(run(&mut state, &reserve(1, &[(0, 1)])), Ok(vec![]));
    assert_eq!(run(&mut state, &ship(1)), Err("RESERVATION_NOT_HELD"));
    assert_eq!(pieces(&state, 0), (5, 0));
}

#[test]
fn a_rejected_reservation_takes_the_reason_of_its_release() {
    let state = given(stock(&[1]), &[reserve(1, &[(0, 2)]), release(1)]);
    let released = reservation(&state, 1);
    assert_eq!((released.state, released.reason.as_str()), (ReservationState::Released, "REQUESTED"));
}

#[test]
fn shipped_pieces_leave_once_and_do_not_come_back() {
    let mut state = given(stock(&[5]), &[reserve(1, &[(0, 4)])]);
    let events = run(&mut state, &ship(1)).unwrap();
    let left = Event::StockShipped { sku: sku(0), quantity: 4, order_id: order(1) };
    assert_eq!(events, [Event::ReservationShipped { order_id: order(1), time: now() }, left]);
    assert_eq!((pieces(&state, 0), reservation(&state, 1).expire_time), ((1, 0), None));
    assert_eq!(run(&mut state, &ship(1)), Err("RESERVATION_NOT_HELD"));
    assert_eq!(run(&mut state, &release(1)), Err("RESERVATION_SHIPPED"));
    assert_eq!(run(&mut state, &ship(2)), Err("RESERVATION_NOT_FOUND"));
    assert_eq!(pieces(&state, 0), (1, 0));
}

#[test]
fn what_is_held_runs_out_of_time_and_nothing_else_does() {
    let expire = |number| Command::Expire { order_id: order(number) };
    let history = [reserve(1, &[(0, 1)]), reserve(2, &[(0, 1)]), ship(2), reserve(3, &[(0, 99)]), release(4)];
    let mut state = given(stock(&[9]), &history);
    let early = in_an_hour() - TimeDelta::milliseconds(1);
    assert_eq!(run_at(&mut state, &expire(1), early), Err("RESERVATION_NOT_DUE"));
    for number in 2..=5 {
        assert_eq!(run_at(&mut state, &expire(number), in_an_hour()), Err("RESERVATION_NOT_DUE"), "{number}");
    }
    assert_eq!(run_at(&mut state, &expire(1), in_an_hour()).unwrap().len(), 1);
    let expired = reservation(&state, 1);
    assert_eq!((expired.reason.as_str(), expired.expire_time, expired.update_time), ("EXPIRED", None, in_an_hour()));
    assert_eq!(run_at(&mut state, &expire(1), in_an_hour()), Err("RESERVATION_NOT_DUE"));
    assert_eq!(pieces(&state, 0), (8, 0));
}

#[test]
fn a_reservation_is_reconciled_while_it_is_held() {
    let reconcile = Command::Reconcile { order_id: order(1) };
    let mut state = stock(&[9]);
    assert_eq!(run(&mut state, &reconcile), Err("RESERVATION_NOT_DUE"));
    run(&mut state, &reserve(1, &[(0, 1)])).unwrap();
    run(&mut state, &reconcile).unwrap();
    assert_eq!((reservation(&state, 1).reason.as_str(), pieces(&state, 0)), ("RECONCILED", (9, 0)));
    assert_eq!(run(&mut state, &reconcile), Err("RESERVATION_NOT_DUE"));
}

#[test]
fn the_first_seed_of_a_product_counts_and_a_later_product_replaces_the_stock() {
    let mut state = State::default();
    assert_eq!(run(&mut state, &seed(0, 1, 10, SeedSource::Event)).unwrap().len(), 1);
    for source in [SeedSource::Event, SeedSource::Catalogue] {
        assert_eq!(run(&mut state, &seed(0, 1, 99, source)), Ok(vec![]));
    }
    let of_the_first = Command::Reserve { order_id: order(1), lines: lines_of(&[(0, 4)], 1) };
    run(&mut state, &of_the_first).unwrap();
    let replaced = Event::StockReplaced { sku: sku(0), product_number: 2, delta: -3 };
    assert_eq!(run(&mut state, &seed(0, 2, 3, SeedSource::Event)), Ok(vec![replaced]));
    assert_eq!(pieces(&state, 0), (7, 4), "what is held for the first product stays");
    let late = Command::Reserve { order_id: order(2), lines: lines_of(&[(0, 1)], 1) };
    run(&mut state, &late).unwrap();
    assert_eq!(reservation(&state, 2).reason, "UNKNOWN_SKU");
    let events = run(&mut state, &release(1)).unwrap();
    assert_eq!(events[1..], [Event::FormerStockRetired { sku: sku(0), quantity: 4 }]);
    assert_eq!(pieces(&state, 0), (3, 0), "and is not sold again");
}

#[test]
fn a_level_of_before_there_were_numbers_gets_its_products_number_from_the_catalogue() {
    let mut state = stock(&[5]);
    let numbered = Event::ProductNumbered { sku: sku(0), product_number: 3 };
    assert_eq!(run(&mut state, &seed(0, 3, 9, SeedSource::Catalogue)), Ok(vec![numbered]));
    assert_eq!(pieces(&state, 0), (5, 0));
    let mut state = stock(&[5]);
    assert!(matches!(run(&mut state, &seed(0, 3, 9, SeedSource::Event)).unwrap()[0], Event::StockReplaced { .. }));
    assert_eq!(pieces(&state, 0), (9, 0), "a new product is another one");
}

#[test]
fn other_lines_are_held_in_place_of_those_before_all_or_none() {
    let mut state = stock(&[5, 5, 5]);
    run(&mut state, &reserve(1, &[(0, 4), (1, 2)])).unwrap();
    run(&mut state, &reserve(2, &[(2, 3)])).unwrap();
    let before = state.clone();
    // Too much of one line: the others are not changed either, and what is held stays.
    let events = run(&mut state, &modify(1, 3, &[(0, 5), (2, 3)])).unwrap();
    let [Event::ModificationRejected { shortfalls, order_version: 3, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    let short = &shortfalls[0];
    assert_eq!((shortfalls.len(), &short.sku, short.available_quantity), (1, &sku(2), 2));
    assert_eq!(state.levels, before.levels);
    let reservation = &state.reservations[&order(1)];
    assert_eq!((&reservation.lines, reservation.version), (&before.reservations[&order(1)].lines, 2));
    // What is given back is there for the new lines: five of which four were its own.
    let events = run(&mut state, &modify(1, 5, &[(0, 5), (2, 2)])).unwrap();
    assert!(matches!(&events[0], Event::ReservationModified { order_version: 5, .. }), "{events:?}");
    assert!(
        events.contains(&Event::StockDepleted { sku: sku(0) })
            && events.contains(&Event::StockDepleted { sku: sku(2) })
    );
    let reserved = |state: &State| [0, 1, 2].map(|number| state.levels[&sku(number)].reserved_quantity);
    assert_eq!(reserved(&state), [5, 0, 5]);
    // Decided before, or overtaken: nothing.
    for version in [3, 5] {
        assert_eq!(run(&mut state, &modify(1, version, &[(0, 1)])), Ok(vec![]));
    }
    run(&mut state, &release(1)).unwrap();
    assert_eq!(reserved(&state), [0, 0, 3]);
    assert_eq!(run(&mut state, &modify(1, 7, &[(0, 1)])), Err("RESERVATION_NOT_HELD"));
    assert_eq!(run(&mut state, &modify(3, 7, &[(0, 1)])), Err("RESERVATION_NOT_FOUND"));
}

#[test]
fn pieces_of_a_former_product_that_a_modification_gives_back_are_not_sold_again() {
    let mut state = State::default();
    run(&mut state, &seed(0, 1, 5, SeedSource::Event)).unwrap();
    run(&mut state, &Command::Reserve { order_id: order(1), lines: lines_of(&[(0, 4)], 1) }).unwrap();
    run(&mut state, &seed(0, 2, 3, SeedSource::Event)).unwrap();
    let of_the_second = Command::Modify { order_id: order(1), lines: lines_of(&[(0, 2)], 2), order_version: 3 };
    let events = run(&mut state, &of_the_second).unwrap();
    assert!(events.contains(&Event::FormerStockRetired { sku: sku(0), quantity: 4 }), "{events:?}");
    let level = &state.levels[&sku(0)];
    assert_eq!((level.on_hand_quantity, level.reserved_quantity), (3, 2));
}

const ORDERS: u128 = 8;

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        5 => (1..ORDERS, prop::collection::vec((0_u8..4, 1_i64..6), 1..4))
            .prop_map(|(number, wanted)| reserve(number, &wanted)),
        3 => (1..ORDERS, 1_i64..9, prop::collection::vec((0_u8..4, 1_i64..6), 1..4))
            .prop_map(|(number, version, wanted)| modify(number, version, &wanted)),
        3 => (1..ORDERS).prop_map(release),
        1 => (1..ORDERS).prop_map(release_again),
        2 => (1..ORDERS).prop_map(ship),
        1 => (1..ORDERS).prop_map(|number| Command::Expire { order_id: order(number) }),
        1 => (1..ORDERS).prop_map(|number| Command::Reconcile { order_id: order(number) }),
        2 => (0_u8..3, -5_i64..10).prop_map(|(number, delta)| adjust(number, delta)),
    ]
}

/// Pieces of one SKU in reservations of one state.
fn in_state(state: &State, wanted: ReservationState, number: u8) -> i64 {
    let of_state = state.reservations.values().filter(|one| one.state == wanted);
    let lines = of_state.flat_map(|one| &one.lines).filter(|line| line.sku == sku(number));
    lines.map(|line| line.quantity.get()).sum()
}

proptest! {
    /// Available plus reserved is on hand, on hand is what was there, adjusted and shipped; a rejection and a repeated
    /// command change nothing.
    #[test]
    fn stock_is_conserved_over_any_history(
        initial in prop::collection::vec(0_i64..30, 3),
        history in prop::collection::vec(command(), 1..60),
    ) {
        let mut state = stock(&initial);
        let mut adjusted = [0_i64; 3];
        for (minute, command) in history.iter().enumerate() {
            let time = now() + TimeDelta::minutes(i64::try_from(minute).unwrap() * 5);
            let before = state.clone();
            let outcome = run_at(&mut state, command, time);
            match &outcome {
                Ok(events) if !events.is_empty() => {}
                _ => prop_assert_eq!(&state, &before),
            }
            if let (Command::Adjust { sku: adjusted_sku, delta, .. }, Ok(_)) = (command, &outcome) {
                let number = (0..3_u8).find(|number| sku(*number) == *adjusted_sku).unwrap();
                adjusted[usize::from(number)] += delta;
            }
            for number in 0..3_u8 {
                let level = &state.levels[&sku(number)];
                prop_assert!(0 <= level.reserved_quantity && level.reserved_quantity <= level.on_hand_quantity);
                prop_assert_eq!(level.available_quantity() + level.reserved_quantity, level.on_hand_quantity);
                prop_assert_eq!(level.reserved_quantity, in_state(&state, ReservationState::Held, number));
                let shipped = in_state(&state, ReservationState::Shipped, number);
                let index = usize::from(number);
                prop_assert_eq!(level.on_hand_quantity, initial[index] + adjusted[index] - shipped);
            }
        }
    }

    /// Each event that is published is one version of its aggregate, without gaps.
    #[test]
    fn each_published_event_is_one_version(history in prop::collection::vec(command(), 1..60)) {
        let mut state = stock(&[20, 10, 5]);
        for command in &history {
            let before = state.clone();
            let Ok(events) = run(&mut state, command) else { continue };
            for (sku, level) in &state.levels {
                let of_level = events.iter().filter(|event| level_of(event) == Some(sku)).count();
                let was = before.levels[sku].event_version;
                prop_assert_eq!(level.event_version - was, i64::try_from(of_level).unwrap());
            }
            for (order_id, reservation) in &state.reservations {
                let of_order = events.iter().filter(|event| order_of(event) == Some(*order_id)).count();
                let was = before.reservations.get(order_id).map_or(0, |reservation| reservation.version);
                prop_assert_eq!(reservation.version - was, i64::try_from(of_order).unwrap());
            }
        }
    }
}

/// Level whose events the event is one of, if it is published.
fn level_of(event: &Event) -> Option<&Sku> {
    match event {
        Event::StockSeeded { sku, .. }
        | Event::StockReplaced { sku, .. }
        | Event::StockAdjusted { sku, .. }
        | Event::StockLow { sku, .. }
        | Event::StockDepleted { sku }
        | Event::FormerStockRetired { sku, .. }
        | Event::StockShipped { sku, .. } => Some(sku),
        _ => None,
    }
}

/// Order whose reservation's events the event is one of, if it is published.
fn order_of(event: &Event) -> Option<Uuid> {
    match event {
        Event::Reserved(reservation) | Event::ReservationRejected { reservation, .. } => Some(reservation.order_id),
        Event::Released { order_id, .. }
        | Event::ReservationModified { order_id, .. }
        | Event::ModificationRejected { order_id, .. } => Some(*order_id),
        _ => None,
    }
}
