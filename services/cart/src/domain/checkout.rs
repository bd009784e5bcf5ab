//! A cart that is ordered.

use openorder_types::{Quantity, Sku, UserId};
use uuid::Uuid;

/// What was ordered, as it stood when the order was first asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// UUID version 7.
    pub checkout_id: Uuid,
    pub cart_id: Uuid,
    pub cart_version: i64,
    pub customer_id: UserId,
}

/// An order that was made by a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    pub checkout_id: Uuid,
    pub order_id: Uuid,
    /// Who ordered.
    pub customer_id: UserId,
    pub lines: Vec<(Sku, Quantity)>,
}

/// An order that cannot be fulfilled, whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub order_id: Uuid,
    /// Who ordered.
    pub customer_id: UserId,
    pub lines: Vec<(Sku, Quantity)>,
}

/// What is written down of checkouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// From here on it stands what is ordered.
    Begin {
        checkout: Checkout,
        /// What the cart has.
        lines: Vec<(Sku, i64)>,
    },
    /// The order was made.
    Ordered(Box<Ordered>),
    /// An order was rejected.
    Rejected(Box<Rejected>),
    /// A customer is nobody any more: what it meant to order is forgotten.
    Forget(UserId),
}
