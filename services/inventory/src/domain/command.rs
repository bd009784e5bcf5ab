//! Everything that the service can be asked or told.

use openorder_types::Sku;
use uuid::Uuid;

use crate::domain::Line;

/// A command; facts of other services arrive as commands too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A product was added: its SKU gets its initial stock, once a product.
    Seed {
        /// The new product's SKU.
        sku: Sku,
        /// The new product's number; 0: not known.
        product_number: i64,
        /// Pieces on hand to begin with.
        initial_quantity: i64,
    },
    /// Pieces arrive or go other than by orders.
    Adjust {
        /// The SKU.
        sku: Sku,
        /// Pieces to add or take away, not 0.
        delta: i64,
        /// In the caller's words.
        reason: String,
    },
    /// All lines are held for an order, or none.
    Reserve {
        /// The order.
        order_id: Uuid,
        /// Each SKU once.
        lines: Vec<Line>,
    },
    /// What is held for an order is given back; nothing will be held for it later.
    Release {
        /// The order.
        order_id: Uuid,
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// Whether the event is published even if it was before.
        answer_again: bool,
    },
    /// What is held for an order has run out of time, and the order needs it no more: it is given back.
    Expire {
        /// The order.
        order_id: Uuid,
    },
    /// What is held for an order that has long been settled is given back.
    Reconcile {
        /// The order.
        order_id: Uuid,
    },
    /// The pieces held for an order left the warehouse.
    Ship {
        /// The order.
        order_id: Uuid,
    },
}
