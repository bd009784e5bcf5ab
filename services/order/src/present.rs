//! From the domain to protobuf.

use openorder_proto::order::v1 as proto;
use openorder_rpc::{money_to_proto, timestamp_to_proto};

use crate::{
    domain::{CancellationCause, Order, OrderStatus, PaymentMode, ReservationMode},
    persistence::Record,
    saga::SagaTimeouts,
};

pub(crate) fn order(record: &Record) -> proto::Order {
    let order = &record.order;
    proto::Order {
        order_id: order.order_id.to_string(),
        customer_id: order.customer_id.to_string(),
        status: status(order.status).into(),
        lines: lines(order),
        total: order.total.as_ref().map(money_to_proto),
        version: order.version,
        create_time: Some(timestamp_to_proto(&order.create_time)),
        update_time: Some(timestamp_to_proto(&order.update_time)),
        status_reason: order.status_reason.clone(),
        status_detail: order.status_detail.clone(),
        trace_id: record.trace.trace_id(),
        reservation_mode: reservation_mode(order.reservation_mode).into(),
        payment_mode: payment_mode(order.payment_mode).into(),
        customer_email: email(order),
    }
}

/// The saga as operators see it.
pub(crate) fn saga(record: &Record, timeouts: &SagaTimeouts) -> proto::Saga {
    let (order, saga) = (&record.order, &record.saga);
    let (cause, reason) = saga.pending.clone().map_or((proto::CancellationCause::Unspecified, String::new()), {
        |(cause, reason)| (cancellation_cause(cause), reason)
    });
    proto::Saga {
        order_id: order.order_id.to_string(),
        // Numbered as in the contract.
        step: saga.step as i32,
        stock: saga.stock as i32,
        payment: saga.payment as i32,
        undo_attempts: i32::try_from(saga.undo_attempts).unwrap_or(i32::MAX),
        step_time: Some(timestamp_to_proto(&saga.step_time)),
        deadline: saga.deadline(timeouts).as_ref().map(timestamp_to_proto),
        order_status: status(order.status).into(),
        customer_id: order.customer_id.to_string(),
        total: order.total.as_ref().map(money_to_proto),
        pending_cause: cause.into(),
        pending_reason: reason,
        order_create_time: Some(timestamp_to_proto(&order.create_time)),
        trace_id: record.trace.trace_id(),
    }
}

pub(crate) fn lines(order: &Order) -> Vec<proto::OrderLine> {
    let lines = order.lines.iter().map(|line| proto::OrderLine {
        sku: line.sku.to_string(),
        display_name: line.display_name.clone(),
        // At most a million.
        quantity: i32::try_from(line.quantity.get()).unwrap_or(i32::MAX),
        unit_price: line.price.as_ref().map(|(unit, _)| money_to_proto(unit)),
        line_total: line.price.as_ref().map(|(_, total)| money_to_proto(total)),
        product_number: line.product_number,
    });
    lines.collect()
}

pub(crate) fn email(order: &Order) -> String {
    order.customer_email.as_ref().map(|email| email.as_str().to_owned()).unwrap_or_default()
}

pub(crate) fn status(status: OrderStatus) -> proto::OrderStatus {
    match status {
        OrderStatus::Pending => proto::OrderStatus::Pending,
        OrderStatus::Confirmed => proto::OrderStatus::Confirmed,
        OrderStatus::Paid => proto::OrderStatus::Paid,
        OrderStatus::Preparing => proto::OrderStatus::Preparing,
        OrderStatus::Shipped => proto::OrderStatus::Shipped,
        OrderStatus::Delivered => proto::OrderStatus::Delivered,
        OrderStatus::Cancelled => proto::OrderStatus::Cancelled,
        OrderStatus::Rejected => proto::OrderStatus::Rejected,
    }
}

pub(crate) fn reservation_mode(mode: ReservationMode) -> proto::ReservationMode {
    match mode {
        ReservationMode::Immediate => proto::ReservationMode::Immediate,
        ReservationMode::Deferred => proto::ReservationMode::Deferred,
    }
}

pub(crate) fn payment_mode(mode: PaymentMode) -> proto::PaymentMode {
    match mode {
        PaymentMode::Automatic => proto::PaymentMode::Automatic,
        PaymentMode::Manual => proto::PaymentMode::Manual,
    }
}

pub(crate) fn cancellation_cause(cause: CancellationCause) -> proto::CancellationCause {
    match cause {
        CancellationCause::Customer => proto::CancellationCause::Customer,
        CancellationCause::Operator => proto::CancellationCause::Operator,
        CancellationCause::PaymentFailed => proto::CancellationCause::PaymentFailed,
        CancellationCause::StepTimedOut => proto::CancellationCause::StepTimedOut,
        CancellationCause::ReservationExpired => proto::CancellationCause::ReservationExpired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saga::{Participant, Step};

    #[test]
    fn steps_and_parts_are_numbered_as_in_the_contract() {
        for number in 0..20_i16 {
            let (step, in_contract) = (Step::from_number(number), proto::SagaStep::try_from(i32::from(number)));
            assert_eq!(step.is_some(), in_contract.is_ok_and(|step| step != proto::SagaStep::Unspecified), "{number}");
            if let (Some(step), Ok(in_contract)) = (step, in_contract) {
                assert_eq!(format!("SAGA_STEP_{}", step.as_str()), in_contract.as_str_name());
            }
            let (part, in_contract) = (Participant::from_number(number), proto::SagaPart::try_from(i32::from(number)));
            assert_eq!(part.is_some(), in_contract.is_ok_and(|part| part != proto::SagaPart::Unspecified), "{number}");
            if let (Some(part), Ok(in_contract)) = (part, in_contract) {
                assert_eq!(format!("SAGA_PART_{part:?}").to_uppercase(), in_contract.as_str_name());
            }
        }
    }
}
