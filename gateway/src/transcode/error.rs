//! Refusals as JSON: `google.rpc.Status` for callers of REST, Connect's own shape for its.
//!
//! Whatever a service puts into the details of a refusal, the refusal itself arrives: a detail that is not known here goes
//! on as its bytes.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use openorder_rpc::status::web;
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use prost_types::Any;
use serde_json::{Map, Value as Json, json};
use tonic::Status;
use tonic_types::pb;

use super::contract::Contract;

/// A refusal as `google.rpc.Status` in JSON.
pub(crate) fn rest(contract: &Contract, status: &Status) -> Json {
    let details: Vec<Json> = details_of(status).iter().map(|detail| rest_detail(contract, detail)).collect();
    json!({ "code": status.code() as i32, "message": status.message(), "details": details })
}

/// A refusal as Connect has it ("Error End-Stream", the document of its protocol).
pub(crate) fn connect(contract: &Contract, status: &Status) -> Json {
    let mut error = Map::new();
    error.insert("code".to_owned(), web::connect_code(status).into());
    if !status.message().is_empty() {
        error.insert("message".to_owned(), status.message().into());
    }
    let details: Vec<Json> = details_of(status).iter().map(|detail| connect_detail(contract, detail)).collect();
    if !details.is_empty() {
        error.insert("details".to_owned(), details.into());
    }
    Json::Object(error)
}

fn details_of(status: &Status) -> Vec<Any> {
    pb::Status::decode(status.details()).map(|all| all.details).unwrap_or_default()
}

/// `{"@type": …}` with the fields of the message, as protobuf's mapping has it; with its bytes where it is not known.
fn rest_detail(contract: &Contract, detail: &Any) -> Json {
    let mut fields = match decoded(contract, detail) {
        Some(Json::Object(fields)) => fields,
        Some(value) => Map::from_iter([("value".to_owned(), value)]),
        None => Map::from_iter([("value".to_owned(), BASE64_STANDARD.encode(&detail.value).into())]),
    };
    fields.insert("@type".to_owned(), detail.type_url.clone().into());
    Json::Object(fields)
}

fn connect_detail(contract: &Contract, detail: &Any) -> Json {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), name_of(detail).into());
    fields.insert("value".to_owned(), BASE64_STANDARD_NO_PAD.encode(&detail.value).into());
    if let Some(debug) = decoded(contract, detail) {
        fields.insert("debug".to_owned(), debug);
    }
    Json::Object(fields)
}

fn name_of(detail: &Any) -> &str {
    detail.type_url.rsplit_once('/').map_or(detail.type_url.as_str(), |(_, name)| name)
}

/// The message of a detail in JSON; `None` where it is not known, or is not what its name says.
fn decoded(contract: &Contract, detail: &Any) -> Option<Json> {
    let descriptor = contract.pool().get_message_by_name(name_of(detail))?;
    let message = DynamicMessage::decode(descriptor, detail.value.as_slice()).ok()?;
    message.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use openorder_rpc::{Refusal, rejection};
    use openorder_types::{FieldViolation, Rejection};

    use super::*;
    use crate::transcode::contract::PUBLIC;

    #[expect(clippy::disallowed_methods, reason = "as a foreign service makes it")]
    fn with_details(details: Vec<Any>) -> Status {
        let all = pb::Status { code: 9, message: "no".to_owned(), details };
        Status::with_details(tonic::Code::FailedPrecondition, "no", all.encode_to_vec().into())
    }

    #[test]
    fn details_are_told_with_their_fields() {
        let refused =
            rejection(Rejection::invalid(vec![FieldViolation::new("lines[0].sku", "SKU_MALFORMED", "must be")]));
        let told = rest(&PUBLIC, &refused);
        assert_eq!((&told["code"], &told["message"]), (&json!(3), &json!("lines[0].sku: must be")));
        let info = json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SKU_MALFORMED", "domain": "openorder"
        });
        assert_eq!(told["details"][0], info);
        assert_eq!(told["details"][1]["fieldViolations"][0]["field"], "lines[0].sku");
        let told = rest(&PUBLIC, &Refusal::overloaded(Duration::from_millis(1_500)));
        let again = json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s" });
        assert_eq!(told["details"][1], again);
    }

    #[test]
    fn a_detail_that_nobody_knows_never_spoils_the_answer() {
        let unknown = Any { type_url: "type.example.com/acme.Secret".to_owned(), value: vec![0xff, 1] };
        let broken = Any { type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(), value: vec![0xff] };
        let nameless = Any { type_url: String::new(), value: Vec::new() };
        let refused = with_details(vec![unknown, broken, nameless]);
        let told = rest(&PUBLIC, &refused);
        assert_eq!(told["details"][0], json!({ "@type": "type.example.com/acme.Secret", "value": "/wE=" }));
        assert_eq!(told["details"][1]["value"], "/w==");
        assert_eq!(told["details"].as_array().unwrap().len(), 3);
        let told = connect(&PUBLIC, &refused);
        assert_eq!(told["code"], "failed_precondition");
        assert_eq!(told["details"][0], json!({ "type": "acme.Secret", "value": "/wE" }));
    }

    #[test]
    fn connect_has_each_detail_as_bytes_and_to_read() {
        let told = connect(&PUBLIC, &Refusal::deadline_exceeded());
        assert_eq!(told["code"], "deadline_exceeded");
        assert_eq!(told["details"][0]["type"], "google.rpc.ErrorInfo");
        assert_eq!(told["details"][0]["debug"]["reason"], "DEADLINE_EXCEEDED");
    }
}
