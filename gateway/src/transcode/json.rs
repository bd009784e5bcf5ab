//! Messages in JSON: protobuf's canonical mapping, read with the names of the fields that are wrong.
//!
//! The library that knows the mapping stops at the first error and does not say where it is; and where it passes over
//! unknown fields it passes over unknown names of enums, too, so that a condition that is misspelled would hold for
//! everything. So messages are read here, and their values of well-known types there.

use std::collections::HashMap;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use openorder_rpc::{Refusal, rejection};
use openorder_types::{FieldViolation, Rejection};
use prost::Message;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, SerializeOptions,
    Value,
};
use serde_json::{Map, Value as Json};
use tonic::Status;

/// The most violations that are noted of one request.
const VIOLATIONS_MAX: usize = 100;
/// Bytes of a field's path that are told; what a caller made up may be as long as its request.
const PATH_BYTES_MAX: usize = 200;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// What becomes of fields that a message does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownFields {
    Refused,
    /// Passed over: the caller may know a later version of the contract.
    Ignored,
}

/// Reads JSON, and notes what is wrong with it.
pub(crate) struct Reader {
    unknown_fields: UnknownFields,
    violations: Vec<FieldViolation>,
}

impl Reader {
    pub(crate) fn new(unknown_fields: UnknownFields) -> Self {
        Self { unknown_fields, violations: Vec::new() }
    }

    /// Notes what is wrong with a field.
    pub(crate) fn violation(&mut self, field: &str, reason: &'static str, description: impl Into<String>) {
        if self.violations.len() < VIOLATIONS_MAX {
            let field = if field.is_empty() { "body" } else { shortened(field) };
            self.violations.push(FieldViolation::new(field, reason, description));
        }
    }

    /// What was read, if nothing was wrong.
    pub(crate) fn finish<T>(self, read: T) -> Result<T, Status> {
        match self.violations.is_empty() {
            true => Ok(read),
            false => Err(rejection(Rejection::invalid(self.violations))),
        }
    }

    fn wrong<T>(&mut self, path: &str, expected: &str) -> Option<T> {
        self.violation(path, "VALUE_MALFORMED", format!("must be {expected}"));
        None
    }

    /// A message; `path` is its own in the request, empty for the request itself.
    pub(crate) fn message(
        &mut self,
        path: &str,
        descriptor: &MessageDescriptor,
        json: &Json,
    ) -> Option<DynamicMessage> {
        if let Some(expected) = well_known(descriptor.full_name()) {
            return self.well_known(path, descriptor, json, expected);
        }
        let Json::Object(fields) = json else { return self.wrong(path, "an object") };
        let mut message = DynamicMessage::new(descriptor.clone());
        self.fields(path, &mut message, fields);
        Some(message)
    }

    /// Sets the fields of a message.
    fn fields(&mut self, path: &str, message: &mut DynamicMessage, fields: &Map<String, Json>) {
        let descriptor = message.descriptor();
        for (name, json) in fields {
            let field = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
            let Some(field) = field else {
                if self.unknown_fields == UnknownFields::Refused {
                    self.violation(&below(path, name), "FIELD_UNKNOWN", "there is no such field");
                }
                continue;
            };
            let path = below(path, field.name());
            if json.is_null() && !takes_null(&field) {
                continue;
            }
            if message.has_field(&field) {
                self.violation(&path, "FIELD_REPEATED", "must be given once");
                continue;
            }
            if let Some(other) = other_of_oneof(message, &field) {
                let description = format!("cannot be given together with {}", other.name());
                self.violation(&path, "FIELDS_EXCLUSIVE", description);
                continue;
            }
            if let Some(value) = self.field(&path, &field, json) {
                message.set_field(&field, value);
            }
        }
    }

    fn field(&mut self, path: &str, field: &FieldDescriptor, json: &Json) -> Option<Value> {
        if field.is_map() {
            return self.map(path, field, json);
        }
        if !field.is_list() {
            return self.value(path, &field.kind(), json);
        }
        let Json::Array(items) = json else { return self.wrong(path, "an array") };
        let kind = field.kind();
        // All of them are read, so that all that is wrong is noted.
        let read = items.iter().enumerate().map(|(index, item)| self.value(&format!("{path}[{index}]"), &kind, item));
        let read: Vec<Option<Value>> = read.collect();
        read.into_iter().collect::<Option<Vec<Value>>>().map(Value::List)
    }

