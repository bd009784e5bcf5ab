//! All the SQL of the service: one statement a table for a whole batch.

mod catalog;
mod orders;
mod record;
mod timers;

pub use catalog::{load as load_catalogue, orderable_skus, upsert as upsert_catalogue};
pub use orders::{
    Filter, find as find_order, insert as insert_orders, list as list_orders, lock as lock_orders,
    update as update_orders,
};
pub use record::Record;
pub use timers::{arm as arm_timers, claim_due, clear as clear_timers, forget_settled};
