#![allow(clippy::unwrap_used, clippy::panic)]

use openorder_fuzzing::Random;
use openorder_rpc::reason_of;
use openorder_rpc::status::violations_of;
use proptest::prelude::*;

use super::*;
use crate::transcode::arbitrary::{self, DEPTH, canonical, is_of_the_contract};
use crate::transcode::contract::PUBLIC;

fn message(name: &str) -> MessageDescriptor {
    PUBLIC.pool().get_message_by_name(name).unwrap()
}

fn create_order() -> MessageDescriptor {
    message("openorder.order.v1.CreateOrderRequest")
}

/// The fields that are wrong, with what is said of each.
fn wrong(descriptor: &MessageDescriptor, json: &str, unknown_fields: UnknownFields) -> Vec<(String, String)> {
    violations_of(&read(descriptor, json.as_bytes(), unknown_fields).unwrap_err())
}

fn field(descriptor: &MessageDescriptor, json: &str) -> String {
    let all = wrong(descriptor, json, UnknownFields::Refused);
    assert_eq!(all.len(), 1, "{json}: {all:?}");
    all[0].0.clone()
}

#[test]
fn both_names_of_a_field_are_read() {
    let (snake, camel) = (r#"{"customer_id": "ada"}"#, r#"{"customerId": "ada"}"#);
    let read = |json: &str| read(&create_order(), json.as_bytes(), UnknownFields::Refused).unwrap();
    assert_eq!(read(snake), read(camel));
    assert_eq!(read(""), read("{}"));
    assert_eq!(read(r#"{"customerId": null}"#), read("{}"));
}

#[test]
fn every_wrong_field_is_named_with_its_path() {
    let json = r#"{
        "lines": [{"sku": "chair", "quantity": "two"}, {"sku": 7}],
        "reservation_mode": "RESERVATION_MODE_LATER",
        "expectedTotal": {"units": "9223372036854775808"},
        "customer": "ada",
        "shipping_address": "here"
    }"#;
    let mut fields: Vec<_> =
        wrong(&create_order(), json, UnknownFields::Refused).into_iter().map(|one| one.0).collect();
    fields.sort();
    let expected = [
        "customer",
        "expected_total.units",
        "lines[0].quantity",
        "lines[1].sku",
        "reservation_mode",
        "shipping_address",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn a_refusal_stays_short_whatever_a_caller_made_up() {
    let names: Vec<String> = (0..500).map(|number| format!("\"{}{number}\": 1", "é".repeat(1_000))).collect();
    let refused = read(&create_order(), format!("{{{}}}", names.join(",")).as_bytes(), UnknownFields::Refused);
    let refused = refused.unwrap_err();
    assert!(refused.details().len() < 6_000, "{}", refused.details().len());
    assert!(violations_of(&refused).iter().all(|(field, _)| field.len() <= 200));
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    let product = message("openorder.product.v1.CreateProductRequest");
    for json in [
        r#"{"initial_stock": 1.5}"#,
        r#"{"initial_stock": 2147483648}"#,
        r#"{"initial_stock": "+1"}"#,
        r#"{"initial_stock": true}"#,
        r#"{"initial_stock": [1]}"#,
        r#"{"initial_stock": {}}"#,
    ] {
        assert_eq!(field(&product, json), "initial_stock", "{json}");
    }
    assert_eq!(field(&product, r#"{"price": [1]}"#), "price");
    assert_eq!(field(&product, r#"{"price": {"units": 1e30}}"#), "price.units");
    assert_eq!(field(&create_order(), r#"{"lines": {"sku": "a"}}"#), "lines");
    assert_eq!(field(&create_order(), r#"{"lines": [null]}"#), "lines[0]");
    assert_eq!(field(&create_order(), r#"{"reservation_mode": 1.5}"#), "reservation_mode");
    assert_eq!(field(&create_order(), "[]"), "body");
    let list = message("openorder.order.v1.ListOrdersRequest");
    for time in ["\"yesterday\"", "7", "\"2030-01-01\"", "\"10000-01-01T00:00:00Z\"", "{\"seconds\": 7}"] {
        assert_eq!(field(&list, &format!(r#"{{"create_time_from": {time}}}"#)), "create_time_from", "{time}");
    }
}

#[test]
fn whole_numbers_are_read_as_figures_and_as_texts() {
    let product = message("openorder.product.v1.CreateProductRequest");
    let read = |json: &str| read(&product, json.as_bytes(), UnknownFields::Refused).unwrap();
    for json in [r#"{"initial_stock": "7"}"#, r#"{"initial_stock": 7.0}"#, r#"{"initial_stock": 0.7e1}"#] {
        assert_eq!(read(json), read(r#"{"initial_stock": 7}"#), "{json}");
    }
    let units = r#"{"price": {"units": "-9223372036854775808"}}"#;
    assert_eq!(read(units), read(&units.replace('"', "").replace("price", "\"price\"").replace("units", "\"units\"")));
}

/// A caller that knows a later version of the contract is answered; one that misspelled a condition is not.
#[test]
fn unknown_fields_may_be_passed_over_and_unknown_names_of_enums_never() {
    let list = message("openorder.order.v1.ListOrdersRequest");
    let newer = br#"{"brand_new": {"a": [1]}, "customer_id": "ada"}"#;
    let seen = read(&list, newer, UnknownFields::Ignored).unwrap();
    assert_eq!(seen.get_field_by_name("customer_id").unwrap().as_str(), Some("ada"));
    assert_eq!(wrong(&list, std::str::from_utf8(newer).unwrap(), UnknownFields::Refused)[0].0, "brand_new");
    for unknown_fields in [UnknownFields::Ignored, UnknownFields::Refused] {
        let wrong = wrong(&list, r#"{"statuses": ["ORDER_STATUS_PAID", "ORDER_STATUS_PAYED"]}"#, unknown_fields);
        assert_eq!(wrong.len(), 1);
        assert_eq!(wrong[0].0, "statuses[1]");
        assert!(wrong[0].1.contains("ORDER_STATUS_PAID"), "{wrong:?}");
    }
}

#[test]
fn of_fields_that_exclude_each_other_one_is_taken() {
    let get = message("openorder.product.v1.GetProductRequest");
    assert_eq!(field(&get, r#"{"product_id": "a", "sku": "b"}"#), "sku");
    assert_eq!(field(&get, r#"{"productId": "c", "product_id": "c"}"#), "product_id");
}

#[test]
fn masks_are_read_in_both_spellings() {
    let update = message("openorder.product.v1.UpdateProductRequest");
    let read = |mask: &str| {
        let json = format!(r#"{{"update_mask": "{mask}"}}"#);
        read(&update, json.as_bytes(), UnknownFields::Refused).map(|message| message.encode_to_vec())
    };
    assert_eq!(read("displayName,price").unwrap(), read("display_name, price").unwrap());
    assert!(read("display name").is_err() && read("a;b").is_err());
}

#[test]
fn what_is_no_json_is_refused_with_the_place() {
    for (json, place) in
        [("{", "line 1 column 1"), ("{\"a\":}", "column 6"), ("{}x", "column 3"), ("\u{0}", "column 1")]
    {
        let refused = read(&create_order(), json.as_bytes(), UnknownFields::Refused).unwrap_err();
        assert_eq!(reason_of(&refused).as_deref(), Some("MALFORMED_REQUEST"), "{json}");
        assert!(refused.message().contains(place), "{json}: {}", refused.message());
    }
    let deep = "[".repeat(100_000);
    assert!(read(&create_order(), deep.as_bytes(), UnknownFields::Ignored).is_err());
}

#[test]
fn bytes_are_read_in_both_alphabets() {
    for text in ["-_8=", "+/8=", "+/8", "-_8"] {
        assert_eq!(bytes_of(text).unwrap().as_ref(), [0xfb, 0xff], "{text}");
    }
    assert_eq!(bytes_of("*"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_of_the_contract_goes_to_json_and_back(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let mut seen = 0;
        for descriptor in PUBLIC.pool().all_messages().filter(is_of_the_contract) {
            let message = arbitrary::message(&mut random, &descriptor, DEPTH);
            let json = write(&descriptor, &message.encode_to_vec()).unwrap();
            for unknown_fields in [UnknownFields::Refused, UnknownFields::Ignored] {
                let back = read(&descriptor, &json, unknown_fields).unwrap();
                let (name, json) = (descriptor.full_name(), String::from_utf8_lossy(&json));
                prop_assert!(canonical(&back) == message, "{name}: {json} is read as {back:?}");
            }
            seen += 1;
        }
        prop_assert!(seen > 150);
    }

    /// The library that writes is a second opinion on what is read.
    #[test]
    fn what_the_library_reads_is_read_the_same(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        for descriptor in [create_order(), message("openorder.operations.v1.ListDeadLettersRequest")] {
            let made = arbitrary::message(&mut random, &descriptor, DEPTH);
            let json = write(&descriptor, &made.encode_to_vec()).unwrap();
            let mut library = serde_json::Deserializer::from_slice(&json);
            let theirs = DynamicMessage::deserialize(descriptor.clone(), &mut library).unwrap();
            let ours = read(&descriptor, &json, UnknownFields::Refused).unwrap();
            prop_assert_eq!(ours.encode_to_vec(), theirs.encode_to_vec());
        }
    }

    #[test]
    fn no_json_breaks_it(json in "[{}\\[\\]\":, a-z0-9.e-]{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        for descriptor in [create_order(), message("openorder.history.v1.SearchOrdersRequest")] {
            drop(read(&descriptor, json.as_bytes(), UnknownFields::Refused));
            drop(read(&descriptor, &bytes, UnknownFields::Ignored));
            drop(write(&descriptor, &bytes));
        }
    }

    /// Real names with values of any kind.
    #[test]
    fn no_value_breaks_a_field(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let descriptor = create_order();
        let values = ["null", "1e400", "-1", "\"\"", "[]", "{}", "[[]]", "{\"@type\": 7}", "true", "\"NaN\"", "1e-9"];
        let fields: Vec<_> = descriptor
            .fields()
            .map(|field| format!("{:?}: {}", field.name(), random.one_of(&values)))
            .collect();
        drop(read(&descriptor, format!("{{{}}}", fields.join(", ")).as_bytes(), UnknownFields::Refused));
    }
}
