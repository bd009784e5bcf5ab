//! The facts and requests that a batch brings about, as protobuf events.

use openorder_messaging::NewEvent;
use openorder_proto::{EventMessage, inventory::v1 as inventory, order::v1 as proto, payment::v1 as payment};
use openorder_rpc::money_to_proto;

use crate::{
    domain::{CancellationCause, Order, OrderEvent, OrderStatus},
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

/// The event of `order.lifecycle.v1` for a fact; `order` is as it stands after it.
pub(crate) fn lifecycle(
    order: &Order,
    event: &OrderEvent,
    previous: Option<OrderStatus>,
    command_index: usize,
) -> NewEvent {
    match event {
        OrderEvent::Created => {
            let message = event!(OrderCreated, order,
                lines: present::lines(order),
                reservation_mode: present::reservation_mode(order.reservation_mode).into(),
                payment_mode: present::payment_mode(order.payment_mode).into(),
                create_time: Some(openorder_rpc::timestamp_to_proto(&order.create_time)));
            of(order, &message, command_index)
        }
        OrderEvent::Confirmed => {
            let mode = present::payment_mode(order.payment_mode);
            of(order, &event!(OrderConfirmed, order, payment_mode: mode.into()), command_index)
        }
        OrderEvent::Paid { payment_id } => {
            let message = event!(OrderPaid, order, lines: present::lines(order), payment_id: payment_id.clone());
            of(order, &message, command_index)
        }
        OrderEvent::Preparing => of(order, &event!(OrderPreparing, order), command_index),
        OrderEvent::Shipped => of(order, &event!(OrderShipped, order, lines: present::lines(order)), command_index),
        OrderEvent::Delivered => of(order, &event!(OrderDelivered, order, lines: present::lines(order)), command_index),
        OrderEvent::Cancelled { cause, reason, detail } => {
            let message = event!(OrderCancelled, order,
                lines: present::lines(order),
                cause: present::cancellation_cause(*cause).into(),
                status_reason: reason.clone(),
                status_detail: detail.clone(),
                previous_status: previous.map_or(proto::OrderStatus::Unspecified, present::status).into());
            of(order, &message, command_index)
        }
        OrderEvent::Rejected { reason, detail } => {
            let message = event!(OrderRejected, order,
                lines: present::lines(order),
                status_reason: reason.clone(),
                status_detail: detail.clone());
            of(order, &message, command_index)
        }
        OrderEvent::CompensationFailed { stock_open, payment_open, undo_attempts } => {
            let message = event!(OrderCompensationFailed, order,
                stock_open: *stock_open,
                payment_open: *payment_open,
                undo_attempts: i32::try_from(*undo_attempts).unwrap_or(i32::MAX));
            of(order, &message, command_index)
        }
        OrderEvent::CompensationRetried { operator, reason } => {
            let message = event!(OrderCompensationRetried, order, operator: operator.clone(), reason: reason.clone());
            of(order, &message, command_index)
        }
        OrderEvent::CompensationSettled { operator, reason, stock, payment } => {
            let message = event!(OrderCompensationSettled, order,
                operator: operator.clone(),
                reason: reason.clone(),
                stock_settled: *stock,
                payment_settled: *payment);
            of(order, &message, command_index)
        }
    }
}

fn of<M: EventMessage>(order: &Order, message: &M, command_index: usize) -> NewEvent {
    new(order, order.version, message, command_index)
}

fn new<M: EventMessage>(order: &Order, version: i64, message: &M, command_index: usize) -> NewEvent {
    let id = order.order_id.to_string();
    NewEvent {
        event_type: M::EVENT_TYPE,
        topic: M::TOPIC,
        key: id.clone(),
        aggregate_type: "order",
        aggregate_id: id,
        aggregate_version: version,
        payload: message.encode_to_vec(),
        cause: command_index,
    }
}

/// Asks the inventory service to give the stock back. These requests are a stream of their own in its topic.
pub(crate) fn release(record: &Record, cause: CancellationCause, answer_again: bool, command_index: usize) -> NewEvent {
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
    new(&record.order, record.saga.releases, &message, command_index)
}

/// Asks the payment service to give the money back, or never to take it.
pub(crate) fn refund(record: &Record, cause: CancellationCause, answer_again: bool, command_index: usize) -> NewEvent {
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
    new(&record.order, record.saga.refunds, &message, command_index)
}
