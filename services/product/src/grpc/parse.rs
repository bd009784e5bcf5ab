//! From requests to commands: every rule of shape, all violations at once.

use std::collections::BTreeSet;

use openorder_proto::product::v1::{
    CreateProductRequest, DeleteProductRequest, GetProductRequest, ListProductsRequest, Product as ProductMessage,
    UpdateProductRequest, delete_product_request, get_product_request,
};
use openorder_rpc::{Violations, canonical_mask, masked_fields, money, page_size};
use openorder_types::{Rejection, RequestId, Sku, parse_uuid};
use uuid::Uuid;

use crate::domain::{Changes, Command, Description, DisplayName, Field, InitialStock, NewProduct, Price, ProductKey};

/// SKUs of one BatchGetProducts at most.
const SKUS_MAX: usize = 500;
const PAGE_SIZE_DEFAULT: u32 = 50;
const PAGE_SIZE_MAX: u32 = 500;

pub(super) fn create(message: &CreateProductRequest, product_id: Uuid) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let sku = violations.take("sku", Sku::parse(&message.sku));
    let display_name = violations.take("display_name", DisplayName::parse(&message.display_name));
    let price = money("price", message.price.clone(), &mut violations);
    let price = price.and_then(|amount| violations.take("price", Price::parse(amount)));
    let initial_stock = violations.take("initial_stock", InitialStock::parse(message.initial_stock));
    let description = violations.take("description", Description::parse(&message.description));
    let (Some(request_id), Some(sku), Some(display_name), Some(price), Some(initial_stock), Some(description)) =
        (request_id, sku, display_name, price, initial_stock, description)
    else {
        return Err(violations.into_rejection());
    };
    let new = NewProduct { product_id, sku, display_name, description, price, initial_stock };
    Ok((request_id, Command::Create(new)))
}

pub(super) fn update(message: &UpdateProductRequest) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let product = violations.required("product", message.product.as_ref());
    let key = product.and_then(|product| key_of(product, &mut violations));
    let fields = masked_fields(message.update_mask.as_ref(), &Field::ALL, Field::path, &mut violations);
    let changes = product.map(|product| changes(product, &fields, &mut violations));
    if message.expected_version < 0 {
        violations.add("expected_version", "VERSION_OUT_OF_RANGE", "must not be negative");
    }
    if !violations.is_empty() {
        return Err(violations.into_rejection());
    }
    let (Some(request_id), Some(key), Some(changes)) = (request_id, key, changes) else {
        return Err(violations.into_rejection());
    };
    let expected_version = Some(message.expected_version).filter(|version| *version != 0);
    Ok((request_id, Command::Update { key, changes, expected_version }))
}

/// The one form of a request that can be written in several: each field of the mask once, in their order, and of the
/// product only what is in the mask and what names it.
pub(super) fn canonical_update(message: &UpdateProductRequest) -> UpdateProductRequest {
    let mut canonical = message.clone();
    let mask = canonical_mask(canonical.update_mask.take());
    let masked = |field: &str| mask.paths.iter().any(|path| path == field);
    canonical.product = canonical.product.map(|given| {
        let mut kept = ProductMessage { product_id: given.product_id, ..Default::default() };
        if kept.product_id.is_empty() {
            kept.sku = given.sku;
        }
        if masked("display_name") {
            kept.display_name = given.display_name;
        }
        if masked("description") {
            kept.description = given.description;
        }
        if masked("price") {
            kept.price = given.price;
        }
        kept
    });
    canonical.update_mask = Some(mask);
    canonical
}

pub(super) fn delete(message: &DeleteProductRequest) -> Result<(RequestId, Command), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(&message.request_id));
    let key = violations.required("key", message.key.as_ref()).and_then(|key| match key {
        delete_product_request::Key::ProductId(text) => by_id("product_id", text, &mut violations),
        delete_product_request::Key::Sku(text) => by_sku("sku", text, &mut violations),
    });
    match request_id.zip(key) {
        Some((request_id, key)) => Ok((request_id, Command::Delete { key })),
        None => Err(violations.into_rejection()),
    }
}

pub(super) fn get(message: &GetProductRequest) -> Result<ProductKey, Rejection> {
    let mut violations = Violations::new();
    let key = violations.required("key", message.key.as_ref()).and_then(|key| match key {
        get_product_request::Key::ProductId(text) => by_id("product_id", text, &mut violations),
        get_product_request::Key::Sku(text) => by_sku("sku", text, &mut violations),
    });
    key.ok_or_else(|| violations.into_rejection())
}

