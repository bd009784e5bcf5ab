//! All the SQL of the service: one statement a table for a whole batch.

mod levels;
mod mismatches;
mod reservations;
mod timers;

pub use levels::{Level, existing_skus, find as find_levels, lock as lock_levels, save as save_levels};
pub use mismatches::{
    Mismatch, claim_round, count as count_mismatches, end_round, known as known_mismatches, list as list_mismatches,
    note as note_mismatches, part as reservations_part, resolve as resolve_mismatches,
};
pub use reservations::{
    Filter, find as find_reservations, keep as keep_reservations, list as list_reservations, lock as lock_reservations,
    save as save_reservations,
};
pub use timers::{claim_due, expired as expired_reservations, put_off as put_off_timer};
