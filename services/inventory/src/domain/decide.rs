//! From a state and a command to the facts that follow. Pure: time and settings arrive in [`Decision`].

use std::{collections::HashMap, time::Duration};

use openorder_types::{Rejection, Sku, Timestamp};
use uuid::Uuid;

use crate::domain::{
    Command, Event, Line, QUANTITY_MAX, Reservation, ReservationState, SeedSource, Shortfall, ShortfallReason,
    StockLevel, rejection,
};

/// Levels and reservations that commands are decided on. One that is missing does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub levels: HashMap<Sku, StockLevel>,
    pub reservations: HashMap<Uuid, Reservation>,
}

/// What a decision depends on besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub now: Timestamp,
    /// Available pieces at which a stock counts as low.
    pub low_threshold_quantity: i64,
    /// After how long it is looked at whether an order still needs its stock.
    pub reservation_ttl: Duration,
}

/// Decides one command. No events: the command repeats one that has taken effect.
///
/// # Errors
/// The [`Rejection`]s of [`rejection`]; then nothing changes.
pub fn decide(state: &State, command: &Command, context: &Decision) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Seed { sku, product_number, initial_quantity, source } => {
            let events = seed(state.levels.get(sku), sku, (*product_number, *initial_quantity), *source);
            Ok(events.into_iter().collect())
        }
        Command::Adjust { sku, delta, reason } => adjust(state, sku, *delta, reason, context),
        Command::Reserve { order_id, lines } => reserve(state, *order_id, lines, context),
        Command::Modify { order_id, lines, order_version } => modify(state, *order_id, lines, *order_version, context),
        Command::Release { order_id, reason, answer_again } => {
            release(state, *order_id, reason, *answer_again, context.now)
        }
        Command::Expire { order_id } => {
            let due = state.reservations.get(order_id).is_some_and(|reservation| reservation.is_expired(context.now));
            give_back(state, *order_id, due, "EXPIRED", context.now)
        }
        Command::Reconcile { order_id } => {
            let reservation = state.reservations.get(order_id);
            let due = reservation.is_some_and(|reservation| reservation.state == ReservationState::Held);
            give_back(state, *order_id, due, "RECONCILED", context.now)
        }
        Command::Ship { order_id } => ship(state, *order_id, context.now),
    }
}

/// Only the first seed of a product counts, by whichever source it came; that of a later product with the same SKU
/// replaces the stock.
fn seed(
    level: Option<&StockLevel>,
    sku: &Sku,
    (product_number, initial_quantity): (i64, i64),
    source: SeedSource,
) -> Option<Event> {
    let sku = sku.clone();
    match level {
        None => Some(Event::StockSeeded { sku, product_number, initial_quantity }),
        Some(level) if level.product_number >= product_number => None,
        // A level of before there were numbers, and a product that may have been its own all along.
        Some(level) if level.product_number == 0 && source == SeedSource::Catalogue => {
            Some(Event::ProductNumbered { sku, product_number })
        }
        Some(level) => {
            let delta = level.delta_of_replacement(initial_quantity);
            Some(Event::StockReplaced { sku, product_number, delta })
        }
    }
}

fn adjust(state: &State, sku: &Sku, delta: i64, reason: &str, context: &Decision) -> Result<Vec<Event>, Rejection> {
    let level = state.levels.get(sku).ok_or_else(|| rejection::unknown_sku(sku))?;
    let on_hand = level.on_hand_quantity.saturating_add(delta);
    if on_hand > QUANTITY_MAX {
        return Err(rejection::stock_limit_exceeded(sku));
    }
    if on_hand < level.reserved_quantity {
        return Err(rejection::out_of_stock(level));
    }
    let mut events = vec![Event::StockAdjusted { sku: sku.clone(), delta, reason: reason.to_owned() }];
    events.extend(crossing(level, on_hand - level.reserved_quantity, context.low_threshold_quantity));
    Ok(events)
}

/// A repeated command with the same lines, or for an order that was called off, changes nothing.
fn reserve(state: &State, order_id: Uuid, lines: &[Line], context: &Decision) -> Result<Vec<Event>, Rejection> {
    if let Some(existing) = state.reservations.get(&order_id) {
        let is_repeated = existing.state == ReservationState::Released || existing.has_lines(lines);
        return if is_repeated { Ok(Vec::new()) } else { Err(rejection::reservation_exists(order_id)) };
    }
    let shortfalls: Vec<Shortfall> = lines.iter().filter_map(|line| shortfall(line, &state.levels)).collect();
    if let Some(reason) = rejection_reason(&shortfalls) {
        let reservation = Reservation::rejected(order_id, lines.to_vec(), reason, context.now);
        return Ok(vec![Event::ReservationRejected { reservation, shortfalls }]);
    }
    let (mut held, mut crossings) = (lines.to_vec(), Vec::new());
    for line in &mut held {
        if let Some(level) = state.levels.get(&line.sku) {
            line.product_number = level.product_number;
            let available = level.available_quantity() - line.quantity.get();
            crossings.extend(crossing(level, available, context.low_threshold_quantity));
        }
    }
    let reservation = Reservation::held(order_id, held, context.now, context.now + context.reservation_ttl);
    let mut events = Vec::with_capacity(1 + crossings.len());
    events.push(Event::Reserved(reservation));
    events.append(&mut crossings);
    Ok(events)
}

