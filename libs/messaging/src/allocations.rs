//! How often a message makes the process allocate: on its way into the log, out of it, and in again. Of what OpenOrder did
//! with an order a quarter was allocating once, so each of these has a bound (ADR 56).
//!
//! What librdkafka allocates is not counted.

use allocation_counter::AllocationInfo;
use chrono::Utc;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use rdkafka::{Timestamp, message::OwnedMessage};
use uuid::Uuid;

use crate::{
    DecodeError, Interest, LoggedEvent, NewEvent, Received, Subscription,
    consumer::receive,
    event_log,
    headers::{self, HeaderWriter},
    record,
    unit_of_work::{Appended, PendingEvent},
};

const MESSAGES: u64 = 1_000;
const TOPIC: &str = "order.lifecycle.v1";
const CREATED: &str = "order.lifecycle.created";
const PAID: &str = "order.lifecycle.paid";
/// Bytes of a payload.
const PAYLOAD: usize = 150;

/// Counts what is done with as many messages, and says it of one.
fn per_message(what: &str, work: impl FnOnce()) -> f64 {
    let AllocationInfo { count_total, bytes_total, .. } = allocation_counter::measure(work);
    let count = count_total as f64 / MESSAGES as f64;
    println!("{what}: {count:.2} allocations, {} bytes", bytes_total / MESSAGES);
    count
}

fn new_event(command_index: usize) -> NewEvent {
    NewEvent {
        event_type: PAID,
        topic: TOPIC,
        key: None,
        aggregate_type: "order",
        aggregate_id: Uuid::now_v7().into(),
        aggregate_version: 3,
        payload: vec![7; PAYLOAD].into(),
        reason: String::new(),
        command_index,
    }
}

fn pending(telemetry: &RoleTelemetry) -> Vec<PendingEvent> {
    let events = (0..MESSAGES as usize).map(new_event);
    events.map(|event| PendingEvent::new(telemetry, event, &TraceContext::NONE)).collect()
}

fn logged(telemetry: &RoleTelemetry) -> Vec<LoggedEvent> {
    Appended::at(1, pending(telemetry), Utc::now()).into_logged()
}

/// The messages as they come from Kafka.
fn records() -> Vec<OwnedMessage> {
    let mut writer = HeaderWriter::new("order");
    let record = |(offset, event): (usize, LoggedEvent)| {
        let key = event.key.to_string().into_bytes();
        let headers = writer.record_headers(&event);
        let payload = event.payload.to_vec();
        let time = Timestamp::CreateTime(event.occurred_at.timestamp_millis());
        OwnedMessage::new(Some(payload), Some(key), format!("p.{TOPIC}"), time, 3, offset as i64, Some(headers))
    };
    logged(&RoleTelemetry::disabled("order")).into_iter().enumerate().map(record).collect()
}

fn subscription() -> Subscription<Uuid> {
    fn decode(message: &Received) -> Result<Option<Uuid>, DecodeError> {
        match (&*message.topic, &*message.event_type) {
            (TOPIC, PAID) => Ok(Some(message.event_id)),
            _ => Err(DecodeError::UnknownType(message.event_type.to_string())),
        }
    }
    fn interest(_: &str, event_type: &str) -> Interest {
        match event_type {
            CREATED => Interest::None,
            PAID => Interest::Followed(PAID),
            _ => Interest::Unknown,
        }
    }
    Subscription { topics: vec![TOPIC], decode, interest, injects: |_| false }
}

#[test]
fn an_event_is_appended_with_few_allocations() {
    let telemetry = RoleTelemetry::disabled("order");
    let mut events = Vec::new();
    let made = per_message("an event, made", || events = pending(&telemetry));
    let now = Utc::now();
    let written = per_message("an event, written to the log", || drop(event_log::insertion(&events, now)));
    let appended = Appended::at(1, events, now);
    let mut logged = Vec::new();
    let handed = per_message("an event, handed to the relay", || logged = appended.into_logged());
    let mut writer = HeaderWriter::new("order");
    let published = per_message("an event, published", || {
        for event in &logged {
            drop(writer.record_headers(event));
        }
    });
    let given = per_message("an event, dropped", || drop(logged));
    // The payload, and what the batch has in common.
    let in_all = made + written + handed + published + given;
    assert!(in_all <= 1.1, "{in_all}: {made}, {written}, {handed}, {published}, {given}");
}

#[test]
fn a_message_is_passed_over_without_an_allocation() {
    let (records, subscription) = (records(), subscription());
    let count = per_message("a message, passed over", || {
        for record in &records {
            let event_type = record::header_text(record, headers::TYPE).unwrap_or_default();
            assert_eq!((subscription.interest)(TOPIC, event_type), Interest::Followed(PAID));
        }
    });
    assert!(count < 0.01, "{count}");
}

#[test]
fn a_message_is_received_with_few_allocations() {
    let (records, subscription) = (records(), subscription());
    let mut received = Vec::with_capacity(MESSAGES as usize);
    let count = per_message("a message, received and understood", || {
        for record in &records {
            let (message, is_whole) = receive::received(record, TOPIC.into(), Some(PAID));
            assert!(is_whole);
            subscription.meaning(&message).unwrap();
            received.push(message);
        }
    });
    // Key, payload and headers in one piece, and what counts who shares it; and what the first message of a process sets up.
    assert!(count <= 2.1, "{count}");
}
