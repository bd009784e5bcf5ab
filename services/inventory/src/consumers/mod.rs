//! What other services' events mean to this one: decode, then a command.

mod inventory_stock;
mod order_lifecycle;
mod product_catalog;

use openorder_messaging::{DecodeError, Received, Subscription};
use openorder_proto::topics;

use crate::domain::Command;

/// The topics that the inventory service follows.
pub fn subscription() -> Subscription<Command> {
    Subscription { topics: vec![topics::ORDER_LIFECYCLE, topics::INVENTORY_STOCK, topics::PRODUCT_CATALOG], decode }
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
