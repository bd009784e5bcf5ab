//! What other services' events mean to this one: decode, then a command.

mod inventory_stock;
mod payment_transaction;
mod product_catalog;

use openorder_messaging::{DecodeError, Received, Subscription};
use openorder_proto::{event_types, topics};
use openorder_types::parse_uuid;

use crate::{application::Command, saga::Signal};

/// The topics that the order service follows.
pub fn subscription() -> Subscription<Command> {
    Subscription {
        topics: vec![topics::INVENTORY_STOCK, topics::PAYMENT_TRANSACTION, topics::PRODUCT_CATALOG],
        decode,
        passes_over,
        injects: |_| false,
    }
}

/// The event types that mean something here; all others that are known are passed over.
const ACTS_ON: &[&str] = &[
    event_types::STOCK_RESERVED,
    event_types::STOCK_REJECTED,
    event_types::STOCK_RELEASED,
    event_types::PAYMENT_COMPLETED,
    event_types::PAYMENT_FAILED,
    event_types::PAYMENT_REFUNDED,
    event_types::PRODUCT_CREATED,
    event_types::PRODUCT_UPDATED,
    event_types::PRODUCT_DELETED,
];

fn passes_over(topic: &str, event_type: &str) -> bool {
    !ACTS_ON.contains(&event_type) && openorder_proto::by_type(event_type).is_some_and(|known| known.topic == topic)
}

fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    match message.topic.as_str() {
        topics::INVENTORY_STOCK => inventory_stock::decode(message),
        topics::PAYMENT_TRANSACTION => payment_transaction::decode(message),
        topics::PRODUCT_CATALOG => product_catalog::decode(message),
        _ => Err(DecodeError::UnknownType(message.event_type.clone())),
    }
}

fn signal(message: &Received, order_id: &str, signal: Signal) -> Result<Option<Command>, DecodeError> {
    let order_id =
        parse_uuid(order_id, "ORDER_ID_MALFORMED").map_err(|error| DecodeError::malformed(message, error.message))?;
    Ok(Some(Command::signal(order_id, signal)))
}

/// For the types that this service does not act on: known ones are passed over, unknown ones are an error.
fn others(message: &Received) -> Result<Option<Command>, DecodeError> {
    match openorder_proto::by_type(&message.event_type) {
        Some(known) if known.topic == message.topic => Ok(None),
        _ => Err(DecodeError::UnknownType(message.event_type.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_events_without_meaning_are_passed_over() {
        openorder_testing::check_passed_over(&subscription());
    }
}