pub(super) fn skus(texts: &[String]) -> Result<BTreeSet<String>, Rejection> {
    let mut violations = Violations::new();
    if texts.is_empty() {
        violations.add("skus", "LIST_EMPTY", "must not be empty");
    } else if texts.len() > SKUS_MAX {
        violations.add("skus", "LIST_TOO_LONG", format!("must have at most {SKUS_MAX} entries"));
    }
    let mut skus = BTreeSet::new();
    for (index, text) in texts.iter().take(SKUS_MAX).enumerate() {
        skus.extend(violations.take(format!("skus[{index}]"), Sku::parse(text)).map(|sku| sku.to_string()));
    }
    violations.finish()?;
    Ok(skus)
}

pub(super) fn list(message: &ListProductsRequest) -> Result<u32, Rejection> {
    let mut violations = Violations::new();
    let size = violations.take("page_size", page_size(message.page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX));
    size.ok_or_else(|| violations.into_rejection())
}

fn key_of(product: &ProductMessage, violations: &mut Violations) -> Option<ProductKey> {
    if !product.product_id.is_empty() {
        by_id("product.product_id", &product.product_id, violations)
    } else if !product.sku.is_empty() {
        by_sku("product.sku", &product.sku, violations)
    } else {
        violations.add("product.product_id", "FIELD_MISSING", "product_id or sku must be set");
        None
    }
}

fn by_id(field: &str, text: &str, violations: &mut Violations) -> Option<ProductKey> {
    violations.take(field, parse_uuid(text, "PRODUCT_ID_MALFORMED")).map(ProductKey::Id)
}

fn by_sku(field: &str, text: &str, violations: &mut Violations) -> Option<ProductKey> {
    violations.take(field, Sku::parse(text)).map(ProductKey::Sku)
}

