//! `order.lifecycle.v1`: a paid order wants a shipment, which follows it from then on.

use openorder_proto::order::v1::{OrderCancelled, OrderDelivered, OrderLine, OrderPaid, OrderShipped, OrderStatus};
use openorder_types::{DisplayName, Quantity, Sku, UserId, ValueError, parse_uuid};
use uuid::Uuid;

use crate::{
    domain::{CancelReason, Command, Line, NewShipment, Target},
    present,
};

pub(super) fn paid(event: OrderPaid) -> Result<Command, ValueError> {
    if event.lines.is_empty() {
        return Err(ValueError::new("LINES_MISSING", "no lines"));
    }
    Ok(Command::Create(Box::new(NewShipment {
        shipment_id: Uuid::now_v7(),
        order_id: order_id(&event.order_id)?,
        customer_id: UserId::parse(&event.customer_id)?,
        lines: event.lines.iter().map(line).collect::<Result<_, _>>()?,
        address: present::address(event.shipping_address.as_ref())?,
    })))
}

pub(super) fn shipped(event: OrderShipped) -> Result<Command, ValueError> {
    Ok(Command::Follow { order_id: order_id(&event.order_id)?, target: Target::Shipped })
}

pub(super) fn delivered(event: OrderDelivered) -> Result<Command, ValueError> {
    Ok(Command::Follow { order_id: order_id(&event.order_id)?, target: Target::Delivered })
}

/// An order that was not paid has no shipment, and gets none: this is its last event.
pub(super) fn cancelled(event: OrderCancelled) -> Result<Option<Command>, ValueError> {
    if matches!(event.previous_status(), OrderStatus::Pending | OrderStatus::Confirmed) {
        return Ok(None);
    }
    Ok(Some(Command::Cancel {
        shipment_id: Uuid::now_v7(),
        order_id: order_id(&event.order_id)?,
        customer_id: UserId::parse(&event.customer_id)?,
        reason: CancelReason::of_cause(event.cause),
        detail: event.status_detail,
    }))
}

fn order_id(text: &str) -> Result<Uuid, ValueError> {
    parse_uuid(text, "ORDER_ID_MALFORMED")
}

fn line(line: &OrderLine) -> Result<Line, ValueError> {
    Ok(Line {
        sku: Sku::parse(&line.sku)?,
        // A product without a name is sent all the same.
        display_name: DisplayName::parse(&line.display_name).or_else(|_| DisplayName::parse(&line.sku))?,
        quantity: Quantity::parse(line.quantity)?,
        product_number: line.product_number,
    })
}
