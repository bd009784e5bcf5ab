//! From the facts of the domain to protobuf events.

use openorder_proto::shipping::v1 as proto;
use openorder_service::{Aggregate, NewEvents};

use crate::{
    domain::{CancelReason, Event, Shipment, ShipmentState},
    present,
};

/// Adds the message of an event; `shipment` is as the event left it.
pub(crate) fn publish(events: &mut NewEvents, event: &Event, shipment: &Shipment) {
    let aggregate = Aggregate::new("shipment", shipment.order_id, shipment.version);
    let shown = Some(present::shipment(shipment));
    match event {
        Event::Made(made) if made.state == ShipmentState::Cancelled => cancelled(events, shipment),
        Event::Made(_) => events.append(&proto::ShipmentCreated { shipment: shown }, aggregate),
        Event::Updated { .. } => events.append(&proto::ShipmentUpdated { shipment: shown }, aggregate),
        Event::Progressed { event, .. } => {
            let event = Some(present::carrier_event(event));
            events.append(&proto::ShipmentProgressed { shipment: shown, event }, aggregate);
        }
        Event::Shipped { .. } => events.append(&proto::ShipmentShipped { shipment: shown }, aggregate),
        Event::Delivered { .. } => events.append(&proto::ShipmentDelivered { shipment: shown }, aggregate),
        Event::Cancelled { .. } => cancelled(events, shipment),
    }
}

fn cancelled(events: &mut NewEvents, shipment: &Shipment) {
    let aggregate = Aggregate::new("shipment", shipment.order_id, shipment.version);
    let reason = shipment.cancel_reason.map_or("", CancelReason::as_str);
    let message = proto::ShipmentCancelled { shipment: Some(present::shipment(shipment)) };
    events.append_because(&message, aggregate, reason);
}
