//! All the SQL of the service. Carts are in Redis (`store/`).

mod checkouts;
mod marks;

pub(crate) use checkouts::{
    add_checkouts, delete_old_checkouts, note_ordered, note_put_back, open_checkouts, taken_checkouts,
};
pub(crate) use marks::{note_mark, store_id};
