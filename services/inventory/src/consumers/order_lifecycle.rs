//! `order.lifecycle.v1`: a new order wants stock, a shipped one takes it away.

use openorder_proto::order::v1::{OrderCreated, OrderShipped};
use openorder_types::{Quantity, Sku, ValueError, parse_uuid};

use crate::domain::{Command, Line};

pub(super) fn created(event: OrderCreated) -> Result<Command, ValueError> {
    let order_id = parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")?;
    let lines = event.lines.iter().map(|line| {
        let (sku, quantity) = (Sku::parse(&line.sku)?, Quantity::parse(line.quantity)?);
        Ok(Line { sku, quantity, product_number: line.product_number })
    });
    Ok(Command::Reserve { order_id, lines: lines.collect::<Result<_, ValueError>>()? })
}

pub(super) fn shipped(event: OrderShipped) -> Result<Command, ValueError> {
    Ok(Command::Ship { order_id: parse_uuid(&event.order_id, "ORDER_ID_MALFORMED")? })
}