/// All new lines in place of all that are held, or nothing changes: what is given back can be held again. A request of a
/// version that was decided on, or of an older one, changes nothing.
fn modify(
    state: &State,
    order_id: Uuid,
    lines: &[Line],
    order_version: i64,
    context: &Decision,
) -> Result<Vec<Event>, Rejection> {
    let time = context.now;
    let reservation = state.reservations.get(&order_id).ok_or_else(|| rejection::reservation_not_found(order_id))?;
    if reservation.modified_order_version.is_some_and(|decided| decided >= order_version) {
        return Ok(Vec::new());
    }
    if reservation.state != ReservationState::Held {
        return Err(rejection::reservation_not_held(order_id));
    }
    let given_back = reservation.lines.clone();
    let mut levels: HashMap<Sku, StockLevel> = HashMap::new();
    for line in given_back.iter().chain(lines) {
        if let Some(level) = state.levels.get(&line.sku) {
            levels.entry(line.sku.clone()).or_insert_with(|| level.clone());
        }
    }
    for line in &given_back {
        if let Some(level) = levels.get_mut(&line.sku) {
            level.give_back(line);
        }
    }
    let shortfalls: Vec<Shortfall> = lines.iter().filter_map(|line| shortfall(line, &levels)).collect();
    if !shortfalls.is_empty() {
        return Ok(vec![Event::ModificationRejected { order_id, shortfalls, order_version, time }]);
    }
    let (mut held, mut crossings) = (lines.to_vec(), Vec::new());
    for line in &mut held {
        if let (Some(level), Some(before)) = (levels.get(&line.sku), state.levels.get(&line.sku)) {
            line.product_number = level.product_number;
            let available = level.available_quantity() - line.quantity.get();
            crossings.extend(crossing(before, available, context.low_threshold_quantity));
        }
    }
    let retired = retired(state, &given_back);
    let mut events = vec![Event::ReservationModified { order_id, given_back, lines: held, order_version, time }];
    events.extend(retired);
    events.append(&mut crossings);
    Ok(events)
}

/// Pieces of former products among what is given back.
fn retired(state: &State, given_back: &[Line]) -> Vec<Event> {
    let is_retired =
        |line: &&Line| state.levels.get(&line.sku).is_some_and(|level| level.is_later_than(line.product_number));
    let retired = given_back.iter().filter(is_retired);
    retired.map(|line| Event::FormerStockRetired { sku: line.sku.clone(), quantity: line.quantity.get() }).collect()
}

fn release(
    state: &State,
    order_id: Uuid,
    reason: &str,
    answer_again: bool,
    time: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let Some(reservation) = state.reservations.get(&order_id) else {
        return Ok(vec![Event::Released { order_id, reason: reason.to_owned(), given_back: Vec::new(), time }]);
    };
    let (reason, given_back) = match reservation.state {
        ReservationState::Shipped => return Err(rejection::reservation_shipped(order_id)),
        // The event was published before: it would say nothing new.
        ReservationState::Released if !answer_again => return Ok(Vec::new()),
        // The first reason stays.
        ReservationState::Released => (reservation.reason.as_str(), Vec::new()),
        ReservationState::Rejected => (reason, Vec::new()),
        ReservationState::Held => (reason, reservation.lines.clone()),
    };
    let retired = retired(state, &given_back);
    let mut events = vec![Event::Released { order_id, reason: reason.to_owned(), given_back, time }];
    events.extend(retired);
    Ok(events)
}

/// Releases a reservation that nobody asked to release.
fn give_back(
    state: &State,
    order_id: Uuid,
    is_due: bool,
    reason: &str,
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    if is_due { release(state, order_id, reason, false, now) } else { Err(rejection::reservation_not_due(order_id)) }
}

fn ship(state: &State, order_id: Uuid, time: Timestamp) -> Result<Vec<Event>, Rejection> {
    let reservation = state.reservations.get(&order_id).ok_or_else(|| rejection::reservation_not_found(order_id))?;
    if reservation.state != ReservationState::Held || reservation.lines.is_empty() {
        return Err(rejection::reservation_not_held(order_id));
    }
    let mut events = vec![Event::ReservationShipped { order_id, time }];
    let known = reservation.lines.iter().filter(|line| state.levels.contains_key(&line.sku));
    events.extend(known.map(|line| Event::StockShipped {
        sku: line.sku.clone(),
        quantity: line.quantity.get(),
        order_id,
    }));
    Ok(events)
}

/// The event of a stock of which so many pieces are available now: one when that falls to the threshold, and one when
/// nothing is left.
fn crossing(level: &StockLevel, available: i64, threshold_quantity: i64) -> Option<Event> {
    let before = level.available_quantity();
    if available == 0 && before > 0 {
        Some(Event::StockDepleted { sku: level.sku.clone() })
    } else if available <= threshold_quantity && before > threshold_quantity {
        Some(Event::StockLow { sku: level.sku.clone(), threshold_quantity })
    } else {
        None
    }
}

/// Of a reservation with these shortfalls; none if all lines can be held. An unknown SKU outweighs one that is out of
/// stock.
fn rejection_reason(shortfalls: &[Shortfall]) -> Option<ShortfallReason> {
    let unknown = shortfalls.iter().find(|shortfall| shortfall.reason == ShortfallReason::UnknownSku);
    unknown.or(shortfalls.first()).map(|shortfall| shortfall.reason)
}

fn shortfall(line: &Line, levels: &HashMap<Sku, StockLevel>) -> Option<Shortfall> {
    let requested_quantity = line.quantity.get();
    let (available_quantity, reason) = match levels.get(&line.sku) {
        None => (0, ShortfallReason::UnknownSku),
        // The product that was ordered is no longer sold, or not known here; the one that has its SKU is another.
        Some(level) if level.is_of_another(line.product_number) => (0, ShortfallReason::UnknownSku),
        Some(level) if level.available_quantity() < requested_quantity => {
            (level.available_quantity(), ShortfallReason::OutOfStock)
        }
        Some(_) => return None,
    };
    Some(Shortfall { sku: line.sku.clone(), requested_quantity, available_quantity, reason })
}
