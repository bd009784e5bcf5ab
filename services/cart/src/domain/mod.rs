//! The rules of carts, pure: no clock, no network, no database. What a change makes of a cart, what two carts make
//! together, what an order takes out of one, and what one that is rejected puts back.

mod cart;
mod change;
mod checkout;
mod line;
mod rejection;

pub use cart::{Cart, Context, Limits, Owner};
pub use change::{Change, change, merge, put_back, take};
pub use checkout::{Checkout, Command, Ordered, Rejected};
pub use line::{Addition, Line};
pub use rejection::{busy, empty, not_yours, request_id_reused, unknown_sku, version_mismatch};

#[cfg(test)]
mod tests;
