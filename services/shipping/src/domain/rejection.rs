//! Every legitimate "no" of the service.

use openorder_types::{Rejection, Timestamp};

use crate::domain::{CarrierEvent, Shipment, ShipmentKey};

/// There is no such shipment, or the caller may not see it.
pub fn not_found(key: &ShipmentKey) -> Rejection {
    let rejection = Rejection::not_found("SHIPMENT_NOT_FOUND", "there is no such shipment");
    match key {
        ShipmentKey::Shipment(id) => rejection.with("shipment_id", id),
        ShipmentKey::Order(id) => rejection.with("order_id", id),
    }
}

/// The shipment has another version than the caller expects.
pub(super) fn version_mismatch(shipment: &Shipment) -> Rejection {
    Rejection::aborted("SHIPMENT_VERSION_MISMATCH", "the shipment has changed since it was read")
        .with("shipment_id", shipment.shipment_id)
        .with("version", shipment.version)
}

/// The parcel has left: its order cannot be called off any more.
pub fn already_shipped(shipment_id: &str, order_id: &str) -> Rejection {
    Rejection::failed_precondition("SHIPMENT_ALREADY_SHIPPED", "the parcel has left")
        .with("shipment_id", shipment_id)
        .with("order_id", order_id)
}

/// The order was called off before the parcel left.
pub(super) fn cancelled(shipment: &Shipment) -> Rejection {
    let text = "the order was called off: the parcel is not to leave";
    Rejection::failed_precondition("SHIPMENT_CANCELLED", text)
        .with("shipment_id", shipment.shipment_id)
        .with("order_id", shipment.order_id)
}

/// A parcel that has not left cannot have come.
pub(super) fn not_shipped(shipment: &Shipment) -> Rejection {
    Rejection::failed_precondition("SHIPMENT_NOT_SHIPPED", "the parcel has not left yet")
        .with("shipment_id", shipment.shipment_id)
        .with("order_id", shipment.order_id)
}

/// The carrier used the id for something else.
pub(super) fn carrier_event_id_reused(shipment: &Shipment, known: &CarrierEvent) -> Rejection {
    let text = "another event of this shipment has this carrier_event_id";
    Rejection::already_exists("CARRIER_EVENT_ID_REUSED", text)
        .with("shipment_id", shipment.shipment_id)
        .with("shipment_event_id", known.shipment_event_id)
}

/// What is said to have happened is too far ahead.
pub(super) fn event_in_future(latest: Timestamp) -> Rejection {
    let text = "event_time is further ahead than clocks and time zones explain";
    Rejection::failed_precondition("SHIPMENT_EVENT_IN_FUTURE", text).with("event_time_max", latest.to_rfc3339())
}

/// As many events are recorded as a shipment may have.
pub(super) fn event_limit_reached(shipment: &Shipment, limit: i32) -> Rejection {
    let text = "as many events are recorded as a shipment may have";
    Rejection::failed_precondition("SHIPMENT_EVENT_LIMIT_REACHED", text)
        .with("shipment_id", shipment.shipment_id)
        .with("events_max", limit)
}
