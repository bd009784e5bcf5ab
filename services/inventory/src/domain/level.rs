//! The stock of one SKU.

use openorder_types::Sku;

use crate::domain::Line;

/// Pieces of one SKU on hand at most.
pub const QUANTITY_MAX: i64 = 2_000_000_000;

/// The stock of one SKU, in pieces. Always 0 ≤ reserved ≤ on hand ≤ [`QUANTITY_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockLevel {
    pub sku: Sku,
    /// In the warehouse: initial + adjustments − shipped.
    pub on_hand_quantity: i64,
    pub reserved_quantity: i64,
    /// One more for every change.
    pub version: i64,
    /// Version of the SKU's events; 0 before the first.
    pub event_version: i64,
    /// Whose stock it is: a later product with the same SKU has a higher number. 0: not known.
    pub product_number: i64,
}

impl StockLevel {
    /// The level of a SKU that is seen for the first time.
    pub fn new(sku: Sku, product_number: i64, initial_quantity: i64) -> Self {
        Self {
            sku,
            on_hand_quantity: initial_quantity,
            reserved_quantity: 0,
            version: 1,
            event_version: 0,
            product_number,
        }
    }

    /// By how many pieces the number on hand changes when the SKU comes to belong to a later product with so many: what
    /// was not held is gone. What is held for orders of the former product stays until it leaves or is given back, and
    /// is never sold again.
    pub(crate) fn delta_of_replacement(&self, initial_quantity: i64) -> i64 {
        (self.reserved_quantity + initial_quantity).min(QUANTITY_MAX) - self.on_hand_quantity
    }

    /// Whether this is the stock of another product than the one with this number.
    pub(crate) const fn is_of_another(&self, product_number: i64) -> bool {
        product_number > 0 && self.product_number > 0 && self.product_number != product_number
    }

    /// Whether pieces that were held of this product are no longer sold.
    pub(crate) const fn is_later_than(&self, product_number: i64) -> bool {
        product_number > 0 && self.product_number > product_number
    }

    /// Pieces that were held are not any more. Those of a former product are not sold again.
    pub(crate) fn give_back(&mut self, line: &Line) {
        let quantity = line.quantity.get();
        let gone = if self.is_later_than(line.product_number) { quantity } else { 0 };
        self.change(-gone, -quantity);
    }

    /// What can still be ordered.
    pub fn available_quantity(&self) -> i64 {
        self.on_hand_quantity - self.reserved_quantity
    }

    /// Changes both numbers of pieces, which makes a version.
    pub(crate) const fn change(&mut self, on_hand_delta: i64, reserved_delta: i64) {
        self.on_hand_quantity += on_hand_delta;
        self.reserved_quantity += reserved_delta;
        self.version += 1;
    }
}
