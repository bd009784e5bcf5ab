//! The stored form of a document: `openorder.internal.history.v1.StoredView`. Equal documents have equal bytes.

use openorder_proto::{
    google::r#type::Money as MoneyMessage,
    internal::history::v1::{
        Stamp as StoredStamp, StoredCompensation, StoredMessage, StoredOrderPart, StoredPaymentPart,
        StoredShipmentPart, StoredStatusTime, StoredView,
    },
    order::v1::OrderLine,
    shipping::v1::ShipmentEvent,
};
use openorder_rpc::{money_from_proto, money_to_proto, timestamp_to_proto};
use openorder_types::{Fault, Money, Timestamp, UserId};
use prost::Message as _;
use uuid::Uuid;

use crate::domain::{
    CarrierEvent, Compensation, Created, Ending, Failure, Head, Latest, Line, Message, OrderPart, Parcel, PaymentHead,
    PaymentPart, Refund, ShipmentPart, Stamp, View,
};

pub(super) fn encode(view: &View) -> Vec<u8> {
    let set = |part: bool| part.then_some(());
    StoredView {
        order: set(view.order != OrderPart::default()).map(|()| order(&view.order)),
        payment: set(view.payment != PaymentPart::default()).map(|()| payment(&view.payment)),
        shipment: set(view.shipment != ShipmentPart::default()).map(|()| shipment(&view.shipment)),
        messages: view.messages.iter().map(message).collect(),
    }
    .encode_to_vec()
}

/// # Errors
/// [`Fault`] of bytes that are no document.
pub(super) fn decode(bytes: &[u8]) -> Result<View, Fault> {
    let stored = StoredView::decode(bytes).map_err(Fault::permanent)?;
    let messages = stored.messages.into_iter().map(|stored| {
        let id = Uuid::try_parse(&stored.notification_id).map_err(Fault::permanent)?;
        let message = Message {
            kind: stored.kind,
            channel: stored.channel,
            status: stored.status,
            attempts: stored.attempts,
            failure_reason: stored.failure_reason,
        };
        Ok((id, stamp_of(stored.stamp.unwrap_or_default()), message))
    });
    Ok(View {
        order: stored.order.map(order_of).transpose()?.unwrap_or_default(),
        payment: stored.payment.map(payment_of).transpose()?.unwrap_or_default(),
        shipment: stored.shipment.map(shipment_of).transpose()?.unwrap_or_default(),
        messages: messages.collect::<Result<_, Fault>>()?,
    })
}

const fn stamp(stamp: Stamp) -> StoredStamp {
    StoredStamp { version: stamp.version, at_ms: stamp.at_ms }
}

const fn stamp_of(stored: StoredStamp) -> Stamp {
    Stamp { version: stored.version, at_ms: stored.at_ms }
}

/// A part and its stamp; nothing where no event told it.
fn parts<T: Clone>(latest: &Latest<T>) -> (Option<StoredStamp>, Option<T>) {
    latest.get().map(|(told, value)| (stamp(told), value.clone())).unzip()
}

/// The part back, if it has a stamp.
fn latest<T>(told: Option<StoredStamp>, value: impl FnOnce() -> Result<T, Fault>) -> Result<Latest<T>, Fault> {
    match told {
        Some(told) => Ok(Latest::said(stamp_of(told), value()?)),
        None => Ok(Latest::default()),
    }
}

fn order(part: &OrderPart) -> StoredOrderPart {
    let (created, made) = parts(&part.created);
    let (head, stands) = parts(&part.head);
    let (lines_told, lines) = parts(&part.lines);
    let (discount_told, discount) = parts(&part.discount);
    let (ended, ending) = parts(&part.ending);
    let mut stored = StoredOrderPart { created, head, lines_told, discount_told, ended, ..StoredOrderPart::default() };
    if let Some(made) = made {
        stored.customer_id = made.customer_id.to_string();
        stored.create_time_us = made.create_time.timestamp_micros();
        (stored.trace_id, stored.issued_coupon_id) = (made.trace_id, made.issued_coupon_id);
    }
    if let Some(stands) = stands {
        (stored.status, stored.total) = (stands.status, stands.total.as_ref().map(money_to_proto));
    }
    stored.lines = lines.iter().flatten().map(line).collect();
    stored.discount = discount.as_ref().map(money_to_proto);
    if let Some(ending) = ending {
        (stored.status_reason, stored.status_detail) = (ending.reason, ending.detail);
        stored.cancellation_cause = ending.cause;
    }
    let reached = part.reached.iter();
    stored.reached =
        reached.map(|(status, at)| StoredStatusTime { status: *status, stamp: Some(stamp(*at)) }).collect();
    stored.compensations = part.compensations.values().map(|(told, step)| compensation(*told, step)).collect();
    stored
}

