//! Fields of a request that stand in the query of its URL.

use openorder_rpc::Refusal;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use serde_json::Value as Json;
use tonic::Status;

use super::json::{Reader, below, other_of_oneof, well_known};
use super::path::decoded;

/// Bytes of a query.
const BYTES_MAX: usize = 65_536;
/// Parameters of a query, each value of a list counted.
const PARAMETERS_MAX: usize = 1_000;
/// Messages in messages that a name leads through.
const DEPTH_MAX: usize = 8;

/// The parameters of a query, decoded, in their order.
///
/// # Errors
///
/// A refusal of a query that is too long, has too many parameters, or is no text.
pub(crate) fn parse(query: &str) -> Result<Vec<(String, String)>, Status> {
    if query.len() > BYTES_MAX {
        return Err(Refusal::malformed_request(format!("the query is longer than {BYTES_MAX} bytes")));
    }
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if parameters.len() == PARAMETERS_MAX {
            return Err(Refusal::malformed_request(format!("the query has more than {PARAMETERS_MAX} parameters")));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |encoded: &str| {
            let spaced = encoded.replace('+', " ");
            decoded(&spaced, false).map_err(|_| Refusal::malformed_request("the query is not encoded as UTF-8"))
        };
        parameters.push((text(name)?, text(value)?));
    }
    Ok(parameters)
}

/// Sets the fields that the parameters name; those in `taken` stand elsewhere in the request and may not be named.
pub(crate) fn apply(
    reader: &mut Reader,
    message: &mut DynamicMessage,
    parameters: &[(String, String)],
    taken: &[String],
) {
    for (name, text) in parameters {
        set(reader, message, name, text, taken);
    }
}

/// Sets a field by its path: names in lowerCamelCase or snake_case with dots between them.
fn set(reader: &mut Reader, message: &mut DynamicMessage, name: &str, text: &str, taken: &[String]) {
    let Some(fields) = lead_to(&message.descriptor(), name) else {
        return reader.violation(name, "FIELD_UNKNOWN", "there is no such field");
    };
    let path = fields.iter().fold(String::new(), |path, field| below(&path, field.name()));
    if taken.iter().any(|taken| is_below(&path, taken) || is_below(taken, &path)) {
        return reader.violation(&path, "FIELD_REPEATED", "stands in the path or the body already");
    }
    let Some((last, through)) = fields.split_last() else { return };
    let Some(value) = value(reader, &path, last, text) else { return };
    let mut message = message;
    for field in through {
        if let Some(other) = other_of_oneof(message, field) {
            let description = format!("cannot be given together with {}", other.name());
            return reader.violation(&path, "FIELDS_EXCLUSIVE", description);
        }
        // Only messages lead on.
        let Some(inner) = message.get_field_mut(field).as_message_mut() else { return };
        message = inner;
    }
    if let Some(other) = other_of_oneof(message, last) {
        let description = format!("cannot be given together with {}", other.name());
        return reader.violation(&path, "FIELDS_EXCLUSIVE", description);
    }
    if last.is_list() {
        if let Some(list) = message.get_field_mut(last).as_list_mut() {
            list.push(value);
        }
    } else if message.has_field(last) {
        reader.violation(&path, "FIELD_REPEATED", "must be given once");
    } else {
        message.set_field(last, value);
    }
}

/// The fields that a name leads through, the last one of which has a value in text; none for what is no such name.
fn lead_to(message: &MessageDescriptor, name: &str) -> Option<Vec<FieldDescriptor>> {
    let (mut message, mut fields) = (Some(message.clone()), Vec::new());
    for part in name.split('.') {
        let inside = message.take()?;
        let field = inside.get_field_by_json_name(part).or_else(|| inside.get_field_by_name(part))?;
        if field.is_map() || fields.len() == DEPTH_MAX {
            return None;
        }
        if let Kind::Message(inner) = field.kind()
            && well_known(inner.full_name()).is_none()
            && !field.is_list()
        {
            message = Some(inner);
        }
        fields.push(field);
    }
    // It ends at a message that has no text, or at a list of such.
    let last = fields.last()?;
    let is_plain = match last.kind() {
        Kind::Message(inner) => well_known(inner.full_name()).is_some(),
        _ => true,
    };
    is_plain.then_some(fields)
}

/// The value of a field, or one more of its list, that stands in a text.
pub(crate) fn value(reader: &mut Reader, path: &str, field: &FieldDescriptor, text: &str) -> Option<Value> {
    let kind = field.kind();
    let json = match &kind {
        Kind::Bool => match text {
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            other => Json::String(other.to_owned()),
        },
        // A number is read from its figures, a name as a text.
        Kind::Enum(_) => text.parse::<i32>().map_or_else(|_| Json::String(text.to_owned()), Json::from),
        Kind::Message(inner) if inner.full_name() == "google.protobuf.BoolValue" => {
            text.parse::<bool>().map_or_else(|_| Json::String(text.to_owned()), Json::Bool)
        }
        _ => Json::String(text.to_owned()),
    };
    reader.value(path, &kind, &json)
}

