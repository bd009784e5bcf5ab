//! What the events of other services say of an order's document: a file a topic.
//!
//! A document shows what it is told. What a newer version may add (statuses, reasons, kinds) is kept as its number, and an
//! amount that cannot be read is left out: an order with a gap is better than an order that is not found. An event whose
//! order or version cannot be read is malformed.

mod notification_delivery;
mod order_lifecycle;
mod payment_transaction;
mod shipping_shipment;

use std::sync::LazyLock;

use openorder_messaging::{DecodeError, Received, Subscription};
use openorder_proto::{
    google::r#type::Money as MoneyMessage,
    notification::v1::{NotificationFailed, NotificationRequested, NotificationSent},
    order::v1::{
        OrderCancelled, OrderCompensationFailed, OrderCompensationRetried, OrderCompensationSettled, OrderConfirmed,
        OrderCreated, OrderDelivered, OrderModificationRejected, OrderModificationRequested, OrderModified, OrderPaid,
        OrderPreparing, OrderRejected, OrderShipped,
    },
    payment::v1::{PaymentCompleted, PaymentFailed, PaymentInitiated, PaymentRefunded},
    shipping::v1::{
        ShipmentCancelled, ShipmentCreated, ShipmentDelivered, ShipmentProgressed, ShipmentShipped, ShipmentUpdated,
    },
};
use openorder_rpc::money_from_proto;
use openorder_service::subscription;
use openorder_types::{Money, Timestamp, ValueError};
use uuid::{Uuid, Version};

use crate::{application::Command, domain::Fact};

subscription! {
    /// What events say, but for when they were made and in which trace.
    fn said() -> Subscription<Fact> {
        ORDER_LIFECYCLE {
            OrderCreated => order_lifecycle::created,
            OrderConfirmed => order_lifecycle::confirmed,
            OrderModificationRequested => order_lifecycle::modification_requested,
            OrderModified => order_lifecycle::modified,
            OrderModificationRejected => order_lifecycle::modification_rejected,
            OrderPaid => order_lifecycle::paid,
            OrderPreparing => order_lifecycle::preparing,
            OrderShipped => order_lifecycle::shipped,
            OrderDelivered => order_lifecycle::delivered,
            OrderCancelled => order_lifecycle::cancelled,
            OrderRejected => order_lifecycle::rejected,
            OrderCompensationFailed => order_lifecycle::compensation_failed,
            OrderCompensationRetried => order_lifecycle::compensation_retried,
            OrderCompensationSettled => order_lifecycle::compensation_settled,
        }
        PAYMENT_TRANSACTION {
            PaymentInitiated => payment_transaction::initiated,
            PaymentCompleted => payment_transaction::completed,
            PaymentFailed => payment_transaction::failed,
            PaymentRefunded => payment_transaction::refunded,
        }
        SHIPPING_SHIPMENT {
            ShipmentCreated => shipping_shipment::created,
            ShipmentUpdated => shipping_shipment::updated,
            ShipmentProgressed => shipping_shipment::progressed,
            ShipmentShipped => shipping_shipment::shipped,
            ShipmentDelivered => shipping_shipment::delivered,
            ShipmentCancelled => shipping_shipment::cancelled,
        }
        NOTIFICATION_DELIVERY {
            NotificationRequested => notification_delivery::requested,
            NotificationSent => notification_delivery::sent,
            NotificationFailed => notification_delivery::failed,
        }
    }
}

static SAID: LazyLock<Subscription<Fact>> = LazyLock::new(said);

/// What the history service follows.
pub fn subscription() -> Subscription<Command> {
    Subscription { topics: SAID.topics.clone(), decode, interest: SAID.interest, injects: |_| false }
}

fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    Ok(fact_of(message)?.map(Command::Hear))
}

/// What an event says; none of one that says nothing of a document.
///
/// # Errors
/// As [`Subscription::decode`].
pub(crate) fn fact_of(message: &Received) -> Result<Option<Fact>, DecodeError> {
    let fact = (SAID.decode)(message)?;
    Ok(fact.map(|fact| fact.made(made_at_ms(message.event_id), || trace_id(message))))
}

/// When an event was made: its id says so, wherever it is read, from Kafka or from a log. 0 of an id of another making.
fn made_at_ms(event_id: Uuid) -> i64 {
    if event_id.get_version() != Some(Version::SortRand) {
        return 0;
    }
    let (seconds, nanos) = event_id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1_000)).unwrap_or(0) + i64::from(nanos / 1_000_000)
}

fn trace_id(message: &Received) -> String {
    if message.trace.is_valid() { message.trace.trace_id() } else { String::new() }
}

/// An amount that cannot be read is left out.
fn money(message: Option<&MoneyMessage>) -> Option<Money> {
    money_from_proto(message?).ok()
}

/// A time that cannot be read is left out.
fn time(message: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let message = message?;
    // Microseconds are kept.
    let nanos = u32::try_from(message.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)? / 1_000 * 1_000;
    Timestamp::from_timestamp(message.seconds, nanos)
}

/// Without it nobody can say which of two events is the later one.
fn version(version: i64) -> Result<i64, ValueError> {
    match version {
        1.. => Ok(version),
        _ => Err(ValueError::new("VERSION_OUT_OF_RANGE", "must be 1 or more")),
    }
}

#[cfg(test)]
mod tests;
