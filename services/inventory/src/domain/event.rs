//! Facts that the rules of stock decide; those that other services hear of become messages in `application/events.rs`.

use openorder_types::{Sku, Timestamp};
use uuid::Uuid;

use crate::domain::{Line, Reservation, Shortfall};

/// A fact about a level or a reservation. Quantities are pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The SKU got its first stock.
    StockSeeded {
        sku: Sku,
        /// Number of the product; 0: not known.
        product_number: i64,
        /// Pieces on hand to begin with.
        initial_quantity: i64,
    },
    /// A level that was made before products had numbers got the number of its product. Not published.
    ProductNumbered { sku: Sku, product_number: i64 },
    /// The SKU belongs to a later product now.
    StockReplaced {
        sku: Sku,
        product_number: i64,
        /// By how many pieces the number on hand changes.
        delta: i64,
    },
    /// Pieces arrived or went other than by orders.
    StockAdjusted {
        sku: Sku,
        /// Pieces added or taken away.
        delta: i64,
        /// In the caller's words.
        reason: String,
    },
    /// What is available fell to the threshold.
    StockLow { sku: Sku, threshold_quantity: i64 },
    /// Nothing is available any more.
    StockDepleted { sku: Sku },
    /// All lines of an order are held.
    Reserved(Reservation),
    /// None of the lines of an order is held.
    ReservationRejected {
        /// Why, as a reservation in state `Rejected`.
        reservation: Reservation,
        /// Lines that cannot be held, at least one.
        shortfalls: Vec<Shortfall>,
    },
    /// Other lines are held for an order.
    ReservationModified {
        order_id: Uuid,
        /// Lines that were held until now.
        given_back: Vec<Line>,
        /// Lines that are held from now on.
        lines: Vec<Line>,
        /// Version of the order that asked.
        order_version: i64,
        time: Timestamp,
    },
    /// What is held for an order stays as it is.
    ModificationRejected {
        order_id: Uuid,
        /// Lines that cannot be held, at least one.
        shortfalls: Vec<Shortfall>,
        /// Version of the order that asked.
        order_version: i64,
        time: Timestamp,
    },
    /// What was held for an order was given back, or the order was called off before anything was held.
    Released {
        order_id: Uuid,
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// Lines that were held until now; empty in an answer that is repeated.
        given_back: Vec<Line>,
        time: Timestamp,
    },
    /// Pieces of a former product were given back, and are not sold any more. Follows [`Event::Released`] and
    /// [`Event::ReservationModified`].
    FormerStockRetired {
        sku: Sku,
        /// Pieces that are gone.
        quantity: i64,
    },
    /// The pieces held for an order left the warehouse. Not published; the levels' events are.
    ReservationShipped { order_id: Uuid, time: Timestamp },
    /// Held pieces of one SKU left the warehouse. Follows [`Event::ReservationShipped`].
    StockShipped { sku: Sku, quantity: i64, order_id: Uuid },
}
