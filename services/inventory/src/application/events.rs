//! From the facts of the domain to protobuf events.

use openorder_proto::{EventMessage, inventory::v1 as proto};
use openorder_rpc::timestamp_to_proto;
use openorder_service::{Aggregate, NewEvents};
use openorder_types::{Sku, Timestamp};
use uuid::Uuid;

use crate::{
    domain::{Event, Line, Reservation, Shortfall, ShortfallReason, State},
    present,
};

/// An event, the state that it led to, and its time.
pub(crate) struct Decided<'a> {
    pub(crate) event: &'a Event,
    pub(crate) state: &'a State,
    pub(crate) now: Timestamp,
}

/// Adds the message of an event that is published.
pub(crate) fn publish(events: &mut NewEvents, decided: &Decided<'_>) {
    use proto::StockAdjustmentCause as Cause;
    match decided.event {
        Event::ProductNumbered { .. } | Event::ReservationShipped { .. } => {}
        Event::StockSeeded { sku, initial_quantity, .. } => {
            adjusted(events, decided, sku, Adjustment::of(*initial_quantity, Cause::InitialStock));
        }
        Event::StockReplaced { sku, delta, .. } => {
            adjusted(events, decided, sku, Adjustment::of(*delta, Cause::ProductReplaced));
        }
        Event::FormerStockRetired { sku, quantity } => {
            adjusted(events, decided, sku, Adjustment::of(-quantity, Cause::ProductReplaced));
        }
        Event::StockAdjusted { sku, delta, reason } => {
            adjusted(events, decided, sku, Adjustment { reason, ..Adjustment::of(*delta, Cause::Manual) });
        }
        Event::StockShipped { sku, quantity, order_id } => {
            let adjustment = Adjustment { order_id: Some(*order_id), ..Adjustment::of(-quantity, Cause::Shipped) };
            adjusted(events, decided, sku, adjustment);
        }
        Event::StockLow { sku, threshold_quantity } => {
            let threshold_quantity = present::quantity(*threshold_quantity);
            let message = |stock| proto::StockLow { stock: Some(stock), threshold_quantity };
            of_sku(events, decided, sku, message);
        }
        Event::StockDepleted { sku } => {
            of_sku(events, decided, sku, |stock| proto::StockDepleted { stock: Some(stock) });
        }
        Event::Reserved(reservation) => reserved(events, reservation),
        Event::ReservationRejected { reservation, shortfalls } => rejected(events, reservation, shortfalls),
        Event::ReservationModified { order_id, order_version, .. } => {
            if let Some(reservation) = decided.state.reservations.get(order_id) {
                modified(events, reservation, *order_version);
            }
        }
        Event::ModificationRejected { order_id, shortfalls, order_version, .. } => {
            if let Some(reservation) = decided.state.reservations.get(order_id) {
                modification_rejected(events, reservation, shortfalls, *order_version);
            }
        }
        Event::Released { order_id, given_back, .. } => {
            if let Some(reservation) = decided.state.reservations.get(order_id) {
                released(events, reservation, given_back);
            }
        }
    }
}

fn reserved(events: &mut NewEvents, reservation: &Reservation) {
    let message = proto::StockReserved {
        order_id: reservation.order_id.to_string(),
        lines: reservation.lines.iter().map(present::line).collect(),
        version: reservation.version,
        expire_time: reservation.expire_time.as_ref().map(timestamp_to_proto),
    };
    of_order(events, reservation, &message);
}

fn modified(events: &mut NewEvents, reservation: &Reservation, order_version: i64) {
    let message = proto::StockModified {
        order_id: reservation.order_id.to_string(),
        lines: reservation.lines.iter().map(present::line).collect(),
        version: reservation.version,
        order_version,
    };
    of_order(events, reservation, &message);
}

fn modification_rejected(
    events: &mut NewEvents,
    reservation: &Reservation,
    shortfalls: &[Shortfall],
    order_version: i64,
) {
    let message = proto::StockModificationRejected {
        order_id: reservation.order_id.to_string(),
        reason: reason_of(shortfalls).into(),
        shortfalls: shortfalls.iter().map(present::shortfall).collect(),
        version: reservation.version,
        order_version,
    };
    of_order(events, reservation, &message);
}

/// An unknown SKU outweighs one that is out of stock.
fn reason_of(shortfalls: &[Shortfall]) -> proto::StockRejectionReason {
    let unknown = shortfalls.iter().any(|shortfall| shortfall.reason == ShortfallReason::UnknownSku);
    present::shortfall_reason(if unknown { ShortfallReason::UnknownSku } else { ShortfallReason::OutOfStock })
}

fn rejected(events: &mut NewEvents, reservation: &Reservation, shortfalls: &[Shortfall]) {
    let message = proto::StockRejected {
        order_id: reservation.order_id.to_string(),
        reason: reason_of(shortfalls).into(),
        shortfalls: shortfalls.iter().map(present::shortfall).collect(),
        version: reservation.version,
    };
    of_order(events, reservation, &message);
}

fn released(events: &mut NewEvents, reservation: &Reservation, given_back: &[Line]) {
    let message = proto::StockReleased {
        order_id: reservation.order_id.to_string(),
        lines: given_back.iter().map(present::line).collect(),
        reason: present::release_reason(&reservation.reason).into(),
        version: reservation.version,
    };
    of_order(events, reservation, &message);
}

fn adjusted(events: &mut NewEvents, decided: &Decided<'_>, sku: &Sku, adjustment: Adjustment<'_>) {
    let message = |stock| proto::StockAdjusted {
        stock: Some(stock),
        delta: present::delta(adjustment.delta),
        cause: adjustment.cause.into(),
        reason: adjustment.reason.to_owned(),
        order_id: adjustment.order_id.map(|id| id.to_string()).unwrap_or_default(),
    };
    of_sku(events, decided, sku, message);
}

fn of_order<M: EventMessage>(events: &mut NewEvents, reservation: &Reservation, message: &M) {
    events.append(message, Aggregate::new("reservation", reservation.order_id, reservation.version));
}

/// Adds the message of a level as the event left it.
fn of_sku<M: EventMessage>(
    events: &mut NewEvents,
    decided: &Decided<'_>,
    sku: &Sku,
    message: impl FnOnce(proto::Stock) -> M,
) {
    if let Some(level) = decided.state.levels.get(sku) {
        let message = message(present::stock(level, decided.now));
        events.append(&message, Aggregate::new("stock_level", &level.sku, level.event_version));
    }
}

/// By how many pieces a level changed, and why.
struct Adjustment<'a> {
    delta: i64,
    cause: proto::StockAdjustmentCause,
    reason: &'a str,
    order_id: Option<Uuid>,
}

impl Adjustment<'_> {
    fn of(delta: i64, cause: proto::StockAdjustmentCause) -> Self {
        Self { delta, cause, reason: "", order_id: None }
    }
}
