//! `product.catalog.v1`: a new product brings its initial stock.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{event_types, product::v1 as product};
use openorder_types::Sku;

use crate::{
    consumers::others,
    domain::{Command, QUANTITY_MAX, SeedSource},
};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    match message.event_type.as_str() {
        event_types::PRODUCT_CREATED => {
            let created: product::ProductCreated = message.decode()?;
            let product = created.product.ok_or_else(|| DecodeError::malformed(message, "no product"))?;
            let sku = Sku::parse(&product.sku).map_err(|error| DecodeError::malformed(message, error.message))?;
            let initial_quantity = i64::from(product.initial_stock);
            if !(0..=QUANTITY_MAX).contains(&initial_quantity) {
                return Err(DecodeError::malformed(message, "initial stock out of range"));
            }
            let (product_number, source) = (product.product_number, SeedSource::Event);
            Ok(Some(Command::Seed { sku, product_number, initial_quantity, source }))
        }
        _ => others(message),
    }
}
