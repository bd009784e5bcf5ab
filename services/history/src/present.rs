//! From the domain to protobuf.

use openorder_proto::{history::v1 as proto, order::v1::OrderLine};
use openorder_rpc::{money_to_proto, timestamp_to_proto};
use openorder_types::{Money, Timestamp};
use uuid::Uuid;

use crate::{
    domain::{
        CarrierEvent, Compensation, Line, Message, OrderPart, PaymentPart, Rebuild, ShipmentPart, Source, Stamp, View,
    },
    persistence,
};

/// A document as a caller sees it: who of the operators did what is no customer's business.
pub(crate) fn order_view(order_id: Uuid, view: &View, for_staff: bool) -> proto::OrderView {
    let order = &view.order;
    let (created, ending) = (order.created.value(), order.ending.value());
    let (stamp, head) = order.head.get().unzip();
    proto::OrderView {
        order_id: order_id.to_string(),
        customer_id: created.map(|created| created.customer_id.to_string()).unwrap_or_default(),
        status: head.map_or(0, |head| head.status),
        status_reason: view.status_reason().to_owned(),
        status_detail: ending.map(|ending| ending.detail.clone()).unwrap_or_default(),
        cancellation_cause: ending.map_or(0, |ending| ending.cause),
        lines: order.lines.value().into_iter().flatten().map(line).collect(),
        total: head.and_then(|head| head.total).as_ref().map(money_to_proto),
        order_version: view.order_version(),
        create_time: created.map(|created| timestamp_to_proto(&created.create_time)),
        update_time: stamp.and_then(made_at),
        status_times: status_times(order),
        trace_id: created.map(|created| created.trace_id.clone()).unwrap_or_default(),
        coupon: coupon(order),
        payment: payment(&view.payment),
        shipment: shipment(&view.shipment),
        messages: view.messages.iter().map(message).collect(),
        compensations: order.compensations.values().map(|(at, step)| compensation(*at, step, for_staff)).collect(),
    }
}

/// When the event was made, if it says so.
fn made_at(stamp: Stamp) -> Option<prost_types::Timestamp> {
    let time = Timestamp::from_timestamp_millis(stamp.at_ms).filter(|_| stamp.at_ms > 0)?;
    Some(timestamp_to_proto(&time))
}

fn amount(amount: Option<&Money>) -> Option<openorder_proto::google::r#type::Money> {
    amount.map(money_to_proto)
}

fn line(line: &Line) -> OrderLine {
    OrderLine {
        sku: line.sku.clone(),
        display_name: line.display_name.clone(),
        quantity: line.quantity,
        unit_price: amount(line.unit_price.as_ref()),
        line_total: amount(line.line_total.as_ref()),
        discount: amount(line.discount.as_ref()),
        product_number: line.product_number,
    }
}

fn status_times(order: &OrderPart) -> Vec<proto::StatusTime> {
    let mut reached: Vec<(Stamp, i32)> = order.reached.iter().map(|(status, stamp)| (*stamp, *status)).collect();
    reached.sort_unstable();
    reached.into_iter().map(|(stamp, status)| proto::StatusTime { status, time: made_at(stamp) }).collect()
}

fn coupon(order: &OrderPart) -> Option<proto::CouponView> {
    let created = order.created.value().filter(|created| !created.issued_coupon_id.is_empty())?;
    Some(proto::CouponView {
        issued_coupon_id: created.issued_coupon_id.clone(),
        discount: amount(order.discount.value()),
    })
}

fn payment(part: &PaymentPart) -> Option<proto::PaymentView> {
    let (head_at, head) = part.head.get()?;
    let failure = part.failed.value();
    let refund = part.refunded.get().map(|(at, refund)| proto::RefundView {
        amount: amount(refund.amount.as_ref()),
        reason: refund.reason,
        time: made_at(at),
    });
    Some(proto::PaymentView {
        payment_id: head.payment_id.clone(),
        state: head.state,
        method: part.completed.value().cloned().unwrap_or_default(),
        amount: part.amount.value().and_then(|told| amount(told.as_ref())),
        failure_reason: failure.map_or(0, |failure| failure.reason),
        failure_detail: failure.map(|failure| failure.detail.clone()).unwrap_or_default(),
        complete_time: part.completed.get().and_then(|(at, _)| made_at(at)),
        fail_time: part.failed.get().and_then(|(at, _)| made_at(at)),
        refund,
        version: head_at.version,
    })
}

