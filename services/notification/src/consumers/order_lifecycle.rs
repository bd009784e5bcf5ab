//! `order.lifecycle.v1`: the customer hears of a paid, shipped, delivered, cancelled or rejected order.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{event_types, google::r#type::Money as MoneyMessage, order::v1 as order};
use openorder_types::{EmailAddress, Money, UserId, parse_uuid};
use uuid::Uuid;

use crate::{
    consumers::others,
    domain::{ChannelIds, Command, Kind, Notice, NoticeLine},
};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    let notice = match message.event_type.as_str() {
        event_types::ORDER_PAID => {
            let event: order::OrderPaid = message.decode()?;
            let of = Of { order_id: &event.order_id, customer_id: &event.customer_id, email: &event.customer_email };
            Notice { lines: lines(&event.lines), ..notice(message, Kind::OrderPaid, &of, event.total.as_ref())? }
        }
        event_types::ORDER_SHIPPED => {
            let event: order::OrderShipped = message.decode()?;
            let of = Of { order_id: &event.order_id, customer_id: &event.customer_id, email: &event.customer_email };
            Notice { lines: lines(&event.lines), ..notice(message, Kind::OrderShipped, &of, event.total.as_ref())? }
        }
        event_types::ORDER_DELIVERED => {
            let event: order::OrderDelivered = message.decode()?;
            let of = Of { order_id: &event.order_id, customer_id: &event.customer_id, email: &event.customer_email };
            Notice { lines: lines(&event.lines), ..notice(message, Kind::OrderDelivered, &of, event.total.as_ref())? }
        }
        event_types::ORDER_CANCELLED => {
            let event: order::OrderCancelled = message.decode()?;
            let of = Of { order_id: &event.order_id, customer_id: &event.customer_id, email: &event.customer_email };
            Notice {
                lines: lines(&event.lines),
                reason: event.status_reason,
                detail: event.status_detail,
                ..notice(message, Kind::OrderCancelled, &of, event.total.as_ref())?
            }
        }
        event_types::ORDER_REJECTED => {
            let event: order::OrderRejected = message.decode()?;
            let of = Of { order_id: &event.order_id, customer_id: &event.customer_id, email: &event.customer_email };
            Notice {
                lines: lines(&event.lines),
                reason: event.status_reason,
                detail: event.status_detail,
                ..notice(message, Kind::OrderRejected, &of, event.total.as_ref())?
            }
        }
        _ => return others(message),
    };
    Ok(Some(Command::Notify(Box::new(notice))))
}

/// The fields that mean the same in every event of an order.
struct Of<'a> {
    order_id: &'a str,
    customer_id: &'a str,
    email: &'a str,
}

fn notice(message: &Received, kind: Kind, of: &Of<'_>, total: Option<&MoneyMessage>) -> Result<Notice, DecodeError> {
    let malformed = |error: openorder_types::ValueError| DecodeError::malformed(message, error.message);
    Ok(Notice {
        notification_ids: ChannelIds { email: Uuid::now_v7(), sms: Uuid::now_v7(), push: Uuid::now_v7() },
        order_id: parse_uuid(of.order_id, "ORDER_ID_MALFORMED").map_err(malformed)?,
        user_id: UserId::parse(of.customer_id).map_err(malformed)?,
        // An address that is none is no address: the order is as good, and its customer's other orders must not wait.
        recipient: EmailAddress::parse(of.email).ok(),
        kind,
        total: total.and_then(money),
        lines: Vec::new(),
        reason: String::new(),
        detail: String::new(),
    })
}

fn lines(messages: &[order::OrderLine]) -> Vec<NoticeLine> {
    let lines = messages.iter().map(|line| NoticeLine {
        display_name: if line.display_name.is_empty() { line.sku.clone() } else { line.display_name.clone() },
        quantity: line.quantity.into(),
        line_total: line.line_total.as_ref().and_then(money),
    });
    lines.collect()
}

/// An amount that cannot be read is left out: a mail without it is better than none.
fn money(message: &MoneyMessage) -> Option<Money> {
    Money::from_units_nanos(&message.currency_code, message.units, message.nanos).ok()
}
