//! All the SQL of the service: one statement a table for a whole batch.

mod payments;
mod wallets;

pub use payments::{
    Filter, Key, find as find_payments, list as list_payments, lock as lock_payments, save as save_payments,
};
pub use wallets::{find as find_wallets, lock as lock_wallets, save as save_wallets};
