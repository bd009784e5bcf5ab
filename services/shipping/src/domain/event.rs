//! Facts that the rules of parcels decide; all are published, each is one version of its shipment.

use openorder_types::Timestamp;
use uuid::Uuid;

use crate::domain::{CancelReason, Carrier, CarrierEvent, Shipment, TrackingNumber};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a shipment: a parcel to be made ready, or one that stands for none, because its order was called off
    /// before.
    Made(Box<Shipment>),
    /// Carrier and tracking number are these now.
    Updated { order_id: Uuid, carrier: Option<Carrier>, tracking_number: Option<TrackingNumber>, time: Timestamp },
    /// An event of the carrier was recorded.
    Progressed { order_id: Uuid, event: CarrierEvent },
    /// The carrier has the parcel.
    Shipped { order_id: Uuid, ship_time: Timestamp, time: Timestamp },
    /// The customer has the parcel.
    Delivered { order_id: Uuid, deliver_time: Timestamp, time: Timestamp },
    /// The parcel has not left, and never will.
    Cancelled { order_id: Uuid, reason: CancelReason, detail: String, time: Timestamp },
}

impl Event {
    /// The order whose shipment it is about.
    pub fn order_id(&self) -> Uuid {
        match self {
            Self::Made(shipment) => shipment.order_id,
            Self::Updated { order_id, .. }
            | Self::Progressed { order_id, .. }
            | Self::Shipped { order_id, .. }
            | Self::Delivered { order_id, .. }
            | Self::Cancelled { order_id, .. } => *order_id,
        }
    }
}
