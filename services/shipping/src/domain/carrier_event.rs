//! What a carrier says of a parcel.

use openorder_types::{Timestamp, numbered};
use uuid::Uuid;

use crate::domain::{CarrierEventId, Location, Target};

numbered! {
    /// What happened; numbered as `openorder.shipping.v1.ShipmentEventType`.
    pub enum CarrierEventType {
        /// The carrier knows of the parcel and does not have it yet.
        LabelPrinted = 1 "LABEL_PRINTED",
        /// The carrier has taken the parcel.
        PickedUp = 2 "PICKED_UP",
        /// The parcel passed a place on its way.
        InTransit = 3 "IN_TRANSIT",
        /// The parcel is on its last way.
        OutForDelivery = 4 "OUT_FOR_DELIVERY",
        /// The parcel will come later than planned.
        Delayed = 5 "DELAYED",
        /// The customer has the parcel.
        Delivered = 6 "DELIVERED",
        /// An attempt to pick up or to deliver the parcel failed.
        Failed = 7 "FAILED",
    }
}

impl CarrierEventType {
    /// Where the shipment is at least when this happened; none where it says nothing of that.
    ///
    /// What is on its way was picked up, whether that was heard or not: events get lost, and come out of order.
    pub const fn implies(self) -> Option<Target> {
        match self {
            Self::PickedUp | Self::InTransit | Self::OutForDelivery => Some(Target::Shipped),
            Self::Delivered => Some(Target::Delivered),
            Self::LabelPrinted | Self::Delayed | Self::Failed => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierEvent {
    /// UUID version 7.
    pub shipment_event_id: Uuid,
    /// 1, 2, 3 … in the order of recording.
    pub ordinal: i32,
    pub event_type: CarrierEventType,
    /// When it happened, as the carrier says.
    pub event_time: Timestamp,
    pub location: Location,
    /// The carrier's own id of it, if it gave one.
    pub carrier_event_id: Option<CarrierEventId>,
    /// When it was recorded.
    pub create_time: Timestamp,
}
