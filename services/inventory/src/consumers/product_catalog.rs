//! `product.catalog.v1`: a new product brings its initial stock.

use openorder_proto::product::v1::ProductCreated;
use openorder_types::{Sku, ValueError};

use crate::domain::{Command, QUANTITY_MAX, SeedSource};

pub(super) fn created(event: ProductCreated) -> Result<Command, ValueError> {
    let product = event.product.ok_or_else(|| ValueError::new("PRODUCT_MISSING", "no product"))?;
    let sku = Sku::parse(&product.sku)?;
    let initial_quantity = i64::from(product.initial_stock);
    if !(0..=QUANTITY_MAX).contains(&initial_quantity) {
        return Err(ValueError::new("INITIAL_STOCK_OUT_OF_RANGE", "initial stock out of range"));
    }
    let (product_number, source) = (product.product_number, SeedSource::Event);
    Ok(Command::Seed { sku, product_number, initial_quantity, source })
}
