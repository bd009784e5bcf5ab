//! From the contract to what the desk takes: every rule of shape, all violations at once.

use openorder_messaging::{
    LoggedEvent,
    desk::{EventFilter, Filter},
};
use openorder_proto::operations::v1 as proto;
use openorder_rpc::{Violations, timestamp};
use openorder_telemetry::TraceContext;
use openorder_types::{Rejection, Timestamp, parse_uuid};
use uuid::Uuid;

/// Sequences of one filter at most.
const SEQUENCES_MAX: usize = 1_000;
/// Event types of one filter at most.
const EVENT_TYPES_MAX: usize = 64;
/// Topics of one filter at most.
const TOPICS_MAX: usize = 32;
/// Longest text of a condition, in bytes.
const TEXT_LENGTH_MAX: usize = 500;

/// The rows that a call may give, within the desk's own bound.
pub(crate) fn page_size(asked: i32) -> u32 {
    u32::try_from(asked).unwrap_or(1).clamp(1, openorder_messaging::desk::Desk::PAGE_MAX)
}

/// A position to go on after; none for the first page.
pub(crate) fn after(asked: i64) -> Option<i64> {
    (asked > 0).then_some(asked)
}

pub(crate) fn filter(message: Option<proto::GroupFilter>) -> Result<Filter, Rejection> {
    let message = message.unwrap_or_default();
    let mut violations = Violations::new();
    if message.sequences.len() > SEQUENCES_MAX {
        violations.add("filter.sequences", "TOO_MANY", format!("must be at most {SEQUENCES_MAX}"));
    }
    let filter = Filter {
        sequences: message.sequences,
        topic: text("filter.topic", message.topic, &mut violations),
        event_type: text("filter.event_type", message.event_type, &mut violations),
        reason: text("filter.reason", message.reason, &mut violations),
        key: text("filter.key", message.key, &mut violations).map(String::into_bytes),
        from: time("filter.time_from", message.time_from, &mut violations),
        until: time("filter.time_until", message.time_until, &mut violations),
    };
    violations.finish()?;
    Ok(filter)
}

pub(crate) fn event_filter(message: Option<proto::EventFilter>) -> Result<EventFilter, Rejection> {
    let message = message.unwrap_or_default();
    let mut violations = Violations::new();
    if message.event_types.len() > EVENT_TYPES_MAX {
        violations.add("filter.event_types", "TOO_MANY", format!("must be at most {EVENT_TYPES_MAX}"));
    }
    if message.topics.len() > TOPICS_MAX {
        violations.add("filter.topics", "TOO_MANY", format!("must be at most {TOPICS_MAX}"));
    }
    let filter = EventFilter {
        from: time("filter.event_time_from", message.event_time_from, &mut violations),
        until: time("filter.event_time_until", message.event_time_until, &mut violations),
        topics: message.topics,
        event_types: message.event_types,
        aggregate_id: text("filter.aggregate_id", message.aggregate_id, &mut violations),
    };
    violations.finish()?;
    Ok(filter)
}

/// A condition that may be left out.
fn text(field: &str, value: String, violations: &mut Violations) -> Option<String> {
    if value.len() > TEXT_LENGTH_MAX {
        violations.add(field, "TOO_LONG", format!("must be at most {TEXT_LENGTH_MAX} bytes"));
    }
    (!value.is_empty()).then_some(value)
}

fn time(field: &str, value: Option<prost_types::Timestamp>, violations: &mut Violations) -> Option<Timestamp> {
    value.and_then(|value| timestamp(field, Some(value), violations))
}

pub(crate) fn job_id(text: &str) -> Result<Uuid, Rejection> {
    parse_uuid(text, "JOB_ID_MALFORMED")
        .map_err(|error| Rejection::invalid_field("job_id", error.reason, error.message))
}

pub(crate) fn logged_events(events: Vec<proto::LoggedEvent>) -> Result<Vec<LoggedEvent>, Rejection> {
    let mut violations = Violations::new();
    let parsed = events.into_iter().enumerate();
    let parsed: Vec<_> =
        parsed.filter_map(|(index, event)| logged_event(&format!("events[{index}]"), event, &mut violations)).collect();
    violations.finish()?;
    Ok(parsed)
}

/// Reads an event of a log; what is wrong with it is noted under `field`.
pub fn logged_event(field: &str, event: proto::LoggedEvent, violations: &mut Violations) -> Option<LoggedEvent> {
    let event_id = violations.take(format!("{field}.event_id"), parse_uuid(&event.event_id, "EVENT_ID_MALFORMED"));
    let occurred_at = timestamp(&format!("{field}.event_time"), event.event_time, violations);
    Some(LoggedEvent {
        position: event.position,
        event_id: event_id?,
        event_type: event.event_type.into(),
        topic: event.topic.into(),
        key: event.key,
        aggregate_id: event.aggregate_id,
        aggregate_version: event.aggregate_version,
        payload: event.payload,
        trace: TraceContext::parse(&event.traceparent, Some(&event.tracestate)).unwrap_or_default(),
        occurred_at: occurred_at?,
    })
}

#[cfg(test)]
mod tests {
    use openorder_types::Timestamp;

    use super::*;
    use crate::present;

    #[test]
    fn an_empty_filter_means_everything_and_empty_texts_are_no_conditions() {
        assert_eq!(filter(None).unwrap(), Filter::default());
        let given = proto::GroupFilter { topic: "a.b.v1".to_owned(), sequences: vec![7], ..Default::default() };
        let expected = Filter { topic: Some("a.b.v1".to_owned()), sequences: vec![7], ..Default::default() };
        assert_eq!(filter(Some(given)).unwrap(), expected);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let given = proto::GroupFilter {
            sequences: vec![1; SEQUENCES_MAX + 1],
            key: "x".repeat(TEXT_LENGTH_MAX + 1),
            ..Default::default()
        };
        let refused = filter(Some(given)).unwrap_err();
        let fields: Vec<&str> = refused.violations.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["filter.sequences", "filter.key"]);
        assert_eq!(page_size(-1), 1);
        assert_eq!(page_size(i32::MAX), openorder_messaging::desk::Desk::PAGE_MAX);
    }

    #[test]
    fn an_event_goes_out_and_comes_in_with_its_trace() {
        let trace = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("a=1"));
        let event = LoggedEvent {
            position: 3,
            event_id: Uuid::now_v7(),
            event_type: "order.lifecycle.created".into(),
            topic: "order.lifecycle.v1".into(),
            key: "k".to_owned(),
            aggregate_id: "a".to_owned(),
            aggregate_version: 1,
            payload: vec![1, 2],
            trace: trace.unwrap(),
            occurred_at: Timestamp::from_timestamp(1_700_000_000, 5_000).unwrap(),
        };
        let mut violations = Violations::new();
        let read = logged_event("event", present::logged_event(event.clone()), &mut violations).unwrap();
        assert_eq!((read.event_id, read.occurred_at, read.payload), (event.event_id, event.occurred_at, event.payload));
        assert_eq!(read.trace.traceparent(), event.trace.traceparent());
        assert_eq!(read.trace.tracestate(), "a=1");
        let without = logged_event("event", proto::LoggedEvent::default(), &mut violations);
        assert!(without.is_none());
        assert_eq!(violations.finish().unwrap_err().violations.len(), 2);
    }
}
