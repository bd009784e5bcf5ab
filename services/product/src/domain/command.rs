//! What the rules of the catalogue decide on.

use openorder_types::Sku;
use uuid::Uuid;

use crate::domain::{Description, DisplayName, Field, InitialStock, Price, Product};

/// How a caller names a product.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    pub display_name: Option<DisplayName>,
    pub description: Option<Description>,
    pub price: Option<Price>,
}

impl Changes {
    /// Those that are not the product's present values.
    pub(crate) fn that_change(&self, product: &Product) -> Self {
        Self {
            display_name: self.display_name.clone().filter(|name| *name != product.display_name),
            description: self.description.clone().filter(|text| *text != product.description),
            price: self.price.filter(|price| *price != product.price),
        }
    }

    /// The fields that have a new value, in the contract's order.
    pub fn fields(&self) -> Vec<Field> {
        let given = [
            self.display_name.is_some().then_some(Field::DisplayName),
            self.description.is_some().then_some(Field::Description),
            self.price.is_some().then_some(Field::Price),
        ];
        given.into_iter().flatten().collect()
    }
}

/// A command of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create(NewProduct),
    Update {
        key: ProductKey,
        changes: Changes,
        /// Only if it has this version.
        expected_version: Option<i64>,
    },
    /// Takes a product out of the catalogue.
    Delete {
        key: ProductKey,
    },
}
