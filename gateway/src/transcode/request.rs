//! The message of a request: out of its path, its query and its body.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName};
use openorder_rpc::Refusal;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use serde_json::Value as Json;
use tonic::Status;

use super::contract::Procedure;
use super::json::{Reader, UnknownFields, below, other_of_oneof, parse};
use super::query;
use super::rest::{Binding, BodyRule};

/// Names a command whose message does not (the IETF's draft "The Idempotency-Key HTTP Header Field").
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The field that says which fields of another one are to change.
const UPDATE_MASK: &str = "update_mask";

/// The message of a request over REST.
///
/// # Errors
///
/// A refusal that names what is wrong, where a field is to blame.
pub(crate) fn rest(
    binding: &Binding,
    values: &[String],
    query: Option<&str>,
    body: &[u8],
) -> Result<DynamicMessage, Status> {
    let input = &binding.route.procedure.input;
    let mut reader = Reader::new(UnknownFields::Refused);
    let (mut message, mut json) = (DynamicMessage::new(input.clone()), Json::Null);
    let mut taken: Vec<String> = binding.template.fields().map(str::to_owned).collect();
    match &binding.body {
        BodyRule::Nothing if body.trim_ascii().is_empty() => {}
        BodyRule::Nothing => return Err(Refusal::malformed_request("this method takes no body")),
        BodyRule::Whole => {
            let read = reader.message("", input, &parse(body)?);
            message = read.unwrap_or(message);
        }
        BodyRule::Field(field) => {
            json = parse(body)?;
            taken.push(field.name().to_owned());
            if let Some(value) = reader.value(field.name(), &field.kind(), &json) {
                message.set_field(field, value);
            }
        }
    }
    let parameters = query::parse(query.unwrap_or_default())?;
    match (&binding.body, parameters.first()) {
        (BodyRule::Whole, Some((name, _))) => {
            reader.violation(name, "FIELD_MISPLACED", "belongs into the body: this method takes no query");
        }
        _ => query::apply(&mut reader, &mut message, &parameters, &taken),
    }
    for (fields, text) in binding.variables.iter().zip(values) {
        set_of_path(&mut reader, &mut message, fields, text);
    }
    if let BodyRule::Field(field) = &binding.body
        && binding.method == http::Method::PATCH
    {
        derive_mask(&mut message, field, &json, &taken);
    }
    reader.finish(message)
}

/// Sets a field that stands in the path. The body may repeat it, and not contradict it.
fn set_of_path(reader: &mut Reader, message: &mut DynamicMessage, fields: &[FieldDescriptor], text: &str) {
    let Some((last, through)) = fields.split_last() else { return };
    let path = fields.iter().fold(String::new(), |path, field| below(&path, field.name()));
    let Some(value) = query::value(reader, &path, last, text) else { return };
    let mut message = message;
    for field in through {
        let Some(inner) = message.get_field_mut(field).as_message_mut() else { return };
        message = inner;
    }
    if message.has_field(last) && *message.get_field(last) != value {
        return reader.violation(&path, "FIELD_REPEATED", "stands in the path with another value");
    }
    if let Some(other) = other_of_oneof(message, last) {
        let other = below(path.rsplit_once('.').map_or("", |(outer, _)| outer), other.name());
        return reader.violation(&other, "FIELDS_EXCLUSIVE", format!("cannot be given together with {path}"));
    }
    message.set_field(last, value);
}

/// Without a mask, the fields that the body names are those to change (AIP-134); what names the object is none of them.
fn derive_mask(message: &mut DynamicMessage, body: &FieldDescriptor, json: &Json, taken: &[String]) {
    let Some(mask) = mask_field(message) else { return };
    let (Kind::Message(kind), Json::Object(given)) = (body.kind(), json) else { return };
    if message.has_field(&mask) {
        return;
    }
    let named =
        given.keys().filter_map(|name| kind.get_field_by_json_name(name).or_else(|| kind.get_field_by_name(name)));
    let paths: Vec<Value> = named
        .filter(|field| !taken.contains(&below(body.name(), field.name())))
        .map(|field| Value::String(field.name().to_owned()))
        .collect();
    if !paths.is_empty()
        && let Some(mask) = message.get_field_mut(&mask).as_message_mut()
    {
        mask.set_field_by_name("paths", Value::List(paths));
    }
}

fn mask_field(message: &DynamicMessage) -> Option<FieldDescriptor> {
    let field = message.descriptor().get_field_by_name(UPDATE_MASK)?;
    let is_mask = |kind: &MessageDescriptor| kind.full_name() == "google.protobuf.FieldMask";
    matches!(field.kind(), Kind::Message(kind) if is_mask(&kind)).then_some(field)
}

/// Names the command by `Idempotency-Key`, where its message does not.
///
/// # Errors
///
/// A refusal of a key that is no text.
pub(crate) fn name_command(
    procedure: &Procedure,
    message: &mut DynamicMessage,
    headers: &HeaderMap,
) -> Result<(), Status> {
    let (Some(field), Some(key)) = (&procedure.request_id, headers.get(IDEMPOTENCY_KEY)) else { return Ok(()) };
    if message.has_field(field) {
        return Ok(());
    }
    let Ok(key) = key.to_str() else {
        let mut reader = Reader::new(UnknownFields::Refused);
        reader.violation(field.name(), "VALUE_MALFORMED", "Idempotency-Key must be a text");
        return reader.finish(());
    };
    // The draft has it as a quoted string, and hardly anybody sends it so.
    let quoted = key.trim().strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    message.set_field(field, Value::String(quoted.unwrap_or(key.trim()).to_owned()));
    Ok(())
}

/// A message as gRPC frames it.
pub(crate) fn framed(message: &DynamicMessage) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(length + 5);
    put_prefix(&mut framed, length);
    // There is room for all of it.
    let _ = message.encode(&mut framed);
    framed.freeze()
}

/// An encoded message as gRPC frames it.
pub(crate) fn framed_bytes(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    put_prefix(&mut framed, message.len());
    framed.put_slice(message);
    framed.freeze()
}

fn put_prefix(framed: &mut BytesMut, length: usize) {
    framed.put_u8(0);
    // Requests have a limit far below.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}
