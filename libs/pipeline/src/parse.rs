//! From the contract to what the desk takes: every rule of shape, all violations at once.

use openorder_messaging::{
    LoggedEvent,
    desk::{EventFilter, Filter},
};
use openorder_proto::{internal::operations::v1 as internal, operations::v1 as proto};
use openorder_rpc::{Violations, timestamp};
use openorder_telemetry::TraceContext;
use openorder_types::{FreeText, Rejection, RequestId, TextRule, Timestamp, parse_uuid};
use uuid::Uuid;

/// Sequences of one filter at most.
const SEQUENCES_MAX: usize = 1_000;
/// Event types of one filter at most.
const EVENT_TYPES_MAX: usize = 64;
/// Topics of one filter at most.
const TOPICS_MAX: usize = 32;
/// Characters of an event's key or the id of its aggregate at most.
const KEY_LENGTH_MAX: usize = 4_000;
const KEY: TextRule = TextRule::line(KEY_LENGTH_MAX, "TEXT_MALFORMED", "TEXT_TOO_LONG");

/// The rows that a call may give, within the desk's own bound.
pub(crate) fn page_size(asked: i32) -> u32 {
    u32::try_from(asked).unwrap_or(1).clamp(1, openorder_messaging::desk::Desk::PAGE_MAX)
}

/// A position to go on after; none for the first page.
pub(crate) fn after(asked: i64) -> Option<i64> {
    (asked > 0).then_some(asked)
}

pub(crate) fn filter(message: Option<internal::GroupFilter>) -> Result<Filter, Rejection> {
    let message = message.unwrap_or_default();
    let mut violations = Violations::new();
    if message.sequences.len() > SEQUENCES_MAX {
        violations.add("filter.sequences", "TOO_MANY", format!("must be at most {SEQUENCES_MAX}"));
    }
    let filter = Filter {
        sequences: message.sequences,
        topic: text("filter.topic", &message.topic, &mut violations),
        event_type: text("filter.event_type", &message.event_type, &mut violations),
        reason: text("filter.reason", &message.reason, &mut violations),
        key: text("filter.key", &message.key, &mut violations).map(String::into_bytes),
        from: time("filter.time_from", message.time_from, &mut violations),
        until: time("filter.time_until", message.time_until, &mut violations),
    };
    violations.finish()?;
    Ok(filter)
}

pub(crate) fn event_filter(message: Option<proto::EventFilter>) -> Result<EventFilter, Rejection> {
    let message = message.unwrap_or_default();
    let mut violations = Violations::new();
    texts("filter.event_types", &message.event_types, EVENT_TYPES_MAX, &mut violations);
    texts("filter.topics", &message.topics, TOPICS_MAX, &mut violations);
    let filter = EventFilter {
        from: time("filter.event_time_from", message.event_time_from, &mut violations),
        until: time("filter.event_time_until", message.event_time_until, &mut violations),
        topics: message.topics,
        event_types: message.event_types,
        aggregate_id: text("filter.aggregate_id", &message.aggregate_id, &mut violations),
    };
    violations.finish()?;
    Ok(filter)
}

/// What every act on dead letters says of itself: the caller's id for it, and why.
pub(crate) fn act(request_id: &str, reason: &str) -> Result<(String, String), Rejection> {
    let mut violations = Violations::new();
    let request_id = violations.take("request_id", RequestId::parse(request_id)).map(RequestId::into_string);
    let reason = violations.take("reason", TextRule::REASON.parse(reason)).map(FreeText::into_string);
    violations.finish_with(request_id.zip(reason))
}

/// Why something is done.
pub(crate) fn reason(text: &str) -> Result<String, Rejection> {
    let mut violations = Violations::new();
    let reason = violations.take("reason", TextRule::REASON.parse(text)).map(FreeText::into_string);
    violations.finish_with(reason)
}

/// A condition that may be left out.
fn text(field: &str, value: &str, violations: &mut Violations) -> Option<String> {
    let parsed = violations.take(field, TextRule::CONDITION.parse(value))?;
    (!value.is_empty()).then(|| parsed.into_string())
}

/// Conditions of which one has to hold.
fn texts(field: &str, values: &[String], count_max: usize, violations: &mut Violations) {
    if values.len() > count_max {
        violations.add(field, "TOO_MANY", format!("must be at most {count_max}"));
    }
    for (index, value) in values.iter().enumerate().take(count_max) {
        violations.take(format!("{field}[{index}]"), TextRule::CONDITION.parse(value));
    }
}

fn time(field: &str, value: Option<prost_types::Timestamp>, violations: &mut Violations) -> Option<Timestamp> {
    value.and_then(|value| timestamp(field, Some(value), violations))
}

