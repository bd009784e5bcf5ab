//! Everything that the service can be asked to change.

use openorder_types::Sku;
use uuid::Uuid;

use crate::domain::{Description, DisplayName, InitialStock, Price};

/// How a caller names a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProductKey {
    /// By its id, deleted or not.
    Id(Uuid),
    /// By its SKU: the product that is not deleted.
    Sku(Sku),
}

/// A product to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    /// UUID version 7, drawn by whoever makes the command.
    pub product_id: Uuid,
    /// Stock keeping unit.
    pub sku: Sku,
    /// Name that customers see.
    pub display_name: DisplayName,
    /// Text that customers see.
    pub description: Description,
    /// Price of one piece.
    pub price: Price,
    /// Pieces that its stock starts with.
    pub initial_stock: InitialStock,
}

/// The fields to change, each with its new value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// New name.
    pub display_name: Option<DisplayName>,
    /// New description.
    pub description: Option<Description>,
    /// New price.
    pub price: Option<Price>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Adds a product.
    Create(NewProduct),
    /// Changes a product.
    Update {
        /// Which one.
        key: ProductKey,
        /// What to change.
        changes: Changes,
        /// Only if it has this version.
        expected_version: Option<i64>,
    },
    /// Takes a product out of the catalogue.
    Delete {
        /// Which one.
        key: ProductKey,
    },
}
