//! `product.catalog.v1`: keeps this service's copy of names and prices.

use openorder_proto::product::v1::{Product, ProductCreated, ProductDeleted, ProductUpdated};
use openorder_types::{Currency, Money, Sku, ValueError, parse_uuid};

use crate::{
    application::{self, Command},
    domain::CatalogItem,
};

pub(super) fn created(event: ProductCreated) -> Result<Command, ValueError> {
    changed(event.product)
}

pub(super) fn updated(event: ProductUpdated) -> Result<Command, ValueError> {
    changed(event.product)
}

fn changed(product: Option<Product>) -> Result<Command, ValueError> {
    let product = product.ok_or_else(|| ValueError::new("PRODUCT_MISSING", "no product"))?;
    Ok(Command::Catalogue(Box::new(application::catalog_item(&product)?)))
}

/// A product that can no longer be ordered has no name and no price here: nobody reads them.
pub(super) fn deleted(event: ProductDeleted) -> Result<Command, ValueError> {
    let item = CatalogItem {
        sku: Sku::parse(&event.sku)?,
        product_id: parse_uuid(&event.product_id, "PRODUCT_ID_MALFORMED")?,
        product_version: event.version,
        product_number: event.product_number,
        display_name: String::new(),
        unit_price: Money::zero(Currency::parse("EUR")?),
        deleted: true,
    };
    Ok(Command::Catalogue(Box::new(item)))
}
