//! The rules of carts, pure: no clock, no network, no database. What a change makes of a cart, what two carts make
//! together, and what an order takes out of one.

mod cart;
mod change;
mod checkout;
mod line;
mod rejection;

pub use cart::{Cart, Context, Limits, Owner};
pub use change::{Change, change, merge, take};
pub use checkout::{Checkout, Command, Ordered};
pub use line::{Addition, Line};
pub use rejection::{busy, empty, not_yours, request_id_reused, unknown_sku, version_mismatch};

#[cfg(test)]
mod tests;
