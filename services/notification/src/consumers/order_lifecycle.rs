//! `order.lifecycle.v1`: the customer hears of a paid, shipped, delivered, cancelled or rejected order.

use openorder_proto::{
    google::r#type::Money as MoneyMessage,
    order::v1::{OrderCancelled, OrderDelivered, OrderLine, OrderPaid, OrderRejected, OrderShipped},
};
use openorder_rpc::money_from_proto;
use openorder_types::{EmailAddress, Money, UserId, ValueError, parse_uuid};
use uuid::Uuid;

use crate::domain::{ChannelIds, Command, Kind, Notice, NoticeLine};

/// The fields that mean the same in these events.
struct Order<'a> {
    order_id: &'a str,
    customer_id: &'a str,
    customer_email: &'a str,
    total: Option<&'a MoneyMessage>,
    lines: &'a [OrderLine],
}

macro_rules! order {
    ($event:ident) => {
        &Order {
            order_id: &$event.order_id,
            customer_id: &$event.customer_id,
            customer_email: &$event.customer_email,
            total: $event.total.as_ref(),
            lines: &$event.lines,
        }
    };
}

pub(super) fn paid(event: OrderPaid) -> Result<Command, ValueError> {
    notify(Kind::OrderPaid, order!(event), String::new(), String::new())
}

pub(super) fn shipped(event: OrderShipped) -> Result<Command, ValueError> {
    notify(Kind::OrderShipped, order!(event), String::new(), String::new())
}

pub(super) fn delivered(event: OrderDelivered) -> Result<Command, ValueError> {
    notify(Kind::OrderDelivered, order!(event), String::new(), String::new())
}

pub(super) fn cancelled(event: OrderCancelled) -> Result<Command, ValueError> {
    notify(Kind::OrderCancelled, order!(event), event.status_reason, event.status_detail)
}

pub(super) fn rejected(event: OrderRejected) -> Result<Command, ValueError> {
    notify(Kind::OrderRejected, order!(event), event.status_reason, event.status_detail)
}

fn notify(kind: Kind, order: &Order<'_>, reason: String, detail: String) -> Result<Command, ValueError> {
    Ok(Command::Notify(Box::new(Notice {
        notification_ids: ChannelIds { email: Uuid::now_v7(), sms: Uuid::now_v7(), push: Uuid::now_v7() },
        order_id: parse_uuid(order.order_id, "ORDER_ID_MALFORMED")?,
        user_id: UserId::parse(order.customer_id)?,
        // An address that is none is no address: the order is as good, and its customer's other orders must not wait.
        recipient: EmailAddress::parse(order.customer_email).ok(),
        kind,
        total: order.total.and_then(money),
        lines: lines(order.lines),
        reason,
        detail,
    })))
}

fn lines(messages: &[OrderLine]) -> Vec<NoticeLine> {
    let lines = messages.iter().map(|line| NoticeLine {
        display_name: if line.display_name.is_empty() { line.sku.clone() } else { line.display_name.clone() },
        quantity: line.quantity.into(),
        line_total: line.line_total.as_ref().and_then(money),
    });
    lines.collect()
}

/// An amount that cannot be read is left out: a mail without it is better than none.
fn money(message: &MoneyMessage) -> Option<Money> {
    money_from_proto(message).ok()
}
