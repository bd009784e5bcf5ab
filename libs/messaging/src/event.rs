//! Events on their way out (to the log and to Kafka) and on their way in.

use std::borrow::Cow;

use bytes::Bytes;
use openorder_telemetry::TraceContext;
use openorder_types::{AggregateId, Timestamp};
use uuid::Uuid;

use crate::headers;

/// A fact that a use case appends to its unit of work.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// CloudEvents type, `{domain}.{entity}.{action}`.
    pub event_type: &'static str,
    /// Topic without the deployment's prefix, `order.lifecycle.v1`.
    pub topic: &'static str,
    /// Kafka key, where it is not the id of the aggregate: events of one key keep their order.
    pub key: Option<AggregateId>,
    /// What kind of thing the aggregate is, such as `order`: ids of different types may be the same.
    pub aggregate_type: &'static str,
    /// The aggregate that the event belongs to; CloudEvents subject.
    pub aggregate_id: AggregateId,
    /// Version of the aggregate in this topic, from 1 without gaps.
    pub aggregate_version: i64,
    /// The encoded protobuf message of the event.
    pub payload: Bytes,
    /// Why the event happened, in stable `UPPER_SNAKE`, for its span; empty where the type says it.
    pub reason: String,
    /// Index, in the batch handed to the use case, of the command that led to the event: the event joins its trace.
    pub command_index: usize,
}

impl NewEvent {
    /// Kafka key: events of one key keep their order.
    pub fn key(&self) -> &AggregateId {
        self.key.as_ref().unwrap_or(&self.aggregate_id)
    }
}

/// An event as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Commit order within one service's log; CloudEvents sequence.
    pub position: i64,
    /// UUID v7; CloudEvents id.
    pub event_id: Uuid,
    /// CloudEvents type.
    pub event_type: Cow<'static, str>,
    /// Topic without the deployment's prefix.
    pub topic: Cow<'static, str>,
    /// Kafka key.
    pub key: AggregateId,
    /// CloudEvents subject: written where it is not the key.
    pub aggregate_id: AggregateId,
    /// Version of the aggregate in this topic, from 1 without gaps. It stays in the log.
    pub aggregate_version: i64,
    /// The encoded protobuf message of the event.
    pub payload: Bytes,
    /// Context of the span that created the event.
    pub trace: TraceContext,
    /// When the event was decided; the time of its record, in milliseconds.
    pub occurred_at: Timestamp,
}

/// A message as a consumer received it: cheap to clone, since key, payload and headers are shared, and the names of topics
/// and types that the consumer follows are not copied at all.
#[derive(Debug, Clone)]
pub struct Received {
    /// Topic without the deployment's prefix.
    pub topic: Cow<'static, str>,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka key as it came; empty when there was none.
    pub key: Bytes,
    /// CloudEvents id; derived from the message's place when the header is missing or malformed.
    pub event_id: Uuid,
    /// CloudEvents type; empty when the header is missing.
    pub event_type: Cow<'static, str>,
    /// CloudEvents sequence, the event's position in its source's log; none when the header is missing or says something else.
    pub position: Option<i64>,
    /// The encoded protobuf message of the event.
    pub payload: Bytes,
    /// Context of the span that created the event.
    pub trace: TraceContext,
    /// All headers as they came, for parking and dead letters.
    pub headers: RawHeaders,
}

/// Why a message can never be handled as it is.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DecodeError {
    /// The value is not the protobuf message that its type promises, or breaks a rule of its contract.
    #[error("malformed {event_type}: {detail}")]
    Malformed {
        /// CloudEvents type of the message.
        event_type: String,
        /// What did not fit; stays in the process and its tables.
        detail: String,
    },
    /// No such event type is known for the topic.
    #[error("unknown event type {0:?}")]
    UnknownType(String),
    /// A header has a name that is not UTF-8. Its bytes cannot be had: the record is known by its place.
    #[error("the name of a header is not UTF-8")]
    UnreadableHeaders,
    /// The decoding panicked at this message.
    #[error("the decoding panicked")]
    Panicked,
}

impl DecodeError {
    /// A malformed value of the received type.
    pub fn malformed(message: &Received, detail: impl std::fmt::Display) -> Self {
        Self::Malformed { event_type: message.event_type.to_string(), detail: detail.to_string() }
    }
}

impl Received {
    /// Service that published the event, from CloudEvents source: `order` of `/openorder/order`; empty when the header is
    /// missing.
    pub fn source(&self) -> &str {
        self.headers.text(headers::SOURCE).map(headers::service_of).unwrap_or_default()
    }

    /// Decodes the value as the protobuf message `M`.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when the bytes are no `M`.
    pub fn decode<M: prost::Message + Default>(&self) -> Result<M, DecodeError> {
        M::decode(&*self.payload).map_err(|error| DecodeError::malformed(self, error))
    }
}

/// All headers of a message as they came, in one piece of memory however many there are: every consumed message has some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawHeaders(Bytes);

impl RawHeaders {
    /// The headers that [`Self::write`] wrote into these bytes, one after the other.
    pub(crate) fn written(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Writes one header: the length of its name and of its value, and both.
    pub(crate) fn write(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
        // No record is as large as that.
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        bytes.extend_from_slice(&length(name.as_bytes()));
        bytes.extend_from_slice(&length(value));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value);
    }

    /// Names and values, in order; names may stand several times.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.parts().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
    }

    /// The first value of that name, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.parts().find(|(key, _)| *key == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    fn parts(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (name_length, after) = rest.split_first_chunk()?;
            let (value_length, after) = after.split_first_chunk()?;
            let (name, after) = after.split_at_checked(u32::from_le_bytes(*name_length) as usize)?;
            let (value, after) = after.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
            rest = after;
            Some((name, value))
        })
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for RawHeaders {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(headers: I) -> Self {
        let mut bytes = Vec::new();
        for (name, value) in headers {
            Self::write(&mut bytes, name, value);
        }
        Self(bytes.into())
    }
}
