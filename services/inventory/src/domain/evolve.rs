//! From a state and a fact to the next state. Nothing is decided here.

use crate::domain::{Event, Reservation, ReservationState, State, StockLevel};

/// Applies an event to the state that it was decided on. Levels and reservations that the state lacks stay as they are.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::StockSeeded { sku, product_number, initial_quantity } => {
            let mut level = StockLevel::new(sku.clone(), *product_number, *initial_quantity);
            level.event_version = 1;
            state.levels.insert(sku.clone(), level);
        }
        Event::ProductNumbered { sku, product_number } => {
            with(state.levels.get_mut(sku), |level| level.product_number = *product_number);
        }
        Event::StockReplaced { sku, product_number, delta } => with(state.levels.get_mut(sku), |level| {
            level.product_number = *product_number;
            level.change(*delta, 0);
            level.event_version += 1;
        }),
        Event::StockAdjusted { sku, delta, .. } => with(state.levels.get_mut(sku), |level| {
            level.change(*delta, 0);
            level.event_version += 1;
        }),
        Event::StockLow { sku, .. } | Event::StockDepleted { sku } | Event::FormerStockRetired { sku, .. } => {
            with(state.levels.get_mut(sku), |level| level.event_version += 1);
        }
        Event::Reserved(reservation) => {
            for line in &reservation.lines {
                with(state.levels.get_mut(&line.sku), |level| level.change(0, line.quantity.get()));
            }
            state.reservations.insert(reservation.order_id, reservation.clone());
        }
        Event::ReservationRejected { reservation, .. } => {
            state.reservations.insert(reservation.order_id, reservation.clone());
        }
        Event::ReservationModified { order_id, given_back, lines, order_version, time } => {
            for line in given_back {
                with(state.levels.get_mut(&line.sku), |level| level.give_back(line));
            }
            for line in lines {
                with(state.levels.get_mut(&line.sku), |level| level.change(0, line.quantity.get()));
            }
            with(state.reservations.get_mut(order_id), |reservation| {
                reservation.lines.clone_from(lines);
                reservation.decide_modification(*order_version, *time);
            });
        }
        Event::ModificationRejected { order_id, order_version, time, .. } => {
            with(state.reservations.get_mut(order_id), |reservation| {
                reservation.decide_modification(*order_version, *time);
            });
        }
        Event::Released { .. } => release(state, event),
        Event::ReservationShipped { order_id, time } => {
            with(state.reservations.get_mut(order_id), |reservation| {
                reservation.state = ReservationState::Shipped;
                reservation.expire_time = None;
                reservation.update_time = *time;
            });
        }
        Event::StockShipped { sku, quantity, .. } => with(state.levels.get_mut(sku), |level| {
            level.change(-quantity, -quantity);
            level.event_version += 1;
        }),
    }
}

fn release(state: &mut State, event: &Event) {
    let Event::Released { order_id, reason, given_back, time } = event else { return };
    for line in given_back {
        with(state.levels.get_mut(&line.sku), |level| level.give_back(line));
    }
    let Some(reservation) = state.reservations.get_mut(order_id) else {
        state.reservations.insert(*order_id, Reservation::called_off(*order_id, reason.clone(), *time));
        return;
    };
    reservation.reason.clone_from(reason);
    reservation.state = ReservationState::Released;
    reservation.expire_time = None;
    reservation.version += 1;
    reservation.update_time = *time;
}

fn with<T>(found: Option<&mut T>, change: impl FnOnce(&mut T)) {
    if let Some(found) = found {
        change(found);
    }
}
