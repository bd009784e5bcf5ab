//! What other services' events mean to this one: decode, then a command.

mod inventory_stock;
mod order_lifecycle;
mod product_catalog;

use openorder_messaging::{DecodeError, Received, Subscription};
use openorder_proto::{event_types, topics};

use crate::domain::Command;

/// The topics that the inventory service follows.
pub fn subscription() -> Subscription<Command> {
    Subscription {
        topics: vec![topics::ORDER_LIFECYCLE, topics::INVENTORY_STOCK, topics::PRODUCT_CATALOG],
        decode,
        passes_over,
        injects: asks_to_fail,
    }
}

/// With fault injection, the stock of an order with this SKU cannot be handled.
const FAILING_SKU: &str = "FAIL";

fn asks_to_fail(command: &Command) -> bool {
    matches!(command, Command::Reserve { lines, .. } if lines.iter().any(|line| line.sku.as_str() == FAILING_SKU))
}

/// The event types that mean something here; all others that are known are passed over.
const ACTS_ON: &[&str] = &[
    event_types::ORDER_CREATED,
    event_types::ORDER_SHIPPED,
    event_types::STOCK_RELEASE_REQUESTED,
    event_types::PRODUCT_CREATED,
];

fn passes_over(topic: &str, event_type: &str) -> bool {
    !ACTS_ON.contains(&event_type) && openorder_proto::by_type(event_type).is_some_and(|known| known.topic == topic)
}

fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    match message.topic.as_str() {
        topics::ORDER_LIFECYCLE => order_lifecycle::decode(message),
        topics::INVENTORY_STOCK => inventory_stock::decode(message),
        topics::PRODUCT_CATALOG => product_catalog::decode(message),
        _ => Err(DecodeError::UnknownType(message.event_type.clone())),
    }
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
    use openorder_types::{Quantity, Sku};

    use super::*;
    use crate::domain::Line;

    #[test]
    fn only_an_order_with_the_failing_sku_asks_to_fail() {
        let reserve = |sku: &str| Command::Reserve {
            order_id: uuid::Uuid::nil(),
            lines: vec![Line {
                sku: Sku::parse(sku).unwrap(),
                quantity: Quantity::parse(1_u32).unwrap(),
                product_number: 0,
            }],
        };
        assert!(asks_to_fail(&reserve("FAIL")));
        assert!(!asks_to_fail(&reserve("FAIL-2")));
        assert!(!asks_to_fail(&Command::Ship { order_id: uuid::Uuid::nil() }));
    }

    #[test]
    fn exactly_the_events_without_meaning_are_passed_over() {
        openorder_testing::check_passed_over(&subscription());
    }
}
