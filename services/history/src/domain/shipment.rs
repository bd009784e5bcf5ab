//! What the shipping service tells of an order's parcel. Each of its events has the whole shipment.

use std::collections::BTreeMap;

use openorder_types::Timestamp;
use uuid::Uuid;

use crate::domain::{Latest, Stamp};

/// Events of the carrier that a document keeps, those that were recorded last.
const CARRIER_EVENTS_MAX: usize = 100;

/// The parcel. Where it goes is no part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    pub shipment_id: String,
    /// Number of the state.
    pub state: i32,
    /// Empty: not known.
    pub carrier: String,
    /// Empty: not known.
    pub tracking_number: String,
    /// Stable, `UPPER_SNAKE`; empty: none.
    pub cancel_reason: String,
    pub create_time: Option<Timestamp>,
    pub ship_time: Option<Timestamp>,
    pub deliver_time: Option<Timestamp>,
}

/// What the carrier said once; it never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierEvent {
    /// Number of the type.
    pub kind: i32,
    /// Its number among those of its shipment, from 1; 0: not told.
    pub ordinal: i32,
    /// By the carrier's clock.
    pub event_time: Option<Timestamp>,
    pub location: String,
    /// The carrier's own id; empty: none.
    pub carrier_event_id: String,
    pub create_time: Option<Timestamp>,
}

/// What one event of a shipment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShipmentSaid {
    pub parcel: Parcel,
    pub carrier_event: Option<(Uuid, CarrierEvent)>,
}

/// What the events of a shipment have said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShipmentPart {
    pub parcel: Latest<Parcel>,
    /// By their ids, which are in the order of recording.
    pub events: BTreeMap<Uuid, CarrierEvent>,
}

impl ShipmentPart {
    pub(super) fn hear(&mut self, stamp: Stamp, said: &ShipmentSaid) {
        self.parcel.hear(stamp, said.parcel.clone());
        if let Some((id, event)) = &said.carrier_event {
            self.add_event(*id, event.clone());
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.parcel.merge(other.parcel);
        for (id, event) in other.events {
            self.add_event(id, event);
        }
    }

    fn add_event(&mut self, id: Uuid, event: CarrierEvent) {
        self.events.entry(id).or_insert(event);
        while self.events.len() > CARRIER_EVENTS_MAX {
            self.events.pop_first();
        }
    }
}
