//! How a message stands in a row: its key and its headers, and back.

use openorder_types::{Fault, Timestamp};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    RawHeaders, Received,
    consumer::receive::{self, Place},
};

/// The time of a Kafka record, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordTime {
    pub(crate) at: Timestamp,
    /// Given by the broker (`LogAppendTime`), not by the publisher (`CreateTime`).
    pub(crate) by_broker: bool,
}

/// What a key is, across restarts and instances: topic and key.
pub(crate) type Key = (String, Vec<u8>);

/// The key of a message; one without a key is a key of its own.
pub(crate) fn key(message: &Received) -> Key {
    let key = if message.key.is_empty() { own_key(message.partition, message.offset) } else { message.key.to_vec() };
    (message.topic.to_string(), key)
}

fn own_key(partition: i32, offset: i64) -> Vec<u8> {
    format!("\0{partition}/{offset}").into_bytes()
}

/// The Kafka key out of a stored one.
pub(crate) fn kafka_key(stored: Vec<u8>, partition: i32, offset: i64) -> Vec<u8> {
    if stored == own_key(partition, offset) { Vec::new() } else { stored }
}

/// Columns that [`message`] reads.
pub(crate) const COLUMNS: &str = "topic, key, partition, \"offset\", event_id, payload, headers";

/// The message of a row that has [`COLUMNS`].
pub(crate) fn message(row: &PgRow) -> Result<Received, Fault> {
    let topic: String = row.try_get("topic")?;
    let (partition, offset): (i32, i64) = (row.try_get("partition")?, row.try_get("offset")?);
    let key = kafka_key(row.try_get("key")?, partition, offset);
    let payload: Vec<u8> = row.try_get("payload")?;
    let headers = headers(row.try_get("headers")?)?;
    let place = Place { topic: topic.into(), partition, offset };
    let mut message = receive::from_parts(place, key.into(), payload.into(), headers, None);
    message.event_id = row.try_get::<Uuid, _>("event_id")?;
    Ok(message)
}

/// The time of a row's Kafka record.
pub(crate) fn record_time(row: &PgRow) -> Result<RecordTime, Fault> {
    let at = row.try_get("recorded_at")?;
    Ok(RecordTime { at, by_broker: row.try_get("recorded_by_broker")? })
}

/// Headers as they are stored: names and hexadecimal values, in order; names may stand several times.
pub(crate) fn headers_json(headers: &RawHeaders) -> Result<serde_json::Value, Fault> {
    let headers: Vec<(&str, String)> = headers.iter().map(|(name, value)| (name, hex(value))).collect();
    serde_json::to_value(headers).map_err(Fault::permanent)
}

/// Headers out of their stored form.
pub(crate) fn headers(stored: serde_json::Value) -> Result<RawHeaders, Fault> {
    let headers: Vec<(String, String)> = serde_json::from_value(stored).map_err(Fault::permanent)?;
    let mut bytes = Vec::new();
    for (name, value) in &headers {
        RawHeaders::write(&mut bytes, name, &unhex(value));
    }
    Ok(RawHeaders::written(bytes.into()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of a stored header's value.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_survive_storing_whatever_their_bytes(values in proptest::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let before: RawHeaders = values.iter().map(|value| ("same name", value.as_slice())).collect();
            prop_assert_eq!(headers(headers_json(&before).unwrap()).unwrap(), before);
        }

        #[test]
        fn a_message_without_a_key_has_none_after_storing(partition in 0..100_i32, offset in 0..i64::MAX) {
            let place = Place { topic: "t.v1".into(), partition, offset };
            let message = receive::from_parts(place, Bytes::new(), Bytes::new(), RawHeaders::default(), None);
            let (_, stored) = key(&message);
            prop_assert!(!stored.is_empty());
            prop_assert!(kafka_key(stored, partition, offset).is_empty());
        }
    }
}