/// Whether a path is this one, or leads to a field below it.
fn is_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_rpc::status::violations_of;
    use proptest::prelude::*;

    use super::*;
    use crate::transcode::contract::PUBLIC;
    use crate::transcode::json::UnknownFields;

    fn message(name: &str) -> MessageDescriptor {
        PUBLIC.pool().get_message_by_name(name).unwrap()
    }

    fn read(name: &str, query: &str, taken: &[&str]) -> Result<DynamicMessage, Status> {
        let mut read = DynamicMessage::new(message(name));
        let mut reader = Reader::new(UnknownFields::Refused);
        let taken: Vec<_> = taken.iter().map(|name| (*name).to_owned()).collect();
        apply(&mut reader, &mut read, &parse(query)?, &taken);
        reader.finish(read)
    }

    fn json(name: &str, query: &str) -> String {
        serde_json::to_string(&read(name, query, &[]).unwrap()).unwrap()
    }

    fn wrong(name: &str, query: &str) -> String {
        let wrong = violations_of(&read(name, query, &["lines"]).unwrap_err());
        assert_eq!(wrong.len(), 1, "{query}: {wrong:?}");
        wrong[0].0.clone()
    }

    const LIST: &str = "openorder.order.v1.ListOrdersRequest";
    const SEARCH: &str = "openorder.history.v1.SearchOrdersRequest";

    #[test]
    fn lists_times_numbers_and_fields_of_fields_are_read() {
        assert_eq!(
            json(LIST, "statuses=ORDER_STATUS_PAID&statuses=ORDER_STATUS_SHIPPED&pageSize=5&page_token=a%2Bb+c"),
            r#"{"statuses":["ORDER_STATUS_PAID","ORDER_STATUS_SHIPPED"],"pageSize":5,"pageToken":"a+b c"}"#
        );
        assert_eq!(
            json(LIST, "create_time_from=2030-01-01T00:00:00Z&&customerId"),
            r#"{"createTimeFrom":"2030-01-01T00:00:00Z"}"#
        );
        assert_eq!(
            json(SEARCH, "total_min.currency_code=EUR&totalMin.units=7"),
            r#"{"totalMin":{"currencyCode":"EUR","units":"7"}}"#
        );
        assert_eq!(json("openorder.product.v1.ListProductsRequest", "show_deleted=true"), r#"{"showDeleted":true}"#);
        let mask = json("openorder.product.v1.UpdateProductRequest", "update_mask=display_name,price");
        assert_eq!(mask, r#"{"updateMask":"displayName,price"}"#);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(wrong(LIST, "statuses=ORDER_STATUS_PAYED"), "statuses");
        assert_eq!(wrong(LIST, "status=ORDER_STATUS_PAID"), "status");
        assert_eq!(wrong(LIST, "page_size=many"), "page_size");
        assert_eq!(wrong(LIST, "page_size=1&pageSize=2"), "page_size");
        assert_eq!(wrong(LIST, "create_time_from=today"), "create_time_from");
        assert_eq!(wrong(LIST, "create_time_from.seconds=7"), "create_time_from.seconds");
        assert_eq!(wrong(SEARCH, "total_min=7"), "total_min");
        assert_eq!(wrong(SEARCH, "total_min.units.x=7"), "total_min.units.x");
        assert_eq!(wrong("openorder.product.v1.ListProductsRequest", "show_deleted=yes"), "show_deleted");
        assert_eq!(wrong("openorder.product.v1.GetProductRequest", "sku=a&product_id=b"), "product_id");
        assert_eq!(wrong("openorder.order.v1.CreateOrderRequest", "lines=a"), "lines");
    }

    #[test]
    fn what_stands_elsewhere_may_not_stand_here() {
        let update = "openorder.product.v1.UpdateProductRequest";
        let taken = ["product", "update_mask"];
        for query in ["product.sku=a", "updateMask=price"] {
            assert!(read(update, query, &taken).is_err(), "{query}");
        }
        assert!(read(update, "request_id=a&expected_version=3", &taken).is_ok());
    }

    #[test]
    fn a_query_has_bounds() {
        assert!(parse(&"a=1&".repeat(1_000)).is_ok());
        assert!(parse(&"a=1&".repeat(1_001)).is_err());
        assert!(parse(&"a".repeat(65_537)).is_err());
        assert!(parse("a=%ff").is_err() && parse("a=%2").is_err());
        assert!(read(LIST, &["a"; 100].join("."), &[]).is_err());
    }

    proptest! {
        #[test]
        fn no_query_breaks_it(
            query in "(([a-z_.]{0,9}|statuses|total_min\\.units|page_size)=?[^&]{0,9}&){0,6}",
            bytes in "\\PC{0,80}",
        ) {
            for name in [LIST, SEARCH] {
                drop(read(name, &query, &[]));
                drop(read(name, &bytes, &["customer_id"]));
            }
        }
    }
}
