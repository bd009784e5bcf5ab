//! `shipping.shipment.v1`: where the order's parcel is. All else is the shipping service's own.

use openorder_proto::shipping::v1::{Shipment, ShipmentCancelled, ShipmentCreated, ShipmentDelivered, ShipmentShipped};
use openorder_types::{ValueError, parse_uuid};

use crate::{
    application::Command,
    domain::{CancellationCause, ShipmentFact},
};

pub(super) fn created(event: ShipmentCreated) -> Result<Command, ValueError> {
    fact(event.shipment.as_ref(), ShipmentFact::Created)
}

pub(super) fn shipped(event: ShipmentShipped) -> Result<Command, ValueError> {
    fact(event.shipment.as_ref(), ShipmentFact::Shipped)
}

pub(super) fn delivered(event: ShipmentDelivered) -> Result<Command, ValueError> {
    fact(event.shipment.as_ref(), ShipmentFact::Delivered)
}

pub(super) fn cancelled(event: ShipmentCancelled) -> Result<Command, ValueError> {
    let reason = event.shipment.as_ref().map_or("", |shipment| shipment.cancel_reason.as_str());
    // A reason of a newer version: the parcel is not sent all the same.
    let mut causes = (1..).map_while(CancellationCause::from_number);
    let cause = causes.find(|cause| cause.as_str() == reason).unwrap_or(CancellationCause::Operator);
    fact(event.shipment.as_ref(), ShipmentFact::Cancelled { cause, detail: String::new() })
}

fn fact(shipment: Option<&Shipment>, fact: ShipmentFact) -> Result<Command, ValueError> {
    let shipment = shipment.ok_or_else(|| ValueError::new("SHIPMENT_MISSING", "no shipment"))?;
    Ok(Command::shipment(parse_uuid(&shipment.order_id, "ORDER_ID_MALFORMED")?, fact))
}
