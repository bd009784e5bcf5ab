//! The facts that a batch brings about, as protobuf events.

use openorder_messaging::{NewEvent, UnitOfWork};
use openorder_proto::{EventMessage, inventory::v1 as proto};
use openorder_rpc::timestamp_to_proto;
use openorder_types::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{Line, Reservation, Shortfall, ShortfallReason, StockLevel},
    present,
};

/// Events in the order in which they happened.
#[derive(Default)]
pub(crate) struct Events(Vec<NewEvent>);

impl Events {
    pub(crate) fn append_to(self, unit: &mut UnitOfWork) {
        for event in self.0 {
            unit.append(event);
        }
    }

    pub(crate) fn reserved(&mut self, reservation: &Reservation, cause: usize) {
        let message = proto::StockReserved {
            order_id: reservation.order_id.to_string(),
            lines: reservation.lines.iter().map(present::line).collect(),
            version: reservation.version,
            expire_time: reservation.expire_time.as_ref().map(timestamp_to_proto),
        };
        self.of_order(reservation, &message, cause);
    }

    pub(crate) fn rejected(&mut self, reservation: &Reservation, shortfalls: &[Shortfall], cause: usize) {
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

    pub(crate) fn released(&mut self, reservation: &Reservation, given_back: &[Line], cause: usize) {
        let message = proto::StockReleased {
            order_id: reservation.order_id.to_string(),
            lines: given_back.iter().map(present::line).collect(),
            reason: present::release_reason(&reservation.reason).into(),
            version: reservation.version,
        };
        self.of_order(reservation, &message, cause);
    }

    pub(crate) fn seeded(&mut self, level: &mut StockLevel, initial_quantity: i64, now: Timestamp, cause: usize) {
        self.level_adjusted(level, initial_quantity, proto::StockAdjustmentCause::InitialStock, "", None, now, cause);
    }

    /// The SKU belongs to a later product now, or pieces of a former one are gone.
    pub(crate) fn replaced(&mut self, level: &mut StockLevel, delta: i64, now: Timestamp, cause: usize) {
        self.level_adjusted(level, delta, proto::StockAdjustmentCause::ProductReplaced, "", None, now, cause);
    }

    pub(crate) fn adjusted(&mut self, level: &mut StockLevel, delta: i64, reason: &str, now: Timestamp, cause: usize) {
        self.level_adjusted(level, delta, proto::StockAdjustmentCause::Manual, reason, None, now, cause);
    }

    pub(crate) fn shipped(
        &mut self,
        level: &mut StockLevel,
        quantity: i64,
        order_id: Uuid,
        now: Timestamp,
        cause: usize,
    ) {
        self.level_adjusted(level, -quantity, proto::StockAdjustmentCause::Shipped, "", Some(order_id), now, cause);
    }

    /// Tells once when what is available falls to the threshold, and once when nothing is left.
    pub(crate) fn crossed(
        &mut self,
        level: &mut StockLevel,
        before: i64,
        threshold: i64,
        now: Timestamp,
        cause: usize,
    ) {
        let after = level.available_quantity();
        if after == 0 && before > 0 {
            level.event_version += 1;
            let message = proto::StockDepleted { stock: Some(present::stock(level, now)) };
            self.of_sku(level, &message, cause);
        } else if after <= threshold && before > threshold {
            level.event_version += 1;
            let message = proto::StockLow {
                stock: Some(present::stock(level, now)),
                threshold_quantity: present::quantity(threshold),
            };
            self.of_sku(level, &message, cause);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one event")]
    fn level_adjusted(
        &mut self,
        level: &mut StockLevel,
        delta: i64,
        why: proto::StockAdjustmentCause,
        reason: &str,
        order_id: Option<Uuid>,
        now: Timestamp,
        cause: usize,
    ) {
        level.event_version += 1;
        let message = proto::StockAdjusted {
            stock: Some(present::stock(level, now)),
            delta: present::delta(delta),
            cause: why.into(),
            reason: reason.to_owned(),
            order_id: order_id.map(|id| id.to_string()).unwrap_or_default(),
        };
        self.of_sku(level, &message, cause);
    }

    fn of_order<M: EventMessage>(&mut self, reservation: &Reservation, message: &M, cause: usize) {
        self.push("reservation", reservation.order_id.to_string(), reservation.version, message, cause);
    }

    fn of_sku<M: EventMessage>(&mut self, level: &StockLevel, message: &M, cause: usize) {
        self.push("stock_level", level.sku.to_string(), level.event_version, message, cause);
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
