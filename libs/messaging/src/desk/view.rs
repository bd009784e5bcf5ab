//! What an operator sees of messages that failed.

use openorder_types::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::RawHeaders;

/// A message whose attempts are used up, or that can never succeed. Its key waits until it is replayed or discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id in this service: dead letters are listed in this order.
    pub sequence: i64,
    /// Topic without the deployment's prefix.
    pub topic: String,
    /// Kafka key, its first 1024 bytes; empty when it had none.
    pub key: Vec<u8>,
    /// Partition that it was read from; -1 for a redelivered event.
    pub partition: i32,
    /// Offset that it was read from; the position in the source's event log for a redelivered event.
    pub offset: i64,
    /// CloudEvents id.
    pub event_id: Uuid,
    /// CloudEvents type; empty when it had none.
    pub event_type: String,
    /// W3C trace id, 32 hexadecimal digits; empty when it had none.
    pub trace_id: String,
    /// Bytes of its value.
    pub payload_bytes: i64,
    /// Attempts that failed.
    pub attempts: i32,
    /// `retryable` or `permanent`.
    pub error_class: String,
    /// Stable reason of the last failure, `UPPER_SNAKE`.
    pub error_reason: String,
    /// Text of the last failure, cut to 1000 characters.
    pub error_text: String,
    /// Time of the Kafka record.
    pub recorded_at: Timestamp,
    /// When it was parked first.
    pub parked_at: Timestamp,
    /// When it was given up.
    pub dead_at: Timestamp,
    /// Later messages of its key that wait behind it.
    pub waiting_behind: i64,
    /// The open replay that it is part of.
    pub replay_job_id: Option<Uuid>,
}

/// A dead letter with everything that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterDetail {
    /// The same as in the list.
    pub dead_letter: DeadLetter,
    /// Its value as it came.
    pub payload: Vec<u8>,
    /// Its headers as they came.
    pub headers: RawHeaders,
    /// Its last failed attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// One failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: i32,
    /// When.
    pub attempted_at: Timestamp,
    /// `retryable` or `permanent`.
    pub error_class: String,
    /// Stable reason, `UPPER_SNAKE`.
    pub error_reason: String,
    /// Text, cut to 1000 characters.
    pub error_text: String,
}

/// Dead letters that failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Topic without the deployment's prefix.
    pub topic: String,
    /// CloudEvents type.
    pub event_type: String,
    /// `retryable` or `permanent`.
    pub error_class: String,
    /// Stable reason, `UPPER_SNAKE`.
    pub error_reason: String,
    /// Text of the latest one.
    pub error_text: String,
    /// How many dead letters.
    pub count: i64,
    /// How many keys wait for them.
    pub keys: i64,
    /// When the first of them was given up.
    pub first_at: Timestamp,
    /// When the last of them was given up.
    pub last_at: Timestamp,
}

/// A message that is tried again by itself, or waits behind one of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Its id in this service; parked messages are listed in this order.
    pub sequence: i64,
    /// Topic without the deployment's prefix.
    pub topic: String,
    /// Kafka key, its first 1024 bytes; empty when it had none.
    pub key: Vec<u8>,
    /// Partition that it was read from; -1 for a redelivered event.
    pub partition: i32,
    /// Offset that it was read from.
    pub offset: i64,
    /// CloudEvents id.
    pub event_id: Uuid,
    /// CloudEvents type.
    pub event_type: String,
    /// W3C trace id, 32 hexadecimal digits; empty when it had none.
    pub trace_id: String,
    /// Attempts that failed; 0 while it waits behind another one.
    pub attempts: i32,
    /// When it is tried again; `None` while it waits behind an earlier one of its key.
    pub next_attempt_at: Option<Timestamp>,
    /// Class of the last failure; empty before the first one.
    pub error_class: String,
    /// Stable reason of the last failure; empty before the first one.
    pub error_reason: String,
    /// Text of the last failure; empty before the first one.
    pub error_text: String,
    /// When it was parked.
    pub parked_at: Timestamp,
    /// The open replay that it is part of.
    pub replay_job_id: Option<Uuid>,
}

/// How many messages stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Parked, the waiting ones included.
    pub parked: i64,
    /// Parked behind an earlier one of their key.
    pub waiting: i64,
    /// Dead.
    pub dead: i64,
    /// Dead, and the copy for Kafka tools not published yet.
    pub unpublished: i64,
    /// Since when the oldest parked one is parked.
    pub oldest_parked_at: Option<Timestamp>,
    /// Since when the oldest dead one is dead.
    pub oldest_dead_at: Option<Timestamp>,
}
