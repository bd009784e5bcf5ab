//! Every legitimate "no" of the catalogue.

use openorder_types::{Rejection, Sku};
use uuid::Uuid;

use crate::domain::ProductKey;

pub fn not_found(key: &ProductKey) -> Rejection {
    let rejection = Rejection::not_found("PRODUCT_NOT_FOUND", "there is no such product");
    match key {
        ProductKey::Id(product_id) => rejection.with("product_id", product_id),
        ProductKey::Sku(sku) => rejection.with("sku", sku),
    }
}

/// Another product that is not deleted has this SKU.
pub fn sku_taken(sku: &Sku, product_id: Uuid) -> Rejection {
    Rejection::already_exists("SKU_ALREADY_EXISTS", "there is a product with this SKU")
        .with("sku", sku)
        .with("product_id", product_id)
}

pub(crate) fn deleted(product_id: Uuid) -> Rejection {
    Rejection::failed_precondition("PRODUCT_DELETED", "the product was deleted").with("product_id", product_id)
}

/// The product changed since the caller read it.
pub(crate) fn version_mismatch(product_id: Uuid, version: i64) -> Rejection {
    Rejection::aborted("PRODUCT_VERSION_MISMATCH", "the product has another version")
        .with("product_id", product_id)
        .with("version", version)
}
