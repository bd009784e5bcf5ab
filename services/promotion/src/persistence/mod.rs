//! All the SQL of the service: one statement a table for a whole batch.

mod coupons;
mod issued;
mod uses;

pub use coupons::{find_coupons, list_coupons, lock_coupons, save_coupons};
pub use issued::{Filter, add_issued, count_issued, list_issued, lock_issued, save_issued};
pub use uses::{lock_uses, save_uses};
