//! From the domain to protobuf.

use openorder_proto::{
    google::r#type::PostalAddress, inventory::v1::StockLine, order::v1 as proto, promotion::v1::CouponLine,
};
use openorder_rpc::{money_to_proto, timestamp_to_proto};
use openorder_types::Caller;

use crate::{
    domain::{
        CancellationCause, Modification, ModificationState, Order, OrderLine, OrderStatus, PaymentMode,
        ReservationMode, ShippingAddress,
    },
    persistence::Record,
    saga::SagaSettings,
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
        discount: order.discount().as_ref().map(money_to_proto),
        issued_coupon_id: issued_coupon_id(order),
        shipping_address: shipping_address(order),
        modification: order.modification.as_deref().map(modification),
        payment_deadline: record.state().payment_deadline(None).as_ref().map(timestamp_to_proto),
    }
}

/// The order as this caller sees it: one that only looks on sees no personal data.
pub(crate) fn order_for(caller: &Caller, record: &Record) -> proto::Order {
    let shown = order(record);
    if caller.may_act_for(&record.order.customer_id) {
        return shown;
    }
    proto::Order { customer_email: String::new(), shipping_address: None, ..shown }
}

/// The saga as operators see it.
pub(crate) fn saga(record: &Record, settings: &SagaSettings) -> proto::Saga {
    let (order, saga) = (&record.order, &record.saga);
    let (cause, reason) = saga.pending.clone().map_or((proto::CancellationCause::Unspecified, String::new()), {
        |(cause, reason)| (cancellation_cause(cause), reason)
    });
    proto::Saga {
        order_id: order.order_id.to_string(),
        // Numbered as in the contract.
        step: saga.step.number().into(),
        stock: saga.stock.number().into(),
        payment: saga.payment.number().into(),
        undo_attempts: i32::try_from(saga.undo_attempts).unwrap_or(i32::MAX),
        step_time: Some(timestamp_to_proto(&saga.step_time)),
        deadline: record.state().step_deadline(settings, None).as_ref().map(timestamp_to_proto),
        order_status: status(order.status).into(),
        customer_id: order.customer_id.to_string(),
        total: order.total.as_ref().map(money_to_proto),
        pending_cause: cause.into(),
        pending_reason: reason,
        order_create_time: Some(timestamp_to_proto(&order.create_time)),
        trace_id: record.trace.trace_id(),
        coupon: saga.coupon.number().into(),
        shipment: saga.shipment.number().into(),
    }
}

fn modification(modification: &Modification) -> proto::OrderModification {
    proto::OrderModification {
        state: modification_state(modification.state).into(),
        order_version: modification.order_version,
        lines: order_lines(&modification.lines),
        total: modification.total.as_ref().map(money_to_proto),
        reason: modification.reason.clone(),
        detail: modification.detail.clone(),
    }
}

pub(crate) fn lines(order: &Order) -> Vec<proto::OrderLine> {
    order_lines(&order.lines)
}

pub(crate) fn order_lines(lines: &[OrderLine]) -> Vec<proto::OrderLine> {
    let lines = lines.iter().map(|line| proto::OrderLine {
        sku: line.sku.to_string(),
        display_name: line.display_name.clone(),
        // At most a million.
        quantity: i32::try_from(line.quantity.get()).unwrap_or(i32::MAX),
        unit_price: line.price.as_ref().map(|(unit, _)| money_to_proto(unit)),
        line_total: line.price.as_ref().map(|(_, total)| money_to_proto(total)),
        product_number: line.product_number,
        discount: line.discount.as_ref().map(money_to_proto),
    });
    lines.collect()
}

/// A line as the inventory service looks at it.
pub(crate) fn stock_line(line: &OrderLine) -> StockLine {
    // At most a million.
    let quantity = i32::try_from(line.quantity.get()).unwrap_or(i32::MAX);
    StockLine { sku: line.sku.to_string(), quantity, product_number: line.product_number }
}

/// The lines as coupons look at them.
pub(crate) fn coupon_lines(order: &Order) -> Vec<CouponLine> {
    let lines = order.lines.iter().map(|line| CouponLine {
        sku: line.sku.to_string(),
        line_total: line.price.as_ref().map(|(_, total)| money_to_proto(total)),
    });
    lines.collect()
}

pub(crate) fn issued_coupon_id(order: &Order) -> String {
    order.issued_coupon_id.map(|id| id.to_string()).unwrap_or_default()
}

pub(crate) fn shipping_address(order: &Order) -> Option<PostalAddress> {
    order.shipping_address.as_deref().map(address)
}

pub(crate) fn address(address: &ShippingAddress) -> PostalAddress {
    let address = address.clone();
    PostalAddress {
        revision: 0,
        region_code: address.region_code,
        language_code: address.language_code,
        postal_code: address.postal_code,
        sorting_code: address.sorting_code,
        administrative_area: address.administrative_area,
        locality: address.locality,
        sublocality: address.sublocality,
        address_lines: address.address_lines,
        recipients: address.recipients,
        organization: address.organization,
    }
}

/// The fields that the contract has; a revision is not kept.
pub(crate) fn address_of(message: PostalAddress) -> ShippingAddress {
    ShippingAddress {
        region_code: message.region_code,
        language_code: message.language_code,
        postal_code: message.postal_code,
        sorting_code: message.sorting_code,
        administrative_area: message.administrative_area,
        locality: message.locality,
        sublocality: message.sublocality,
        address_lines: message.address_lines,
        recipients: message.recipients,
        organization: message.organization,
    }
}

pub(crate) fn email(order: &Order) -> String {
    order.customer_email.as_ref().map(|email| email.as_str().to_owned()).unwrap_or_default()
}

pub(crate) fn status(status: OrderStatus) -> proto::OrderStatus {
    proto::OrderStatus::try_from(i32::from(status.number())).unwrap_or_default()
}

pub(crate) fn modification_state(state: ModificationState) -> proto::OrderModificationState {
    proto::OrderModificationState::try_from(i32::from(state.number())).unwrap_or_default()
}

pub(crate) fn reservation_mode(mode: ReservationMode) -> proto::ReservationMode {
    proto::ReservationMode::try_from(i32::from(mode.number())).unwrap_or_default()
}

pub(crate) fn payment_mode(mode: PaymentMode) -> proto::PaymentMode {
    proto::PaymentMode::try_from(i32::from(mode.number())).unwrap_or_default()
}

pub(crate) fn cancellation_cause(cause: CancellationCause) -> proto::CancellationCause {
    proto::CancellationCause::try_from(i32::from(cause.number())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use openorder_types::assert_numbered_as_in_the_contract;

    use super::*;
    use crate::saga::{Participant, Step};

    #[test]
    fn stored_numbers_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            OrderStatus = proto::OrderStatus, "ORDER_STATUS";
            ReservationMode = proto::ReservationMode, "RESERVATION_MODE";
            PaymentMode = proto::PaymentMode, "PAYMENT_MODE";
            CancellationCause = proto::CancellationCause, "CANCELLATION_CAUSE";
            ModificationState = proto::OrderModificationState, "ORDER_MODIFICATION_STATE";
            Step = proto::SagaStep, "SAGA_STEP";
            Participant = proto::SagaPart, "SAGA_PART";
        }
    }
}
