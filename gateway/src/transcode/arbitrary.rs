//! Messages of any type of the contract, with any values.

#![allow(clippy::panic)]

use std::collections::HashMap;

use openorder_fuzzing::Random;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

use super::json::other_of_oneof;

/// How deep messages are made.
pub(crate) const DEPTH: u32 = 4;
/// The first and the last second of a time, and of a span (protobuf's documents of both).
const TIME_SECONDS: (i64, i64) = (-62_135_596_800, 253_402_300_799);
const SPAN_SECONDS_MAX: i64 = 315_576_000_000;
const NANOS_MAX: i64 = 999_999_999;
/// Values of enums that no version of the contract has.
const UNKNOWN_VALUES: [i32; 4] = [9_999, -1, i32::MAX, i32::MIN];
/// Paths of fields that are the same in both spellings once they were there and back.
const PATHS: [&str; 5] = ["price", "display_name", "initial_stock", "a.b_c", "shipping_address.postal_code"];

/// A message with about two of three fields set.
pub(crate) fn message(random: &mut Random, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
    canonical(&Making { random, is_in_any: false }.message(descriptor, depth))
}

/// The same message, in which no field has its default unless that says something: so two that are the same are equal.
pub(crate) fn canonical(message: &DynamicMessage) -> DynamicMessage {
    let decoded = DynamicMessage::decode(message.descriptor(), message.encode_to_vec().as_slice());
    decoded.unwrap_or_else(|error| panic!("{message:?} does not decode: {error}"))
}

struct Making<'a> {
    random: &'a mut Random,
    /// Within, a message is its bytes, and the entries of a map have no order there.
    is_in_any: bool,
}

impl Making<'_> {
    fn message(&mut self, descriptor: &MessageDescriptor, depth: u32) -> DynamicMessage {
        if let Some(well_known) = self.well_known(descriptor, depth) {
            return well_known;
        }
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            if self.random.chance(33) || other_of_oneof(&message, &field).is_some() {
                continue;
            }
            if let Some(value) = self.field(&field, depth) {
                message.set_field(&field, value);
            }
        }
        message
    }

    /// What may have certain values alone.
    fn well_known(&mut self, descriptor: &MessageDescriptor, depth: u32) -> Option<DynamicMessage> {
        let bytes = match descriptor.full_name() {
            "google.protobuf.Timestamp" => {
                let seconds = self.between(TIME_SECONDS);
                prost_types::Timestamp { seconds, nanos: self.nanos() }.encode_to_vec()
            }
            "google.protobuf.Duration" => {
                let seconds = self.between((-SPAN_SECONDS_MAX, SPAN_SECONDS_MAX));
                let nanos = match seconds.abs() {
                    SPAN_SECONDS_MAX => 0,
                    _ => self.nanos(),
                };
                // Both have one sign, which is that of nothing where there are no seconds.
                let is_negative = seconds < 0 || (seconds == 0 && self.random.chance(50));
                prost_types::Duration { seconds, nanos: if is_negative { -nanos } else { nanos } }.encode_to_vec()
            }
            "google.protobuf.FieldMask" => {
                let count = self.random.below(4);
                let paths = (0..count).map(|_| (*self.random.one_of(&PATHS)).to_owned()).collect();
                prost_types::FieldMask { paths }.encode_to_vec()
            }
            "google.protobuf.Any" => {
                let all: Vec<_> = descriptor.parent_pool().all_messages().filter(is_of_the_contract).collect();
                let inner = self.random.one_of(&all);
                let was_in_any = std::mem::replace(&mut self.is_in_any, true);
                let value = self.message(inner, depth.saturating_sub(1)).encode_to_vec();
                self.is_in_any = was_in_any;
                prost_types::Any { type_url: format!("type.googleapis.com/{}", inner.full_name()), value }
                    .encode_to_vec()
            }
            _ => return None,
        };
        DynamicMessage::decode(descriptor.clone(), bytes.as_slice()).ok()
    }

    /// The ends among them.
    fn between(&mut self, (first, last): (i64, i64)) -> i64 {
        match self.random.below(8) {
            0 => first,
            1 => last,
            2 => 0,
            _ => {
                let span = (last - first) as u64 + 1;
                first + (self.random.bits() % span) as i64
            }
        }
    }

    fn nanos(&mut self) -> i32 {
        let unit = *self.random.one_of(&[1, 1_000, 1_000_000, 500_000_000]);
        (self.between((0, NANOS_MAX)) / unit * unit) as i32
    }

    fn field(&mut self, field: &FieldDescriptor, depth: u32) -> Option<Value> {
        if field.is_map() {
            return self.map(field, depth);
        }
        if field.is_list() {
            let count = self.random.below(3);
            let items: Option<Vec<_>> = (0..count).map(|_| self.value(&field.kind(), depth)).collect();
            return items.map(Value::List);
        }
        self.value(&field.kind(), depth)
    }

    fn map(&mut self, field: &FieldDescriptor, depth: u32) -> Option<Value> {
        let Kind::Message(entry) = field.kind() else { return None };
        let (keys, values) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let count = self.random.below(if self.is_in_any { 2 } else { 4 });
        let mut entries = HashMap::new();
        for _ in 0..count {
            let key = match keys {
                Kind::String => MapKey::String(self.random.text(8)),
                Kind::Int32 => MapKey::I32(self.random.number() as i32),
                Kind::Int64 => MapKey::I64(self.random.number() as i64),
                Kind::Uint32 => MapKey::U32(self.random.number() as u32),
                Kind::Uint64 => MapKey::U64(self.random.number()),
                Kind::Bool => MapKey::Bool(self.random.chance(50)),
                _ => return None,
            };
            entries.insert(key, self.value(&values, depth)?);
        }
        Some(Value::Map(entries))
    }

    fn value(&mut self, kind: &Kind, depth: u32) -> Option<Value> {
        let number = self.random.number();
        Some(match kind {
            Kind::Message(_) if depth == 0 => return None,
            Kind::Message(inner) => Value::Message(self.message(inner, depth - 1)),
            Kind::Enum(inner) => {
                let known: Vec<i32> = inner.values().map(|value| value.number()).collect();
                let is_known = self.random.chance(90);
                let values = if is_known { known.as_slice() } else { UNKNOWN_VALUES.as_slice() };
                Value::EnumNumber(*self.random.one_of(values))
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number as i64),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(number),
            Kind::Double => Value::F64(*self.random.one_of(&[0.1, -1e300, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY])),
            Kind::Float => Value::F32(*self.random.one_of(&[0.1, -1e30, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY])),
            Kind::Bool => Value::Bool(self.random.chance(50)),
            Kind::String => Value::String(self.random.text(8)),
            Kind::Bytes => Value::Bytes(self.random.bytes(12).into()),
        })
    }
}

/// Whether a message is one that our contract says, or that refusals are made of.
pub(crate) fn is_of_the_contract(descriptor: &MessageDescriptor) -> bool {
    let is_ours =
        |name: &str| ["openorder.", "google.rpc.", "google.type."].iter().any(|begin| name.starts_with(begin));
    is_ours(descriptor.full_name()) && !descriptor.is_map_entry()
}