fn order_of(stored: StoredOrderPart) -> Result<OrderPart, Fault> {
    let created = latest(stored.created, || {
        Ok(Created {
            customer_id: UserId::parse(&stored.customer_id).map_err(Fault::permanent)?,
            create_time: time_of(stored.create_time_us)?,
            trace_id: stored.trace_id,
            issued_coupon_id: stored.issued_coupon_id,
        })
    })?;
    let head = latest(stored.head, || Ok(Head { status: stored.status, total: money_of(stored.total)? }))?;
    let lines = latest(stored.lines_told, || stored.lines.into_iter().map(line_of).collect())?;
    let discount = latest(stored.discount_told, || {
        money_of(stored.discount)?.ok_or_else(|| Fault::permanent("a discount without an amount"))
    })?;
    let ending = latest(stored.ended, || {
        Ok(Ending { reason: stored.status_reason, detail: stored.status_detail, cause: stored.cancellation_cause })
    })?;
    let reached = stored.reached.into_iter().map(|one| (one.status, stamp_of(one.stamp.unwrap_or_default())));
    let compensations = stored.compensations.into_iter().map(|stored| {
        let told = stamp_of(stored.stamp.unwrap_or_default());
        (told.version, (told, compensation_of(stored)))
    });
    Ok(OrderPart {
        created,
        head,
        lines,
        discount,
        ending,
        reached: reached.collect(),
        compensations: compensations.collect(),
    })
}

fn line(line: &Line) -> OrderLine {
    OrderLine {
        sku: line.sku.clone(),
        display_name: line.display_name.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price.as_ref().map(money_to_proto),
        line_total: line.line_total.as_ref().map(money_to_proto),
        discount: line.discount.as_ref().map(money_to_proto),
        product_number: line.product_number,
    }
}

fn line_of(stored: OrderLine) -> Result<Line, Fault> {
    Ok(Line {
        sku: stored.sku,
        display_name: stored.display_name,
        quantity: stored.quantity,
        unit_price: money_of(stored.unit_price)?,
        line_total: money_of(stored.line_total)?,
        discount: money_of(stored.discount)?,
        product_number: stored.product_number,
    })
}

fn compensation(told: Stamp, step: &Compensation) -> StoredCompensation {
    StoredCompensation {
        stamp: Some(stamp(told)),
        step: step.step,
        stock: step.stock,
        payment: step.payment,
        coupon: step.coupon,
        undo_attempts: step.undo_attempts,
        reason: step.reason.clone(),
        operator: step.operator.clone(),
    }
}

fn compensation_of(stored: StoredCompensation) -> Compensation {
    Compensation {
        step: stored.step,
        stock: stored.stock,
        payment: stored.payment,
        coupon: stored.coupon,
        undo_attempts: stored.undo_attempts,
        reason: stored.reason,
        operator: stored.operator,
    }
}

fn payment(part: &PaymentPart) -> StoredPaymentPart {
    let (head, stands) = parts(&part.head);
    let (amount_told, amount) = parts(&part.amount);
    let (completed, method) = parts(&part.completed);
    let (failed, failure) = parts(&part.failed);
    let (refunded, refund) = parts(&part.refunded);
    let mut stored =
        StoredPaymentPart { head, amount_told, completed, failed, refunded, ..StoredPaymentPart::default() };
    if let Some(stands) = stands {
        (stored.payment_id, stored.state) = (stands.payment_id, stands.state);
    }
    stored.amount = amount.flatten().as_ref().map(money_to_proto);
    stored.method = method.unwrap_or_default();
    if let Some(failure) = failure {
        (stored.failure_reason, stored.failure_detail) = (failure.reason, failure.detail);
    }
    if let Some(refund) = refund {
        (stored.refund_amount, stored.refund_reason) = (refund.amount.as_ref().map(money_to_proto), refund.reason);
    }
    stored
}