    fn map(&mut self, path: &str, field: &FieldDescriptor, json: &Json) -> Option<Value> {
        let (Json::Object(entries), Kind::Message(entry)) = (json, field.kind()) else {
            return self.wrong(path, "an object");
        };
        let (keys, values) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut read = HashMap::new();
        for (key, json) in entries {
            let path = format!("{path}[{key:?}]");
            let Some(key) = map_key(&keys, key) else { return self.wrong(&path, "a key of its map") };
            read.insert(key, self.value(&path, &values, json)?);
        }
        Some(Value::Map(read))
    }

    /// A value of its own.
    pub(crate) fn value(&mut self, path: &str, kind: &Kind, json: &Json) -> Option<Value> {
        let value = match kind {
            Kind::Message(descriptor) => return self.message(path, descriptor, json).map(Value::Message),
            Kind::Enum(descriptor) => return self.enum_number(path, descriptor, json).map(Value::EnumNumber),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(json).and_then(narrow).map(Value::I32),
            Kind::Uint32 | Kind::Fixed32 => integer(json).and_then(narrow).map(Value::U32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(json).and_then(narrow).map(Value::I64),
            Kind::Uint64 | Kind::Fixed64 => integer(json).and_then(narrow).map(Value::U64),
            Kind::Double => float(json).map(Value::F64),
            Kind::Float => float(json).and_then(narrow_float).map(Value::F32),
            Kind::Bool => json.as_bool().map(Value::Bool),
            Kind::String => json.as_str().map(|text| Value::String(text.to_owned())),
            Kind::Bytes => json.as_str().and_then(bytes_of).map(Value::Bytes),
        };
        value.or_else(|| self.wrong(path, expected(kind)))
    }

    fn enum_number(&mut self, path: &str, descriptor: &EnumDescriptor, json: &Json) -> Option<i32> {
        match json {
            Json::String(name) => match descriptor.get_value_by_name(name) {
                Some(value) => Some(value.number()),
                None => {
                    let all: Vec<_> = descriptor.values().map(|value| value.name().to_owned()).collect();
                    self.violation(path, "ENUM_VALUE_UNKNOWN", format!("must be one of {}", all.join(", ")));
                    None
                }
            },
            other => integer(other).and_then(narrow).or_else(|| self.wrong(path, "the name of a value")),
        }
    }

    fn well_known(
        &mut self,
        path: &str,
        descriptor: &MessageDescriptor,
        json: &Json,
        expected: &str,
    ) -> Option<DynamicMessage> {
        let read = match descriptor.full_name() {
            "google.protobuf.FieldMask" => json.as_str().and_then(|text| field_mask(descriptor, text)),
            _ => DynamicMessage::deserialize(descriptor.clone(), json).ok(),
        };
        read.or_else(|| self.wrong(path, expected))
    }
}

/// A request's message in JSON.
///
/// # Errors
///
/// A refusal that names the fields that are wrong.
pub(crate) fn read(
    descriptor: &MessageDescriptor,
    bytes: &[u8],
    unknown_fields: UnknownFields,
) -> Result<DynamicMessage, Status> {
    let json = parse(bytes)?;
    let mut reader = Reader::new(unknown_fields);
    let message = reader.message("", descriptor, &json);
    reader.finish(message).map(|message| message.unwrap_or_else(|| DynamicMessage::new(descriptor.clone())))
}

/// JSON, whatever it says; nothing at all is an empty object.
pub(crate) fn parse(bytes: &[u8]) -> Result<Json, Status> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Json::Object(Map::new()));
    }
    serde_json::from_slice(bytes).map_err(|error| Refusal::malformed_request(format!("the body is no JSON: {error}")))
}

/// An encoded message in JSON.
///
/// # Errors
///
/// When the bytes are not the message, or hold what JSON cannot.
pub(crate) fn write(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let message = DynamicMessage::decode(descriptor.clone(), bytes).map_err(|error| error.to_string())?;
    // Names and figures make it about twice as long.
    let mut json = Vec::with_capacity(bytes.len() * 2 + 64);
    let mut serializer = serde_json::Serializer::new(&mut json);
    message.serialize_with_options(&mut serializer, &SerializeOptions::new()).map_err(|error| error.to_string())?;
    Ok(json)
}

