//! The stock of one SKU.

use openorder_types::{Rejection, Sku};

/// Pieces of one SKU on hand at most.
pub const QUANTITY_MAX: i64 = 2_000_000_000;

/// The stock of one SKU, in pieces. Always 0 ≤ reserved ≤ on hand ≤ [`QUANTITY_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockLevel {
    /// Stock keeping unit.
    pub sku: Sku,
    /// In the warehouse: initial + adjustments − shipped.
    pub on_hand_quantity: i64,
    /// Held for orders.
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

    /// The SKU belongs to a later product now: what was not held is gone, and the new product's pieces are there. What
    /// is held for orders of the former product stays until it leaves or is given back, and is never sold again.
    /// Returns by how many pieces the number on hand changes.
    pub fn replace(&mut self, product_number: i64, initial_quantity: i64) -> i64 {
        let on_hand = (self.reserved_quantity + initial_quantity).min(QUANTITY_MAX);
        let delta = on_hand - self.on_hand_quantity;
        self.on_hand_quantity = on_hand;
        self.product_number = product_number;
        self.version += 1;
        delta
    }

    /// Whether this is the stock of another product than the one with this number.
    pub(crate) const fn is_of_another(&self, product_number: i64) -> bool {
        product_number > 0 && self.product_number > 0 && self.product_number != product_number
    }

    /// Whether pieces that were held of this product are no longer sold.
    pub(crate) const fn is_later_than(&self, product_number: i64) -> bool {
        product_number > 0 && self.product_number > product_number
    }

    /// What can still be ordered.
    pub fn available_quantity(&self) -> i64 {
        self.on_hand_quantity - self.reserved_quantity
    }

    /// Adds or takes away pieces.
    ///
    /// # Errors
    /// `OUT_OF_STOCK` when more than what is available would go; `STOCK_LIMIT_EXCEEDED` above [`QUANTITY_MAX`].
    pub fn adjust(&mut self, delta: i64) -> Result<(), Rejection> {
        let on_hand = self.on_hand_quantity.saturating_add(delta);
        if on_hand > QUANTITY_MAX {
            let text = format!("a stock holds at most {QUANTITY_MAX} pieces");
            return Err(Rejection::out_of_range("STOCK_LIMIT_EXCEEDED", text).with("sku", &self.sku));
        }
        if on_hand < self.reserved_quantity {
            let text = format!("only {} pieces are available", self.available_quantity());
            return Err(Rejection::failed_precondition("OUT_OF_STOCK", text)
                .with("sku", &self.sku)
                .with("available_quantity", self.available_quantity()));
        }
        self.on_hand_quantity = on_hand;
        self.version += 1;
        Ok(())
    }

    /// Holds pieces; the caller has checked that they are available.
    pub(crate) fn reserve(&mut self, quantity: i64) {
        self.reserved_quantity += quantity;
        self.version += 1;
    }

    /// Gives held pieces back.
    pub(crate) fn release(&mut self, quantity: i64) {
        self.reserved_quantity -= quantity;
        self.version += 1;
    }

    /// Pieces that were held of a former product are given back: nobody sells them any more.
    pub(crate) fn retire(&mut self, quantity: i64) {
        self.reserved_quantity -= quantity;
        self.on_hand_quantity -= quantity;
        self.version += 1;
    }

    /// Held pieces leave.
    pub(crate) fn ship(&mut self, quantity: i64) {
        self.reserved_quantity -= quantity;
        self.on_hand_quantity -= quantity;
        self.version += 1;
    }
}
