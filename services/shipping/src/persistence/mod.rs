//! All the SQL of the service: one statement a table for a whole batch.

mod events;
mod shipments;

pub use events::{add_events, find_events, find_named_events};
pub use shipments::{Filter, find_shipments, list_shipments, lock_shipments, save_shipments};
