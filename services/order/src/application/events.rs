//! The facts and requests that a batch brings about, as protobuf events.

use openorder_proto::{
    inventory::v1 as inventory, order::v1 as proto, payment::v1 as payment, promotion::v1 as promotion,
};
use openorder_rpc::{money_to_proto, timestamp_to_proto};
use openorder_service::{Aggregate, NewEvents};
use openorder_types::Timestamp;

use crate::{
    domain::{CancellationCause, Event, Order, OrderEvent, OrderStatus},
    persistence::Record,
    present,
};

/// What all order events begin with; the same in every one of them.
macro_rules! event {
    ($message:ident, $order:expr $(, $field:ident : $value:expr)*) => {
        proto::$message {
            order_id: $order.order_id.to_string(),
            customer_id: $order.customer_id.to_string(),
            version: $order.version,
            status: present::status($order.status).into(),
            customer_email: present::email($order),
            total: $order.total.as_ref().map(money_to_proto),
            $($field: $value,)*
        }
    };
}

/// Appends the event of `order.lifecycle.v1` for a fact; `order` is as the fact left it.
pub(crate) fn lifecycle(events: &mut NewEvents, order: &Order, event: &OrderEvent, previous: Option<OrderStatus>) {
    let aggregate = aggregate(order, order.version);
    match event {
        OrderEvent::Created { checkout_id } => {
            let message = event!(OrderCreated, order,
                lines: present::lines(order),
                reservation_mode: present::reservation_mode(order.reservation_mode).into(),
                payment_mode: present::payment_mode(order.payment_mode).into(),
                create_time: Some(timestamp_to_proto(&order.create_time)),
                issued_coupon_id: present::issued_coupon_id(order),
                checkout_id: checkout_id.map(|id| id.to_string()).unwrap_or_default());
            events.append(&message, aggregate);
        }
        OrderEvent::Confirmed { line_discounts } => {
            let lines = if line_discounts.is_empty() { Vec::new() } else { present::lines(order) };
            let message = event!(OrderConfirmed, order,
                payment_mode: present::payment_mode(order.payment_mode).into(),
                discount: order.discount().as_ref().map(money_to_proto),
                lines: lines,
                payment_deadline: payment_deadline(order).as_ref().map(timestamp_to_proto));
            events.append(&message, aggregate);
        }
        OrderEvent::Paid { payment_id } => {
            let message = event!(OrderPaid, order,
                lines: present::lines(order),
                payment_id: payment_id.clone(),
                shipping_address: present::shipping_address(order));
            events.append(&message, aggregate);
        }
        OrderEvent::Preparing => events.append(&event!(OrderPreparing, order), aggregate),
        OrderEvent::Shipped => events.append(&event!(OrderShipped, order, lines: present::lines(order)), aggregate),
        OrderEvent::Delivered => events.append(&event!(OrderDelivered, order, lines: present::lines(order)), aggregate),
        OrderEvent::Cancelled { cause, reason, detail } => {
            let message = event!(OrderCancelled, order,
                lines: present::lines(order),
                cause: present::cancellation_cause(*cause).into(),
                status_reason: reason.clone(),
                status_detail: detail.clone(),
                previous_status: previous.map_or(proto::OrderStatus::Unspecified, present::status).into());
            events.append_because(&message, aggregate, reason);
        }
        OrderEvent::Rejected { reason, detail } => {
            let message = event!(OrderRejected, order,
                lines: present::lines(order),
                status_reason: reason.clone(),
                status_detail: detail.clone());
            events.append_because(&message, aggregate, reason);
        }
        OrderEvent::ModificationRequested { .. } | OrderEvent::Modified | OrderEvent::ModificationRejected { .. } => {
            modified(events, order, event);
        }
        OrderEvent::CompensationFailed { .. }
        | OrderEvent::CompensationRetried { .. }
        | OrderEvent::CompensationSettled { .. } => compensation(events, order, event),
    }
}

/// The events of an order whose lines somebody asked to be changed.
fn modified(events: &mut NewEvents, order: &Order, event: &OrderEvent) {
    let aggregate = aggregate(order, order.version);
    match event {
        OrderEvent::ModificationRequested { lines, total } => {
            let message = event!(OrderModificationRequested, order,
                requested_lines: present::order_lines(lines),
                requested_total: Some(money_to_proto(total)));
            events.append(&message, aggregate);
        }
        OrderEvent::Modified => events.append(&event!(OrderModified, order, lines: present::lines(order)), aggregate),
        OrderEvent::ModificationRejected { reason, detail } => {
            let message = event!(OrderModificationRejected, order, reason: reason.clone(), detail: detail.clone());
            events.append_because(&message, aggregate, reason);
        }
        _ => {}
    }
}

