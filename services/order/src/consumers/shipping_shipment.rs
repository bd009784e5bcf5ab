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
    let shipment = event.shipment.unwrap_or_default();
    // A reason of a newer version: the parcel is not sent all the same.
    let mut causes = (1..).map_while(CancellationCause::from_number);
    let cause = causes.find(|cause| cause.as_str() == shipment.cancel_reason).unwrap_or(CancellationCause::Operator);
    let detail = shipment.cancel_detail.clone();
    fact(Some(&shipment), ShipmentFact::Cancelled { cause, detail })
}

fn fact(shipment: Option<&Shipment>, fact: ShipmentFact) -> Result<Command, ValueError> {
    let shipment = shipment.ok_or_else(|| ValueError::new("SHIPMENT_MISSING", "no shipment"))?;
    Ok(Command::shipment(parse_uuid(&shipment.order_id, "ORDER_ID_MALFORMED")?, fact))
}
