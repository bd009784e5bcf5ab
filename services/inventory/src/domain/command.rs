//! What the rules of stock decide on.

use openorder_types::Sku;
use uuid::Uuid;

use crate::domain::Line;

/// A command of a caller, of another service's event or of a timer: the rules do not ask where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A product was added: its SKU gets its initial stock, once a product.
    Seed {
        sku: Sku,
        /// Number of the product; 0: not known.
        product_number: i64,
        /// Pieces on hand to begin with.
        initial_quantity: i64,
        /// How the product became known.
        source: SeedSource,
    },
    /// Pieces arrive or go other than by orders.
    Adjust {
        sku: Sku,
        /// Pieces to add or take away, not 0.
        delta: i64,
        /// In the caller's words.
        reason: String,
    },
    /// All lines are held for an order, or none.
    Reserve {
        order_id: Uuid,
        /// Each SKU once.
        lines: Vec<Line>,
    },
    /// Other lines are held for an order in place of those that are, or none of it changes.
    Modify {
        order_id: Uuid,
        /// Each SKU once.
        lines: Vec<Line>,
        /// Version of the order that asks.
        order_version: i64,
    },
    /// What is held for an order is given back; nothing will be held for it later.
    Release {
        order_id: Uuid,
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// Whether the event is published even if it was before.
        answer_again: bool,
    },
    /// What is held for an order has run out of time, and the order needs it no more: it is given back.
    Expire { order_id: Uuid },
    /// What is held for an order that has long been settled is given back.
    Reconcile { order_id: Uuid },
    /// The pieces held for an order left the warehouse.
    Ship { order_id: Uuid },
}

/// How the initial stock of a product became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedSource {
    /// By the event of its creation: the product is new.
    Event,
    /// By a look-up in the catalogue: the product may be as old as a level without a number.
    Catalogue,
}