pub(crate) fn job_id(text: &str) -> Result<Uuid, Rejection> {
    parse_uuid(text, "JOB_ID_MALFORMED")
        .map_err(|error| Rejection::invalid_field("job_id", error.reason, error.message))
}

pub(crate) fn logged_events(events: Vec<internal::LoggedEvent>) -> Result<Vec<LoggedEvent>, Rejection> {
    let mut violations = Violations::new();
    let parsed = events.into_iter().enumerate();
    let parsed: Vec<_> =
        parsed.filter_map(|(index, event)| logged_event(&format!("events[{index}]"), event, &mut violations)).collect();
    violations.finish()?;
    Ok(parsed)
}

/// Reads an event of a log; what is wrong with it is noted under `field`.
pub fn logged_event(field: &str, event: internal::LoggedEvent, violations: &mut Violations) -> Option<LoggedEvent> {
    let event_id = violations.take(format!("{field}.event_id"), parse_uuid(&event.event_id, "EVENT_ID_MALFORMED"));
    let occurred_at = timestamp(&format!("{field}.event_time"), event.event_time, violations);
    let texts = [
        ("event_type", &event.event_type, TextRule::CONDITION),
        ("topic", &event.topic, TextRule::CONDITION),
        ("key", &event.key, KEY),
        ("aggregate_id", &event.aggregate_id, KEY),
    ];
    for (name, text, rule) in texts {
        if let Err(error) = rule.parse(text) {
            violations.take::<()>(format!("{field}.{name}"), Err(error));
        }
    }
    Some(LoggedEvent {
        position: event.position,
        event_id: event_id?,
        event_type: event.event_type.into(),
        topic: event.topic.into(),
        key: event.key.into(),
        aggregate_id: event.aggregate_id.into(),
        aggregate_version: event.aggregate_version,
        payload: event.payload.into(),
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
        let given = internal::GroupFilter { topic: "a.b.v1".to_owned(), sequences: vec![7], ..Default::default() };
        let expected = Filter { topic: Some("a.b.v1".to_owned()), sequences: vec![7], ..Default::default() };
        assert_eq!(filter(Some(given)).unwrap(), expected);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let given = internal::GroupFilter {
            sequences: vec![1; SEQUENCES_MAX + 1],
            key: "x".repeat(TextRule::CONDITION.length_max() + 1),
            ..Default::default()
        };
        let refused = filter(Some(given)).unwrap_err();
        let fields: Vec<&str> = refused.violations.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["filter.sequences", "filter.key"]);
        assert_eq!(page_size(-1), 1);
        assert_eq!(page_size(i32::MAX), openorder_messaging::desk::Desk::PAGE_MAX);
    }

    #[test]
    fn a_text_that_no_database_takes_is_refused_wherever_it_stands() {
        let nul = || "nul\0".to_owned();
        let given =
            internal::GroupFilter { topic: nul(), event_type: nul(), reason: nul(), key: nul(), ..Default::default() };
        let refused = filter(Some(given)).unwrap_err();
        let fields: Vec<&str> = refused.violations.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["filter.topic", "filter.event_type", "filter.reason", "filter.key"]);
        let given = proto::EventFilter {
            topics: vec![nul()],
            event_types: vec!["a.b.c".to_owned(), nul()],
            aggregate_id: nul(),
            ..Default::default()
        };
        let refused = event_filter(Some(given)).unwrap_err();
        let fields: Vec<&str> = refused.violations.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["filter.event_types[1]", "filter.topics[0]", "filter.aggregate_id"]);
        assert_eq!(act("r", "nul\0").unwrap_err().reason, "REASON_MALFORMED");
        assert_eq!(act("nul\0", "why").unwrap_err().reason, "REQUEST_ID_MALFORMED");
    }

    #[test]
    fn an_event_goes_out_and_comes_in_with_its_trace() {
        let trace = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("a=1"));
        let event = LoggedEvent {
            position: 3,
            event_id: Uuid::now_v7(),
            event_type: "order.lifecycle.created".into(),
            topic: "order.lifecycle.v1".into(),
            key: "k".into(),
            aggregate_id: "a".into(),
            aggregate_version: 1,
            payload: vec![1, 2].into(),
            trace: trace.unwrap(),
            occurred_at: Timestamp::from_timestamp(1_700_000_000, 5_000).unwrap(),
        };
        let mut violations = Violations::new();
        let read = logged_event("event", present::logged_event(event.clone()), &mut violations).unwrap();
        assert_eq!((read.event_id, read.occurred_at, read.payload), (event.event_id, event.occurred_at, event.payload));
        assert_eq!(read.trace.traceparent(), event.trace.traceparent());
        assert_eq!(read.trace.tracestate(), "a=1");
        let without = logged_event("event", internal::LoggedEvent::default(), &mut violations);
        assert!(without.is_none());
        assert_eq!(violations.finish().unwrap_err().violations.len(), 2);
    }
}
