//! The rules of parcels, pure: no I/O, no clock, no protobuf. Ids and times arrive as data.
//! [`decide`] makes events of commands, [`evolve`] applies them.

mod carrier_event;
mod command;
mod decide;
mod event;
mod rejection;
mod shipment;
mod value;

pub use carrier_event::{CarrierEvent, CarrierEventType};
pub use command::{Command, NewCarrierEvent, NewShipment, ShipmentKey, Update};
pub use decide::{Decision, State, decide, evolve};
pub use event::Event;
pub use rejection::{already_shipped, not_found};
pub use shipment::{CancelReason, Line, Shipment, ShipmentState, Target};
pub use value::{Address, Carrier, CarrierEventId, Location, TrackingNumber};
