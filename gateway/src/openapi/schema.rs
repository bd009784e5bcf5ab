//! Messages as JSON Schema, the dialect of OpenAPI 3.1.

use std::collections::BTreeSet;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use crate::transcode::contract::Contract;
use crate::transcode::json::well_known;

/// The schemas of all messages that were referred to.
pub(super) struct Schemas<'a> {
    contract: &'a Contract,
    seen: BTreeSet<String>,
    made: Map<String, Json>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(contract: &'a Contract) -> Self {
        Self { contract, seen: BTreeSet::new(), made: Map::new() }
    }

    /// All of them by their names, and that of a refusal.
    pub(super) fn finish(mut self) -> Json {
        self.made.insert("google.rpc.Status".to_owned(), status());
        Json::Object(self.made)
    }

    /// A reference to a message's schema.
    pub(super) fn message(&mut self, descriptor: &MessageDescriptor) -> Json {
        let name = descriptor.full_name();
        if let Some(schema) = plain(name) {
            return schema;
        }
        if self.seen.insert(name.to_owned()) {
            let schema = self.object(descriptor);
            self.made.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    fn object(&mut self, descriptor: &MessageDescriptor) -> Json {
        let mut properties = Map::new();
        for field in descriptor.fields() {
            properties.insert(field.json_name().to_owned(), self.field(&field));
        }
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        let comment = self.contract.comments().of_message(descriptor);
        if !comment.is_empty() {
            schema.insert("description".to_owned(), comment.into());
        }
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), Json::Object(properties));
        }
        let choices: Vec<Json> = descriptor
            .oneofs()
            .filter(|oneof| !oneof.is_synthetic())
            .map(|oneof| choice(oneof.fields().map(|field| field.json_name().to_owned())))
            .collect();
        if !choices.is_empty() {
            schema.insert("allOf".to_owned(), choices.into());
        }
        Json::Object(schema)
    }

    /// A field with what its comment says.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Json {
        let schema = self.of_kind(field);
        let comment = self.contract.comments().of_field(field);
        let mut schema = if let Json::Object(schema) = schema { schema } else { Map::new() };
        if !comment.is_empty() {
            schema.insert("description".to_owned(), comment.into());
        }
        Json::Object(schema)
    }

    fn of_kind(&mut self, field: &FieldDescriptor) -> Json {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else { return json!({ "type": "object" }) };
            let values = self.kind(&entry.map_entry_value_field().kind());
            return json!({ "type": "object", "additionalProperties": values });
        }
        let schema = self.kind(&field.kind());
        if field.is_list() { json!({ "type": "array", "items": schema }) } else { schema }
    }

    fn kind(&mut self, kind: &Kind) -> Json {
        match kind {
            Kind::Message(descriptor) => self.message(descriptor),
            Kind::Enum(descriptor) => self.enumeration(descriptor),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "format": "uint32", "minimum": 0 }),
            // JSON's readers lose the last digits of such numbers: they are written as texts.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "format": "int64" }),
            Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
            Kind::Double => json!({ "type": "number", "format": "double" }),
            Kind::Float => json!({ "type": "number", "format": "float" }),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        }
    }

    fn enumeration(&mut self, descriptor: &EnumDescriptor) -> Json {
        let name = descriptor.full_name();
        if self.seen.insert(name.to_owned()) {
            let comments = self.contract.comments();
            let names: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
            let mut lines = vec![comments.of_enum(descriptor).to_owned()];
            lines.extend(
                descriptor.values().map(|value| format!("- `{}`: {}", value.name(), comments.of_value(&value))),
            );
            let schema = json!({ "type": "string", "enum": names, "description": lines.join("\n") });
            self.made.insert(name.to_owned(), schema);
        }
        reference(name)
    }
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// One of these fields, or none of them.
fn choice(names: impl Iterator<Item = String>) -> Json {
    let required: Vec<Json> = names.map(|name| json!({ "required": [name] })).collect();
    let mut all = required.clone();
    all.push(json!({ "not": { "anyOf": required } }));
    json!({ "oneOf": all })
}

/// A well-known type, which is no object of its fields.
fn plain(name: &str) -> Option<Json> {
    let description = well_known(name)?;
    Some(match name.rsplit('.').next().unwrap_or_default() {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Struct" | "Empty" | "Any" => json!({ "type": "object" }),
        "ListValue" => json!({ "type": "array", "items": {} }),
        "Value" => json!({}),
        "BoolValue" => json!({ "type": "boolean" }),
        "FloatValue" | "DoubleValue" => json!({ "type": "number" }),
        "Int32Value" | "UInt32Value" => json!({ "type": "integer" }),
        _ => json!({ "type": "string", "description": description }),
    })
}

/// What every refusal is.
fn status() -> Json {
    json!({
        "type": "object",
        "description": "A refusal. Programs branch on the reason of the detail google.rpc.ErrorInfo (domain openorder); \
                        google.rpc.BadRequest names the fields that are wrong, google.rpc.RetryInfo says when to come again.",
        "required": ["code", "message"],
        "properties": {
            "code": { "type": "integer", "format": "int32", "description": "The code of google.rpc.Code." },
            "message": { "type": "string", "description": "For people to read; wording may change." },
            "details": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["@type"],
                    "properties": { "@type": { "type": "string" } },
                    "additionalProperties": true
                }
            }
        }
    })
}
