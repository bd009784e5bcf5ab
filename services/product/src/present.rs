//! From the domain to protobuf.

use openorder_proto::product::v1 as proto;
use openorder_rpc::{money_to_proto, timestamp_to_proto};

use crate::domain::{Field, Product};

pub(crate) fn product(product: &Product) -> proto::Product {
    proto::Product {
        product_id: product.product_id.to_string(),
        sku: product.sku.to_string(),
        display_name: product.display_name.to_string(),
        description: product.description.as_str().to_owned(),
        price: Some(money_to_proto(&product.price.amount())),
        // Checked against a bound below this type's.
        initial_stock: i32::try_from(product.initial_stock.get()).unwrap_or(i32::MAX),
        version: product.version,
        create_time: Some(timestamp_to_proto(&product.create_time)),
        update_time: Some(timestamp_to_proto(&product.update_time)),
        delete_time: product.delete_time.as_ref().map(timestamp_to_proto),
        product_number: product.product_number,
    }
}

pub(crate) fn mask(fields: &[Field]) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: fields.iter().map(|field| field.path().to_owned()).collect() }
}
