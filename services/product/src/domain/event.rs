//! Facts that the rules of the catalogue decide; all are published.

use openorder_types::Timestamp;
use uuid::Uuid;

use crate::domain::{Changes, Product};

/// A fact about a product. Each is one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The product was added.
    Created(Product),
    /// Fields of the product have other values now.
    Updated {
        /// UUID version 7.
        product_id: Uuid,
        /// The new values; none is the field's former value.
        changes: Changes,
        /// Time of the change.
        time: Timestamp,
    },
    /// The product was taken out of the catalogue.
    Deleted {
        /// UUID version 7.
        product_id: Uuid,
        /// Time of the deletion.
        time: Timestamp,
    },
}

impl Event {
    /// The product that the event is about.
    pub const fn product_id(&self) -> Uuid {
        match self {
            Self::Created(product) => product.product_id,
            Self::Updated { product_id, .. } | Self::Deleted { product_id, .. } => *product_id,
        }
    }
}