fn shipment(part: &ShipmentPart) -> Option<proto::ShipmentView> {
    let (at, parcel) = part.parcel.get()?;
    let mut events: Vec<(&Uuid, &CarrierEvent)> = part.events.iter().collect();
    // The ids break ties: they are in the order of recording.
    events.sort_by_key(|(id, event)| (event.event_time, **id));
    let time = |time: &Option<Timestamp>| time.as_ref().map(timestamp_to_proto);
    Some(proto::ShipmentView {
        shipment_id: parcel.shipment_id.clone(),
        state: parcel.state,
        carrier: parcel.carrier.clone(),
        tracking_number: parcel.tracking_number.clone(),
        cancel_reason: parcel.cancel_reason.clone(),
        create_time: time(&parcel.create_time),
        ship_time: time(&parcel.ship_time),
        deliver_time: time(&parcel.deliver_time),
        events: events.into_iter().map(|(id, event)| persistence::carrier_event(*id, event)).collect(),
        version: at.version,
    })
}

fn message((id, at, message): (Uuid, Stamp, &Message)) -> proto::MessageView {
    proto::MessageView {
        notification_id: id.to_string(),
        kind: message.kind,
        channel: message.channel,
        status: message.status,
        attempts: message.attempts,
        failure_reason: message.failure_reason.clone(),
        time: made_at(at),
        version: at.version,
    }
}

fn compensation(at: Stamp, step: &Compensation, for_staff: bool) -> proto::CompensationView {
    proto::CompensationView {
        step: step.step,
        time: made_at(at),
        order_version: at.version,
        stock: step.stock,
        payment: step.payment,
        coupon: step.coupon,
        undo_attempts: step.undo_attempts,
        reason: step.reason.clone(),
        operator: if for_staff { step.operator.clone() } else { String::new() },
    }
}

pub(crate) fn rebuild(rebuild: &Rebuild, sources: &[Source]) -> proto::Rebuild {
    let source = |source: &Source| proto::RebuildSource {
        service: source.service.clone(),
        events_total: source.events_total,
        events_read: source.events_read,
        events_skipped: source.events_skipped,
        is_read: source.is_read,
        kept_from_time: source.kept_from.as_ref().map(timestamp_to_proto),
    };
    proto::Rebuild {
        rebuild_id: rebuild.rebuild_id.to_string(),
        state: i32::from(rebuild.state.number()),
        requested_by: rebuild.requested_by.clone(),
        reason: rebuild.reason.clone(),
        create_time: Some(timestamp_to_proto(&rebuild.create_time)),
        end_time: rebuild.end_time.as_ref().map(timestamp_to_proto),
        detail: rebuild.detail.clone(),
        sources: sources.iter().map(source).collect(),
        taken_over_count: rebuild.taken_over_count,
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::assert_numbered_as_in_the_contract;

    use super::*;
    use crate::domain::RebuildState;

    #[test]
    fn stored_numbers_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            RebuildState = proto::RebuildState, "REBUILD_STATE";
        }
    }

    #[test]
    fn an_operator_is_shown_to_staff_alone() {
        let step = Compensation {
            step: 2,
            stock: false,
            payment: false,
            coupon: false,
            undo_attempts: 0,
            reason: "again".to_owned(),
            operator: "root".to_owned(),
        };
        let shown = |for_staff| compensation(Stamp::default(), &step, for_staff).operator;
        assert_eq!((shown(true), shown(false)), ("root".to_owned(), String::new()));
    }

    #[test]
    fn the_carriers_events_are_in_the_order_of_their_own_time() {
        let event = |second| CarrierEvent {
            kind: 3,
            ordinal: 0,
            event_time: Timestamp::from_timestamp(second, 0),
            location: second.to_string(),
            carrier_event_id: String::new(),
            create_time: None,
        };
        let parcel = crate::domain::Parcel {
            shipment_id: String::new(),
            state: 2,
            carrier: String::new(),
            tracking_number: String::new(),
            cancel_reason: String::new(),
            create_time: None,
            ship_time: None,
            deliver_time: None,
        };
        let part = ShipmentPart {
            parcel: crate::domain::Latest::said(Stamp { version: 4, at_ms: 0 }, parcel),
            events: [(Uuid::from_u128(1), event(9)), (Uuid::from_u128(2), event(3))].into(),
        };
        let shown = shipment(&part).unwrap();
        assert_eq!(shown.events.iter().map(|event| event.location.as_str()).collect::<Vec<_>>(), ["3", "9"]);
        assert_eq!(shown.version, 4);
    }
}
