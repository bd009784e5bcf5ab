//! What the rules of parcels decide on.

use openorder_types::{Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{
    Address, CancelReason, Carrier, CarrierEventId, CarrierEventType, Line, Location, Target, TrackingNumber,
};

/// How a caller names a shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShipmentKey {
    /// By its own id.
    Shipment(Uuid),
    /// By that of its order.
    Order(Uuid),
}

/// A shipment to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewShipment {
    /// UUID version 7, drawn by whoever makes the command; not used if there is one for the order.
    pub shipment_id: Uuid,
    pub order_id: Uuid,
    pub customer_id: UserId,
    pub lines: Vec<Line>,
    pub address: Option<Address>,
}

/// What a caller says of a parcel, as its carrier told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCarrierEvent {
    /// UUID version 7, drawn by whoever makes the command; not used if the event is known.
    pub shipment_event_id: Uuid,
    pub event_type: CarrierEventType,
    /// None: now.
    pub event_time: Option<Timestamp>,
    pub location: Location,
    pub carrier_event_id: Option<CarrierEventId>,
}

/// What a caller changes of a shipment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub order_id: Uuid,
    /// Only if it has this version.
    pub expected_version: Option<i64>,
    /// None: it stays where it is.
    pub target: Option<Target>,
    /// None: as it is.
    pub carrier: Option<Carrier>,
    /// None: as it is.
    pub tracking_number: Option<TrackingNumber>,
}

/// A command of a caller or of another service's event: the rules do not ask where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The order is paid: its parcel can be made ready.
    Create(Box<NewShipment>),
    /// The order was moved on: the shipment follows.
    Follow { order_id: Uuid, target: Target },
    /// The order is called off, or asks whether it may be.
    Cancel {
        /// UUID version 7 of the shipment that stands for none; not used if there is one for the order.
        shipment_id: Uuid,
        order_id: Uuid,
        customer_id: UserId,
        reason: CancelReason,
        /// For people.
        detail: String,
    },
    /// Moves a shipment on, or says who carries it.
    Update(Update),
    /// The carrier said something.
    AddEvent { key: ShipmentKey, event: NewCarrierEvent },
}

impl Command {
    /// The shipment that it is about.
    pub fn key(&self) -> ShipmentKey {
        match self {
            Self::Create(new) => ShipmentKey::Order(new.order_id),
            Self::Follow { order_id, .. } | Self::Cancel { order_id, .. } => ShipmentKey::Order(*order_id),
            Self::Update(update) => ShipmentKey::Order(update.order_id),
            Self::AddEvent { key, .. } => *key,
        }
    }
}
