//! All the SQL of the service: one statement a table for a whole batch.

mod products;

pub use products::{Page, draw_numbers, find, find_by_skus, list, lock, save};
