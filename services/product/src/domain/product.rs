//! A product.

use openorder_types::{Sku, Timestamp};
use uuid::Uuid;

use crate::domain::{Description, DisplayName, InitialStock, NewProduct, Price};

/// A field that can change; its name is the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    DisplayName,
    Description,
    Price,
}

impl Field {
    pub const ALL: [Self; 3] = [Self::DisplayName, Self::Description, Self::Price];

    /// The field's path in `openorder.product.v1.Product`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::Description => "description",
            Self::Price => "price",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub product_id: Uuid,
    /// Stock keeping unit; never changes.
    pub sku: Sku,
    /// Name that customers see.
    pub display_name: DisplayName,
    /// Text that customers see.
    pub description: Description,
    /// Price of one piece.
    pub price: Price,
    /// Pieces that its stock started with.
    pub initial_stock: InitialStock,
    /// 1, then one more for every change; each version has one event.
    pub version: i64,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
    pub delete_time: Option<Timestamp>,
    /// Drawn in the database, from 1: a later product has a higher one, whatever the clocks say.
    pub product_number: i64,
}

impl Product {
    /// A new product. That its SKU is free is for the caller to know, and that no later product has a lower number.
    pub fn create(new: NewProduct, product_number: i64, now: Timestamp) -> Self {
        Self {
            product_id: new.product_id,
            sku: new.sku,
            display_name: new.display_name,
            description: new.description,
            price: new.price,
            initial_stock: new.initial_stock,
            version: 1,
            create_time: now,
            update_time: now,
            delete_time: None,
            product_number,
        }
    }

    /// Whether it can be ordered.
    pub const fn is_live(&self) -> bool {
        self.delete_time.is_none()
    }
}
