//! From the facts of the domain to protobuf events.

use openorder_messaging::{NewEvent, UnitOfWork};
use openorder_proto::{EventMessage, inventory::v1 as proto};
use openorder_rpc::timestamp_to_proto;
use openorder_types::{Sku, Timestamp};
use uuid::Uuid;

use crate::{
    domain::{Event, Line, Reservation, Shortfall, ShortfallReason, State},
    present,
};

/// Events of a batch in the order in which they were decided.
#[derive(Default)]
pub(crate) struct Events(Vec<NewEvent>);

/// An event, the state that it led to, and its time.
pub(crate) struct Decided<'a> {
    pub(crate) event: &'a Event,
    pub(crate) state: &'a State,
    pub(crate) now: Timestamp,
}

impl Events {
    pub(crate) fn append_to(self, unit: &mut UnitOfWork) {
        for event in self.0 {
            unit.append(event);
        }
    }

    /// Adds the message of an event that is published.
    pub(crate) fn publish(&mut self, decided: &Decided<'_>, cause: usize) {
        use proto::StockAdjustmentCause as Cause;
        match decided.event {
            Event::ProductNumbered { .. } | Event::ReservationShipped { .. } => {}
            Event::StockSeeded { sku, initial_quantity, .. } => {
                self.adjusted(decided, sku, Adjustment::of(*initial_quantity, Cause::InitialStock), cause);
            }
            Event::StockReplaced { sku, delta, .. } => {
                self.adjusted(decided, sku, Adjustment::of(*delta, Cause::ProductReplaced), cause);
            }
            Event::FormerStockRetired { sku, quantity } => {
                self.adjusted(decided, sku, Adjustment::of(-quantity, Cause::ProductReplaced), cause);
            }
            Event::StockAdjusted { sku, delta, reason } => {
                self.adjusted(decided, sku, Adjustment { reason, ..Adjustment::of(*delta, Cause::Manual) }, cause);
            }
            Event::StockShipped { sku, quantity, order_id } => {
                let adjustment = Adjustment { order_id: Some(*order_id), ..Adjustment::of(-quantity, Cause::Shipped) };
                self.adjusted(decided, sku, adjustment, cause);
            }
            Event::StockLow { sku, threshold_quantity } => {
                let threshold_quantity = present::quantity(*threshold_quantity);
                let message = |stock| proto::StockLow { stock: Some(stock), threshold_quantity };
                self.of_sku(decided, sku, message, cause);
            }
            Event::StockDepleted { sku } => {
                self.of_sku(decided, sku, |stock| proto::StockDepleted { stock: Some(stock) }, cause);
            }
            Event::Reserved(reservation) => self.reserved(reservation, cause),
            Event::ReservationRejected { reservation, shortfalls } => self.rejected(reservation, shortfalls, cause),
            Event::Released { order_id, given_back, .. } => {
                if let Some(reservation) = decided.state.reservations.get(order_id) {
                    self.released(reservation, given_back, cause);
                }
            }
        }
    }

    fn reserved(&mut self, reservation: &Reservation, cause: usize) {
        let message = proto::StockReserved {
            order_id: reservation.order_id.to_string(),
            lines: reservation.lines.iter().map(present::line).collect(),
            version: reservation.version,
            expire_time: reservation.expire_time.as_ref().map(timestamp_to_proto),
        };
        self.of_order(reservation, &message, cause);
    }

    fn rejected(&mut self, reservation: &Reservation, shortfalls: &[Shortfall], cause: usize) {
        let unknown = shortfalls.iter().any(|shortfall| shortfall.reason == ShortfallReason::UnknownSku);
        let reason = if unknown { ShortfallReason::UnknownSku } else { ShortfallReason::OutOfStock };
        let message = proto::StockRejected {
            order_id: reservation.order_id.to_string(),
            reason: present::shortfall_reason(reason).into(),
            shortfalls: shortfalls.iter().map(present::shortfall).collect(),
            version: reservation.version,
        };
        self.of_order(reservation, &message, cause);
    }

    fn released(&mut self, reservation: &Reservation, given_back: &[Line], cause: usize) {
        let message = proto::StockReleased {
            order_id: reservation.order_id.to_string(),
            lines: given_back.iter().map(present::line).collect(),
            reason: present::release_reason(&reservation.reason).into(),
            version: reservation.version,
        };
        self.of_order(reservation, &message, cause);
    }

    fn adjusted(&mut self, decided: &Decided<'_>, sku: &Sku, adjustment: Adjustment<'_>, cause: usize) {
        let message = |stock| proto::StockAdjusted {
            stock: Some(stock),
            delta: present::delta(adjustment.delta),
            cause: adjustment.cause.into(),
            reason: adjustment.reason.to_owned(),
            order_id: adjustment.order_id.map(|id| id.to_string()).unwrap_or_default(),
        };
        self.of_sku(decided, sku, message, cause);
    }

    fn of_order<M: EventMessage>(&mut self, reservation: &Reservation, message: &M, cause: usize) {
        self.push("reservation", reservation.order_id.to_string(), reservation.version, message, cause);
    }

    /// Adds the message of a level as the event left it.
    fn of_sku<M: EventMessage>(
        &mut self,
        decided: &Decided<'_>,
        sku: &Sku,
        message: impl FnOnce(proto::Stock) -> M,
        cause: usize,
    ) {
        if let Some(level) = decided.state.levels.get(sku) {
            let message = message(present::stock(level, decided.now));
            self.push("stock_level", level.sku.to_string(), level.event_version, &message, cause);
        }
    }

    fn push<M: EventMessage>(
        &mut self,
        aggregate_type: &'static str,
        id: String,
        version: i64,
        message: &M,
        cause: usize,
    ) {
        self.0.push(NewEvent {
            event_type: M::EVENT_TYPE,
            topic: M::TOPIC,
            key: id.clone(),
            aggregate_type,
            aggregate_id: id,
            aggregate_version: version,
            payload: message.encode_to_vec(),
            cause,
        });
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