fn changes(product: &ProductMessage, fields: &[Field], violations: &mut Violations) -> Changes {
    let mut changes = Changes::default();
    for field in fields {
        match field {
            Field::DisplayName => {
                changes.display_name =
                    violations.take("product.display_name", DisplayName::parse(&product.display_name));
            }
            Field::Description => {
                changes.description = violations.take("product.description", Description::parse(&product.description));
            }
            Field::Price => {
                let amount = money("product.price", product.price.clone(), violations);
                changes.price = amount.and_then(|amount| violations.take("product.price", Price::parse(amount)));
            }
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use openorder_proto::google::r#type::Money as MoneyMessage;
    use prost_types::FieldMask;

    use super::*;

    fn euros(units: i64) -> Option<MoneyMessage> {
        Some(MoneyMessage { currency_code: "EUR".to_owned(), units, nanos: 0 })
    }

    fn seen(rejection: &Rejection) -> Vec<(&str, &str)> {
        rejection.violations.iter().map(|one| (one.field.as_str(), one.reason)).collect()
    }

    #[test]
    fn every_wrong_field_of_a_new_product_is_named_at_once() {
        let message = CreateProductRequest {
            request_id: " ".to_owned(),
            sku: "no sku".to_owned(),
            display_name: String::new(),
            price: euros(-1),
            initial_stock: -1,
            description: "x".repeat(4_001),
        };
        assert_eq!(
            seen(&create(&message, Uuid::nil()).unwrap_err()),
            [
                ("request_id", "REQUEST_ID_MALFORMED"),
                ("sku", "SKU_MALFORMED"),
                ("display_name", "DISPLAY_NAME_MALFORMED"),
                ("price", "PRICE_OUT_OF_RANGE"),
                ("initial_stock", "INITIAL_STOCK_OUT_OF_RANGE"),
                ("description", "DESCRIPTION_MALFORMED"),
            ]
        );
    }

    #[test]
    fn a_good_request_becomes_a_command() {
        let message = CreateProductRequest {
            request_id: "r1".to_owned(),
            sku: "KB-1".to_owned(),
            display_name: "Keyboard".to_owned(),
            price: euros(10),
            initial_stock: 3,
            description: String::new(),
        };
        let (request_id, command) = create(&message, Uuid::from_u128(5)).unwrap();
        assert_eq!(request_id.as_str(), "r1");
        let Command::Create(new) = command else { panic!("{command:?}") };
        assert_eq!((new.product_id, new.price.amount().minor_units()), (Uuid::from_u128(5), 1_000));
    }

    fn update_of(paths: &[&str], product: ProductMessage) -> UpdateProductRequest {
        UpdateProductRequest {
            request_id: "r1".to_owned(),
            product: Some(product),
            update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
            expected_version: 0,
        }
    }

    #[test]
    fn only_masked_fields_are_read() {
        let product = ProductMessage { sku: "KB-1".to_owned(), price: euros(5), ..ProductMessage::default() };
        let (_, command) = update(&update_of(&["price", "price"], product)).unwrap();
        let Command::Update { key, changes, expected_version } = command else { panic!("{command:?}") };
        assert_eq!(key, ProductKey::Sku(Sku::parse("KB-1").unwrap()));
        assert_eq!(expected_version, None);
        assert!(changes.display_name.is_none() && changes.description.is_none() && changes.price.is_some());
    }

    #[test]
    fn two_requests_that_change_the_same_are_the_same() {
        let named = ProductMessage { sku: "KB-1".to_owned(), price: euros(5), ..ProductMessage::default() };
        let read = ProductMessage { display_name: "Keyboard".to_owned(), version: 3, ..named.clone() };
        let (one, other) = (update_of(&["price"], named), update_of(&["price", "price"], read.clone()));
        assert_eq!(canonical_update(&one), canonical_update(&other));
        assert_ne!(canonical_update(&one), canonical_update(&update_of(&["price", "display_name"], read)));
    }

    #[test]
    fn the_id_goes_before_the_sku() {
        let product_id = Uuid::from_u128(9).to_string();
        let product = ProductMessage { product_id, sku: "KB-1".to_owned(), ..ProductMessage::default() };
        let (_, command) = update(&update_of(&["description"], product)).unwrap();
        let Command::Update { key, .. } = command else { panic!("{command:?}") };
        assert_eq!(key, ProductKey::Id(Uuid::from_u128(9)));
    }

    #[test]
    fn a_mask_names_changeable_fields_only() {
        let product = ProductMessage { sku: "KB-1".to_owned(), ..ProductMessage::default() };
        assert_eq!(update(&update_of(&["sku"], product.clone())).unwrap_err().reason, "UPDATE_MASK_INVALID");
        assert_eq!(update(&update_of(&[], product.clone())).unwrap_err().reason, "FIELD_MISSING");
        let wrong = update(&update_of(&["display_name", "price"], product)).unwrap_err();
        assert_eq!(
            seen(&wrong),
            [("product.display_name", "DISPLAY_NAME_MALFORMED"), ("product.price", "FIELD_MISSING")]
        );
    }

    #[test]
    fn a_missing_key_and_a_negative_version_are_named() {
        let message =
            UpdateProductRequest { expected_version: -1, ..update_of(&["description"], ProductMessage::default()) };
        assert_eq!(
            seen(&update(&message).unwrap_err()),
            [("product.product_id", "FIELD_MISSING"), ("expected_version", "VERSION_OUT_OF_RANGE")]
        );
        assert_eq!(get(&GetProductRequest { key: None }).unwrap_err().reason, "FIELD_MISSING");
        let delete_by = |key| delete(&DeleteProductRequest { request_id: "r".to_owned(), key });
        assert_eq!(delete_by(None).unwrap_err().reason, "FIELD_MISSING");
        let malformed = delete_by(Some(delete_product_request::Key::ProductId("7".to_owned())));
        assert_eq!(malformed.unwrap_err().reason, "PRODUCT_ID_MALFORMED");
    }

    #[test]
    fn a_batch_of_skus_has_a_bound_and_counts_each_once() {
        let texts = |count: usize| (0..count).map(|index| format!("S{index}")).collect::<Vec<_>>();
        assert_eq!(skus(&texts(500)).unwrap().len(), 500);
        assert_eq!(skus(&texts(501)).unwrap_err().reason, "LIST_TOO_LONG");
        assert_eq!(skus(&[]).unwrap_err().reason, "LIST_EMPTY");
        assert_eq!(skus(&["A".to_owned(), "A".to_owned()]).unwrap().len(), 1);
        assert_eq!(seen(&skus(&["A".to_owned(), "?".to_owned()]).unwrap_err()), [("skus[1]", "SKU_MALFORMED")]);
    }
}
