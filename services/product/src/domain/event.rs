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
        product_id: Uuid,
        /// The new values; none is the field's former value.
        changes: Changes,
        time: Timestamp,
    },
    /// The product was taken out of the catalogue.
    Deleted { product_id: Uuid, time: Timestamp },
}

impl Event {
    pub const fn product_id(&self) -> Uuid {
        match self {
            Self::Created(product) => product.product_id,
            Self::Updated { product_id, .. } | Self::Deleted { product_id, .. } => *product_id,
        }
    }
}