/// The events of an order whose compensation failed.
fn compensation(events: &mut NewEvents, order: &Order, event: &OrderEvent) {
    let aggregate = aggregate(order, order.version);
    match event {
        OrderEvent::CompensationFailed { stock_open, payment_open, coupon_open, undo_attempts } => {
            let message = event!(OrderCompensationFailed, order,
                stock_open: *stock_open,
                payment_open: *payment_open,
                coupon_open: *coupon_open,
                undo_attempts: i32::try_from(*undo_attempts).unwrap_or(i32::MAX));
            events.append(&message, aggregate);
        }
        OrderEvent::CompensationRetried { operator, reason } => {
            let message = event!(OrderCompensationRetried, order, operator: operator.clone(), reason: reason.clone());
            events.append(&message, aggregate);
        }
        OrderEvent::CompensationSettled { operator, reason, stock, payment, coupon } => {
            let message = event!(OrderCompensationSettled, order,
                operator: operator.clone(),
                reason: reason.clone(),
                stock_settled: *stock,
                payment_settled: *payment,
                coupon_settled: *coupon);
            events.append(&message, aggregate);
        }
        _ => {}
    }
}

/// Until when a caller has to pay an order that is just CONFIRMED; none if nobody has to.
fn payment_deadline(order: &Order) -> Option<Timestamp> {
    let is_free = order.total.is_some_and(|total| total.is_zero());
    order.payment_window.filter(|_| !is_free).map(|window| order.update_time + window)
}

/// Requests are streams of their own in the topics of others: their versions count the requests.
fn aggregate(order: &Order, version: i64) -> Aggregate {
    Aggregate::new("order", order.order_id, version)
}

/// Requests of the inventory service that it holds the lines that are asked for, in place of the order's.
pub(crate) fn modification(events: &mut NewEvents, record: &Record) {
    let (order, saga) = (&record.order, &record.saga);
    let lines = order.modification.as_ref().map_or(&[][..], |modification| modification.lines.as_slice());
    let message = inventory::StockModificationRequested {
        order_id: order.order_id.to_string(),
        lines: lines.iter().map(present::stock_line).collect(),
        order_version: saga.modifying.map_or(0, |modifying| modifying.order_version),
    };
    events.append(&message, aggregate(order, saga.releases));
}

/// Requests of the payment service that it takes no payment of the order as it stands.
pub(crate) fn hold(events: &mut NewEvents, record: &Record) {
    let (order, saga) = (&record.order, &record.saga);
    let message = payment::PaymentHoldRequested {
        order_id: order.order_id.to_string(),
        user_id: order.customer_id.to_string(),
        amount: order.total.as_ref().map(money_to_proto),
        order_version: saga.modifying.map_or(0, |modifying| modifying.order_version),
    };
    events.append(&message, aggregate(order, saga.refunds));
}

/// Requests of the inventory service that it gives the stock back.
pub(crate) fn release(events: &mut NewEvents, record: &Record, cause: CancellationCause, answer_again: bool) {
    let reason = match cause {
        CancellationCause::PaymentFailed => inventory::StockReleaseReason::PaymentFailed,
        CancellationCause::StepTimedOut => inventory::StockReleaseReason::StepTimedOut,
        CancellationCause::ReservationExpired => inventory::StockReleaseReason::Expired,
        CancellationCause::Customer | CancellationCause::Operator => inventory::StockReleaseReason::OrderCancelled,
    };
    let message = inventory::StockReleaseRequested {
        order_id: record.order.order_id.to_string(),
        reason: reason.into(),
        order_version: record.order.version,
        answer_again,
    };
    events.append(&message, aggregate(&record.order, record.saga.releases));
}

/// Requests of the payment service that it gives the money back, or never takes it.
pub(crate) fn refund(events: &mut NewEvents, record: &Record, cause: CancellationCause, answer_again: bool) {
    let reason = match cause {
        CancellationCause::StepTimedOut => payment::PaymentRefundReason::StepTimedOut,
        _ => payment::PaymentRefundReason::OrderCancelled,
    };
    let message = payment::PaymentRefundRequested {
        order_id: record.order.order_id.to_string(),
        user_id: record.order.customer_id.to_string(),
        amount: record.order.total.as_ref().map(money_to_proto),
        reason: reason.into(),
        order_version: record.order.version,
        answer_again,
    };
    events.append(&message, aggregate(&record.order, record.saga.refunds));
}

/// Requests of the promotion service. They have one stream, because one of them follows the other.
pub(crate) fn coupon(events: &mut NewEvents, record: &Record, event: &Event) {
    let order = &record.order;
    let (order_id, user_id) = (order.order_id.to_string(), order.customer_id.to_string());
    let issued_coupon_id = present::issued_coupon_id(order);
    let aggregate = aggregate(order, record.saga.coupon_requests).keyed_by(&order.customer_id);
    match event {
        Event::CouponHoldRequested => {
            let lines = present::coupon_lines(order);
            events.append(&promotion::CouponHoldRequested { order_id, user_id, issued_coupon_id, lines }, aggregate);
        }
        Event::CouponRedeemRequested => {
            events.append(&promotion::CouponRedeemRequested { order_id, user_id, issued_coupon_id }, aggregate);
        }
        Event::CouponReleaseRequested { answer_again } => {
            let answer_again = *answer_again;
            let message = promotion::CouponReleaseRequested { order_id, user_id, issued_coupon_id, answer_again };
            events.append(&message, aggregate);
        }
        _ => {}
    }
}
