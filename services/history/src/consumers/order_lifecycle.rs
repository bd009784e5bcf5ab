//! `order.lifecycle.v1`: the order itself.

use openorder_proto::{
    history::v1::CompensationStep,
    order::v1::{
        OrderCancelled, OrderCompensationFailed, OrderCompensationRetried, OrderCompensationSettled, OrderConfirmed,
        OrderCreated, OrderDelivered, OrderLine, OrderModificationRejected, OrderModificationRequested, OrderModified,
        OrderPaid, OrderPreparing, OrderRejected, OrderShipped,
    },
};
use openorder_types::{UserId, ValueError, parse_uuid};

use crate::{
    consumers::{money, time, version},
    domain::{Compensation, Created, Ending, Fact, Head, Line, OrderSaid, Said},
};

/// What all events of an order say in the same fields.
macro_rules! said {
    ($event:ident $(, $field:ident: $value:expr)* $(,)?) => {{
        let head = Head { status: $event.status, total: money($event.total.as_ref()) };
        let nothing = OrderSaid { head, created: None, lines: None, discount: None, ending: None, compensation: None };
        fact(&$event.order_id, $event.version, OrderSaid { $($field: Some($value),)* ..nothing })
    }};
}

pub(super) fn created(event: OrderCreated) -> Result<Fact, ValueError> {
    let created = Created {
        customer_id: UserId::parse(&event.customer_id)?,
        create_time: time(event.create_time.as_ref())
            .ok_or_else(|| ValueError::new("CREATE_TIME_MISSING", "no time of making"))?,
        trace_id: String::new(),
        issued_coupon_id: event.issued_coupon_id,
    };
    said!(event, created: created, lines: lines(event.lines))
}

pub(super) fn confirmed(event: OrderConfirmed) -> Result<Fact, ValueError> {
    // Without a coupon the lines are as they were.
    let (lines, discount) = (told(event.lines), money(event.discount.as_ref()));
    let mut fact = said!(event)?;
    if let Said::Order(said) = &mut fact.said {
        (said.lines, said.discount) = (lines, discount);
    }
    Ok(fact)
}

/// The order is of its lines of before.
pub(super) fn modification_requested(event: OrderModificationRequested) -> Result<Fact, ValueError> {
    said!(event)
}

pub(super) fn modified(event: OrderModified) -> Result<Fact, ValueError> {
    said!(event, lines: lines(event.lines))
}

pub(super) fn modification_rejected(event: OrderModificationRejected) -> Result<Fact, ValueError> {
    said!(event)
}

pub(super) fn paid(event: OrderPaid) -> Result<Fact, ValueError> {
    said!(event, lines: lines(event.lines))
}

pub(super) fn preparing(event: OrderPreparing) -> Result<Fact, ValueError> {
    said!(event)
}

pub(super) fn shipped(event: OrderShipped) -> Result<Fact, ValueError> {
    said!(event, lines: lines(event.lines))
}

pub(super) fn delivered(event: OrderDelivered) -> Result<Fact, ValueError> {
    said!(event, lines: lines(event.lines))
}

pub(super) fn cancelled(event: OrderCancelled) -> Result<Fact, ValueError> {
    let ending = Ending { reason: event.status_reason, detail: event.status_detail, cause: event.cause };
    said!(event, lines: lines(event.lines), ending: ending)
}

pub(super) fn rejected(event: OrderRejected) -> Result<Fact, ValueError> {
    let ending = Ending { reason: event.status_reason, detail: event.status_detail, cause: 0 };
    said!(event, lines: lines(event.lines), ending: ending)
}

pub(super) fn compensation_failed(event: OrderCompensationFailed) -> Result<Fact, ValueError> {
    let compensation = Compensation {
        step: CompensationStep::Failed.into(),
        stock: event.stock_open,
        payment: event.payment_open,
        coupon: event.coupon_open,
        undo_attempts: event.undo_attempts,
        reason: String::new(),
        operator: String::new(),
    };
    said!(event, compensation: compensation)
}

pub(super) fn compensation_retried(event: OrderCompensationRetried) -> Result<Fact, ValueError> {
    let compensation = Compensation {
        step: CompensationStep::Retried.into(),
        stock: false,
        payment: false,
        coupon: false,
        undo_attempts: 0,
        reason: event.reason,
        operator: event.operator,
    };
    said!(event, compensation: compensation)
}

pub(super) fn compensation_settled(event: OrderCompensationSettled) -> Result<Fact, ValueError> {
    let compensation = Compensation {
        step: CompensationStep::Settled.into(),
        stock: event.stock_settled,
        payment: event.payment_settled,
        coupon: event.coupon_settled,
        undo_attempts: 0,
        reason: event.reason,
        operator: event.operator,
    };
    said!(event, compensation: compensation)
}

fn fact(order_id: &str, of: i64, said: OrderSaid) -> Result<Fact, ValueError> {
    Ok(Fact::new(parse_uuid(order_id, "ORDER_ID_MALFORMED")?, version(of)?, Said::Order(Box::new(said))))
}

/// Lines of an event that has them only sometimes.
fn told(messages: Vec<OrderLine>) -> Option<Vec<Line>> {
    (!messages.is_empty()).then(|| lines(messages))
}

fn lines(messages: Vec<OrderLine>) -> Vec<Line> {
    let line = |message: OrderLine| Line {
        unit_price: money(message.unit_price.as_ref()),
        line_total: money(message.line_total.as_ref()),
        discount: money(message.discount.as_ref()),
        sku: message.sku,
        display_name: message.display_name,
        quantity: message.quantity,
        product_number: message.product_number,
    };
    messages.into_iter().map(line).collect()
}
