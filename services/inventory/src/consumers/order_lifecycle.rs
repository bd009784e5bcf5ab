//! `order.lifecycle.v1`: a new order wants stock, a shipped one takes it away.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{event_types, order::v1 as order};
use openorder_types::{Quantity, Sku, parse_uuid};

use crate::{
    consumers::others,
    domain::{Command, Line},
};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    let malformed = |error: openorder_types::ValueError| DecodeError::malformed(message, error.message);
    match message.event_type.as_str() {
        event_types::ORDER_CREATED => {
            let created: order::OrderCreated = message.decode()?;
            let order_id = parse_uuid(&created.order_id, "ORDER_ID_MALFORMED").map_err(malformed)?;
            let lines = created.lines.iter().map(|line| {
                let (sku, quantity) = (Sku::parse(&line.sku)?, Quantity::parse(line.quantity)?);
                Ok(Line { sku, quantity, product_number: line.product_number })
            });
            let lines = lines.collect::<Result<_, _>>().map_err(malformed)?;
            Ok(Some(Command::Reserve { order_id, lines }))
        }
        event_types::ORDER_SHIPPED => {
            let shipped: order::OrderShipped = message.decode()?;
            let order_id = parse_uuid(&shipped.order_id, "ORDER_ID_MALFORMED").map_err(malformed)?;
            Ok(Some(Command::Ship { order_id }))
        }
        _ => others(message),
    }
}