fn payment_of(stored: StoredPaymentPart) -> Result<PaymentPart, Fault> {
    Ok(PaymentPart {
        head: latest(stored.head, || Ok(PaymentHead { payment_id: stored.payment_id, state: stored.state }))?,
        amount: latest(stored.amount_told, || money_of(stored.amount))?,
        completed: latest(stored.completed, || Ok(stored.method))?,
        failed: latest(stored.failed, || Ok(Failure { reason: stored.failure_reason, detail: stored.failure_detail }))?,
        refunded: latest(stored.refunded, || {
            Ok(Refund { amount: money_of(stored.refund_amount)?, reason: stored.refund_reason })
        })?,
    })
}

fn shipment(part: &ShipmentPart) -> StoredShipmentPart {
    let (head, parcel) = parts(&part.parcel);
    let events = part.events.iter().map(|(id, event)| carrier_event(*id, event)).collect();
    let Some(parcel) = parcel else { return StoredShipmentPart { head, events, ..StoredShipmentPart::default() } };
    let micros = |time: Option<Timestamp>| time.map(|time| time.timestamp_micros());
    StoredShipmentPart {
        head,
        shipment_id: parcel.shipment_id,
        state: parcel.state,
        carrier: parcel.carrier,
        tracking_number: parcel.tracking_number,
        cancel_reason: parcel.cancel_reason,
        create_time_us: micros(parcel.create_time),
        ship_time_us: micros(parcel.ship_time),
        deliver_time_us: micros(parcel.deliver_time),
        events,
    }
}

fn shipment_of(stored: StoredShipmentPart) -> Result<ShipmentPart, Fault> {
    let parcel = latest(stored.head, || {
        Ok(Parcel {
            shipment_id: stored.shipment_id,
            state: stored.state,
            carrier: stored.carrier,
            tracking_number: stored.tracking_number,
            cancel_reason: stored.cancel_reason,
            create_time: stored.create_time_us.map(time_of).transpose()?,
            ship_time: stored.ship_time_us.map(time_of).transpose()?,
            deliver_time: stored.deliver_time_us.map(time_of).transpose()?,
        })
    })?;
    let events = stored.events.into_iter().map(|event| {
        let id = Uuid::try_parse(&event.shipment_event_id).map_err(Fault::permanent)?;
        Ok((id, carrier_event_of(event)))
    });
    Ok(ShipmentPart { parcel, events: events.collect::<Result<_, Fault>>()? })
}

/// An event of the carrier, as it is stored and shown.
pub(crate) fn carrier_event(id: Uuid, event: &CarrierEvent) -> ShipmentEvent {
    ShipmentEvent {
        shipment_event_id: id.to_string(),
        r#type: event.kind,
        event_time: event.event_time.as_ref().map(timestamp_to_proto),
        location: event.location.clone(),
        carrier_event_id: event.carrier_event_id.clone(),
        create_time: event.create_time.as_ref().map(timestamp_to_proto),
        ordinal: event.ordinal,
    }
}

fn carrier_event_of(stored: ShipmentEvent) -> CarrierEvent {
    let time = |message: Option<prost_types::Timestamp>| {
        let message = message?;
        Timestamp::from_timestamp(message.seconds, u32::try_from(message.nanos).ok()?)
    };
    CarrierEvent {
        kind: stored.r#type,
        ordinal: stored.ordinal,
        event_time: time(stored.event_time),
        create_time: time(stored.create_time),
        location: stored.location,
        carrier_event_id: stored.carrier_event_id,
    }
}

fn message((id, told, message): (Uuid, Stamp, &Message)) -> StoredMessage {
    StoredMessage {
        notification_id: id.to_string(),
        stamp: Some(stamp(told)),
        kind: message.kind,
        channel: message.channel,
        status: message.status,
        attempts: message.attempts,
        failure_reason: message.failure_reason.clone(),
    }
}

fn money_of(stored: Option<MoneyMessage>) -> Result<Option<Money>, Fault> {
    stored.as_ref().map(money_from_proto).transpose().map_err(Fault::permanent)
}

fn time_of(micros: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_timestamp_micros(micros).ok_or_else(|| Fault::permanent(format!("{micros} is no time")))
}