/// A mask of paths with commas between them, in lowerCamelCase as in JSON or in snake_case as in the contract.
pub(crate) fn field_mask(descriptor: &MessageDescriptor, text: &str) -> Option<DynamicMessage> {
    let is_path = |path: &str| {
        path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) && !path.is_empty()
    };
    let paths: Vec<&str> = text.split(',').map(str::trim).filter(|path| !path.is_empty()).collect();
    if !paths.iter().all(|path| is_path(path)) {
        return None;
    }
    let mask = prost_types::FieldMask { paths: paths.into_iter().map(snake_case).collect() };
    DynamicMessage::decode(descriptor.clone(), mask.encode_to_vec().as_slice()).ok()
}

/// `displayName` as `display_name`.
fn snake_case(text: &str) -> String {
    let mut snake = String::with_capacity(text.len() + 4);
    for letter in text.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The beginning of a path.
fn shortened(path: &str) -> &str {
    &path[..path.floor_char_boundary(PATH_BYTES_MAX)]
}

/// The path of a field in a message.
pub(crate) fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Another field of the same `oneof` that is set.
pub(crate) fn other_of_oneof(message: &DynamicMessage, field: &FieldDescriptor) -> Option<FieldDescriptor> {
    let oneof = field.containing_oneof()?;
    oneof.fields().find(|other| other != field && message.has_field(other))
}

fn takes_null(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value" && !field.is_list() && !field.is_map(),
        Kind::Enum(descriptor) => descriptor.full_name() == "google.protobuf.NullValue" && !field.is_list(),
        _ => false,
    }
}

/// What a message of a well-known type is in JSON; none for those that are objects with their fields.
pub(crate) fn well_known(name: &str) -> Option<&'static str> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => "a time such as \"2030-01-31T12:00:00Z\", from year 0001 to year 9999",
        "Duration" => "seconds such as \"1.5s\"",
        "FieldMask" => "paths of fields with commas between them, such as \"displayName,price\"",
        "Struct" | "Empty" => "an object",
        "Value" => "any JSON",
        "ListValue" => "an array",
        "Any" => "an object with \"@type\", the name of a message, and its fields",
        "BoolValue" => "true or false",
        "StringValue" => "a text",
        "BytesValue" => "bytes in base64",
        "FloatValue" | "DoubleValue" => "a number",
        "Int32Value" | "Int64Value" | "UInt32Value" | "UInt64Value" => "a whole number",
        _ => return None,
    })
}

fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "a whole number from -2147483648 to 2147483647",
        Kind::Uint32 | Kind::Fixed32 => "a whole number from 0 to 4294967295",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "a whole number of 64 bits, best as a text",
        Kind::Uint64 | Kind::Fixed64 => "a whole number of 64 bits that is not negative, best as a text",
        Kind::Double | Kind::Float => "a number",
        Kind::Bool => "true or false",
        Kind::String => "a text",
        Kind::Bytes => "bytes in base64",
        Kind::Enum(_) => "the name of a value",
        Kind::Message(_) => "an object",
    }
}

/// A whole number, also in a text and also as `1.0` or `1e3`.
fn integer(json: &Json) -> Option<i128> {
    match json {
        Json::Number(number) => {
            let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            whole.or_else(|| number.as_f64().and_then(whole_float))
        }
        Json::String(text) if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    }
}

fn whole_float(number: f64) -> Option<i128> {
    const BOUND: f64 = 18_446_744_073_709_551_616.0;
    (number.fract() == 0.0 && (-BOUND..BOUND).contains(&number)).then_some(number as i128)
}

fn narrow<T: TryFrom<i128>>(number: i128) -> Option<T> {
    T::try_from(number).ok()
}

fn float(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // Rust reads more words than protobuf's mapping has.
            number if number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
                number.parse().ok()
            }
            _ => None,
        },
        _ => None,
    }
}

fn narrow_float(number: f64) -> Option<f32> {
    let fits = !number.is_finite() || (f64::from(f32::MIN)..=f64::from(f32::MAX)).contains(&number);
    fits.then_some(number as f32)
}

/// Bytes in base64, of either alphabet, padded or not.
fn bytes_of(text: &str) -> Option<Bytes> {
    BASE64.decode(text).or_else(|_| BASE64_URL.decode(text)).ok().map(Bytes::from)
}

fn map_key(kind: &Kind, text: &str) -> Option<MapKey> {
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(text.parse().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(text.parse().ok()?),
        Kind::Uint32 | Kind::Fixed32 => MapKey::U32(text.parse().ok()?),
        Kind::Uint64 | Kind::Fixed64 => MapKey::U64(text.parse().ok()?),
        Kind::Bool => MapKey::Bool(text.parse().ok()?),
        Kind::String => MapKey::String(text.to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
