//! What other services' events mean to this one: a file a topic.

mod order_lifecycle;

use std::sync::LazyLock;

use openorder_messaging::{DecodeError, Received, Subscription};
use openorder_proto::order::v1::{
    OrderCancelled, OrderConfirmed, OrderCreated, OrderDelivered, OrderPaid, OrderPreparing, OrderRejected,
    OrderShipped,
};
use openorder_service::subscription;
use openorder_types::Timestamp;
use uuid::{Uuid, Version};

use crate::domain::{Change, Command, Fact, Origin};

/// Who says what becomes of orders.
pub(crate) const ORDER_SERVICE: &str = "order";

subscription! {
    /// What the events say, without when and where.
    fn changes() -> Subscription<Change> {
        ORDER_LIFECYCLE {
            OrderCreated => order_lifecycle::created,
            OrderConfirmed => order_lifecycle::confirmed,
            OrderPaid => order_lifecycle::paid,
            OrderPreparing => order_lifecycle::preparing,
            OrderShipped => order_lifecycle::shipped,
            OrderDelivered => order_lifecycle::delivered,
            OrderCancelled => order_lifecycle::cancelled,
            OrderRejected => order_lifecycle::rejected,
        }
    }
}

static CHANGES: LazyLock<Subscription<Change>> = LazyLock::new(changes);

/// What the analytics service follows.
pub fn subscription() -> Subscription<Command> {
    let decode = |message: &Received| Ok(fact(message)?.map(|fact| Command::Count(Box::new(fact))));
    Subscription { topics: CHANGES.topics.clone(), decode, interest: CHANGES.interest, injects: |_| false }
}

/// What a message says of an order; none where that is nothing to count.
///
/// # Errors
/// [`DecodeError`] of a message that cannot be read.
pub(crate) fn fact(message: &Received) -> Result<Option<Fact>, DecodeError> {
    let Some(change) = (CHANGES.decode)(message)? else { return Ok(None) };
    let is_logged = message.source() == ORDER_SERVICE;
    let origin = Origin { event_id: message.event_id, is_logged, position: message.position.filter(|_| is_logged) };
    Ok(Some(Fact { origin, time: time_of(message.event_id), change }))
}

/// When an event was decided, which its id tells (UUID version 7): the same whenever and by whichever way it comes.
fn time_of(event_id: Uuid) -> Option<Timestamp> {
    if event_id.get_version() != Some(Version::SortRand) {
        return None;
    }
    let (seconds, nanos) = event_id.get_timestamp()?.to_unix();
    Timestamp::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

#[cfg(test)]
mod tests;
