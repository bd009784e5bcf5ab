//! `shipping.shipment.v1`: the parcel. Each event has the whole shipment; its address is left where it is.

use openorder_proto::shipping::v1::{
    Shipment, ShipmentCancelled, ShipmentCreated, ShipmentDelivered, ShipmentEvent, ShipmentProgressed,
    ShipmentShipped, ShipmentUpdated,
};
use openorder_types::{ValueError, parse_uuid};

use crate::{
    consumers::{time, version},
    domain::{CarrierEvent, Fact, Parcel, Said, ShipmentSaid},
};

pub(super) fn created(event: ShipmentCreated) -> Result<Fact, ValueError> {
    said(event.shipment, None)
}

pub(super) fn updated(event: ShipmentUpdated) -> Result<Fact, ValueError> {
    said(event.shipment, None)
}

pub(super) fn progressed(event: ShipmentProgressed) -> Result<Fact, ValueError> {
    said(event.shipment, event.event)
}

pub(super) fn shipped(event: ShipmentShipped) -> Result<Fact, ValueError> {
    said(event.shipment, None)
}

pub(super) fn delivered(event: ShipmentDelivered) -> Result<Fact, ValueError> {
    said(event.shipment, None)
}

pub(super) fn cancelled(event: ShipmentCancelled) -> Result<Fact, ValueError> {
    said(event.shipment, None)
}

fn said(shipment: Option<Shipment>, event: Option<ShipmentEvent>) -> Result<Fact, ValueError> {
    let shipment = shipment.ok_or_else(|| ValueError::new("SHIPMENT_MISSING", "no shipment"))?;
    let order_id = parse_uuid(&shipment.order_id, "ORDER_ID_MALFORMED")?;
    let version = version(shipment.version)?;
    let carrier_event = event.map(carrier_event).transpose()?;
    let parcel = Parcel {
        state: shipment.state,
        create_time: time(shipment.create_time.as_ref()),
        ship_time: time(shipment.ship_time.as_ref()),
        deliver_time: time(shipment.deliver_time.as_ref()),
        shipment_id: shipment.shipment_id,
        carrier: shipment.carrier,
        tracking_number: shipment.tracking_number,
        cancel_reason: shipment.cancel_reason,
    };
    Ok(Fact::new(order_id, version, Said::Shipment(Box::new(ShipmentSaid { parcel, carrier_event }))))
}

fn carrier_event(event: ShipmentEvent) -> Result<(uuid::Uuid, CarrierEvent), ValueError> {
    let id = parse_uuid(&event.shipment_event_id, "SHIPMENT_EVENT_ID_MALFORMED")?;
    let event = CarrierEvent {
        kind: event.r#type,
        ordinal: event.ordinal,
        event_time: time(event.event_time.as_ref()),
        create_time: time(event.create_time.as_ref()),
        location: event.location,
        carrier_event_id: event.carrier_event_id,
    };
    Ok((id, event))
}
