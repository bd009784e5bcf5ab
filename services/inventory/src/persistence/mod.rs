//! All the SQL of the service: one statement a table for a whole batch.

mod levels;
mod reservations;

pub use levels::{existing_skus, find as find_levels, lock as lock_levels, save as save_levels};
pub use reservations::{Filter, list as list_reservations, lock as lock_reservations, save as save_reservations};
