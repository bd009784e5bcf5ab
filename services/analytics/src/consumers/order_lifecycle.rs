//! `order.lifecycle.v1`: what becomes of orders, and what they are of.

use openorder_proto::{
    google::r#type::Money as MoneyMessage,
    order::v1::{
        OrderCancelled, OrderConfirmed, OrderCreated, OrderDelivered, OrderLine, OrderPaid, OrderPreparing,
        OrderRejected, OrderShipped,
    },
};
use openorder_rpc::money_from_proto;
use openorder_types::{Currency, Money, Quantity, Sku, ValueError, parse_uuid};

use crate::{
    consumers::time_of,
    domain::{Change, Hour, OrderStatus, Reason, Sale, SoldLine, Trade},
};

pub(super) fn created(event: OrderCreated) -> Result<Change, ValueError> {
    moved(&event.order_id, None, OrderStatus::Pending)
}

pub(super) fn confirmed(event: OrderConfirmed) -> Result<Change, ValueError> {
    moved(&event.order_id, Some(OrderStatus::Pending), OrderStatus::Confirmed)
}

pub(super) fn paid(event: OrderPaid) -> Result<Change, ValueError> {
    let trade = Some(Trade::Sold(sale(event.total.as_ref(), &event.lines)?));
    Ok(Change { trade, ..moved(&event.order_id, Some(OrderStatus::Confirmed), OrderStatus::Paid)? })
}

pub(super) fn preparing(event: OrderPreparing) -> Result<Change, ValueError> {
    moved(&event.order_id, Some(OrderStatus::Paid), OrderStatus::Preparing)
}

pub(super) fn shipped(event: OrderShipped) -> Result<Change, ValueError> {
    moved(&event.order_id, Some(OrderStatus::Preparing), OrderStatus::Shipped)
}

pub(super) fn delivered(event: OrderDelivered) -> Result<Change, ValueError> {
    moved(&event.order_id, Some(OrderStatus::Shipped), OrderStatus::Delivered)
}

pub(super) fn cancelled(event: OrderCancelled) -> Result<Change, ValueError> {
    let Some(previous) = OrderStatus::from_number(event.previous_status) else {
        // Whether money goes back depends on it.
        return Err(ValueError::new("PREVIOUS_STATUS_UNKNOWN", "unknown status of the order before this event"));
    };
    let trade = match previous.is_sold() {
        true => Some(Trade::GivenBack(sale(event.total.as_ref(), &event.lines)?)),
        false => None,
    };
    let reason = Reason::of(&event.status_reason);
    Ok(Change { reason, trade, ..moved(&event.order_id, Some(previous), OrderStatus::Cancelled)? })
}

pub(super) fn rejected(event: OrderRejected) -> Result<Change, ValueError> {
    let reason = Reason::of(&event.status_reason);
    Ok(Change { reason, ..moved(&event.order_id, Some(OrderStatus::Pending), OrderStatus::Rejected)? })
}

/// The hour in which an order was made is told by its id, so that each of its events tells it.
fn moved(order_id: &str, from: Option<OrderStatus>, to: OrderStatus) -> Result<Change, ValueError> {
    let made = time_of(parse_uuid(order_id, "ORDER_ID_MALFORMED")?)
        .ok_or_else(|| ValueError::new("ORDER_ID_MALFORMED", "must be a UUID of version 7"))?;
    Ok(Change { made: Hour::of(made), from, to, reason: Reason::none(), trade: None })
}

fn sale(total: Option<&MoneyMessage>, lines: &[OrderLine]) -> Result<Sale, ValueError> {
    let total = money(total.ok_or_else(|| ValueError::new("TOTAL_MISSING", "no total"))?)?;
    let lines = lines.iter().map(|line| sold_line(line, total.currency())).collect::<Result<_, _>>()?;
    Ok(Sale { total, lines })
}

fn sold_line(line: &OrderLine, currency: Currency) -> Result<SoldLine, ValueError> {
    let gross = line.line_total.as_ref().ok_or_else(|| ValueError::new("LINE_TOTAL_MISSING", "no total of a line"))?;
    let discount = line.discount.as_ref().map(|discount| minor_units(discount, currency)).transpose()?;
    Ok(SoldLine {
        sku: Sku::parse(&line.sku)?,
        display_name: if line.display_name.is_empty() { line.sku.clone() } else { line.display_name.clone() },
        quantity: Quantity::parse(line.quantity)?.get(),
        gross_minor: minor_units(gross, currency)?,
        discount_minor: discount.unwrap_or_default(),
    })
}

fn minor_units(message: &MoneyMessage, currency: Currency) -> Result<i64, ValueError> {
    let amount = money(message)?;
    match amount.currency() == currency {
        true => Ok(amount.minor_units()),
        false => Err(ValueError::new("CURRENCY_MISMATCH", "a line in another currency than its order")),
    }
}

fn money(message: &MoneyMessage) -> Result<Money, ValueError> {
    Ok(money_from_proto(message)?)
}
