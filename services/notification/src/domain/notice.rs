//! What happened to an order, as far as its customer is told.

use openorder_types::{EmailAddress, Money, UserId};
use uuid::Uuid;

use crate::domain::Kind;

/// A fact about an order that its customer is to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The order.
    pub order_id: Uuid,
    /// Its customer.
    pub user_id: UserId,
    /// Where mail goes, if there is an address.
    pub recipient: Option<EmailAddress>,
    /// What happened.
    pub kind: Kind,
    /// What the customer pays.
    pub total: Option<Money>,
    /// What was ordered.
    pub lines: Vec<NoticeLine>,
    /// Why, in stable `UPPER_SNAKE`; empty where there is nothing to explain.
    pub reason: String,
    /// Why, for people; may be empty.
    pub detail: String,
}

/// One position of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeLine {
    /// Name of the product.
    pub display_name: String,
    /// Number of pieces.
    pub quantity: i64,
    /// Price of all of them.
    pub line_total: Option<Money>,
}
