//! `product.catalog.v1`: keeps this service's copy of names and prices.

use openorder_messaging::{DecodeError, Received};
use openorder_proto::{
    event_types,
    product::v1::{ProductCreated, ProductDeleted, ProductUpdated},
};
use openorder_types::{Currency, Money, Sku, ValueError, parse_uuid};

use crate::{
    application::{self, Command},
    consumers::others,
    domain::CatalogItem,
};

pub(super) fn decode(message: &Received) -> Result<Option<Command>, DecodeError> {
    let product = match message.event_type.as_str() {
        event_types::PRODUCT_CREATED => message.decode::<ProductCreated>()?.product,
        event_types::PRODUCT_UPDATED => message.decode::<ProductUpdated>()?.product,
        event_types::PRODUCT_DELETED => {
            let item = deleted(&message.decode()?).map_err(|error| DecodeError::malformed(message, error.message))?;
            return Ok(Some(Command::Catalogue(Box::new(item))));
        }
        _ => return others(message),
    };
    let product = product.ok_or_else(|| DecodeError::malformed(message, "no product"))?;
    let item = application::catalog_item(&product).map_err(|error| DecodeError::malformed(message, error.message))?;
    Ok(Some(Command::Catalogue(Box::new(item))))
}

/// A product that can no longer be ordered has no name and no price here: nobody reads them.
fn deleted(event: &ProductDeleted) -> Result<CatalogItem, ValueError> {
    Ok(CatalogItem {
        sku: Sku::parse(&event.sku)?,
        product_id: parse_uuid(&event.product_id, "PRODUCT_ID_MALFORMED")?,
        product_version: event.version,
        product_number: event.product_number,
        display_name: String::new(),
        unit_price: Money::zero(Currency::parse("EUR")?),
        deleted: true,
    })
}
