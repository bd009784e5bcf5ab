//! Every rule of shape of every request, all violations at once, before anything is written or asked: what is let in
//! here can be stored, shown in the trail, and handed to any service.

use openorder_proto::operations::v1::{
    CancelReplayRequest, DeadLetterFilter, DiscardDeadLettersRequest, EventFilter, GetConsumerLagRequest,
    ListAuditEntriesRequest, ListDeadLettersRequest, ListParkedMessagesRequest, ReplayDeadLettersRequest,
    ReplayEventsRequest,
};
use openorder_rpc::{Violations, timestamp};
use openorder_types::{Rejection, RequestId, TextRule};

const RATE_MAX: i32 = 10_000;
/// Groups or methods that one call names at most.
const NAMES_MAX: usize = 16;
/// Topics of one filter at most.
const TOPICS_MAX: usize = 32;
/// Event types of one filter at most.
const EVENT_TYPES_MAX: usize = 64;

pub(super) fn dead_letters(message: &ListDeadLettersRequest) -> Result<(), Rejection> {
    let mut violations = Violations::new();
    letter_filter(message.filter.as_ref(), &mut violations);
    violations.finish()
}

pub(super) fn replay(message: &ReplayDeadLettersRequest) -> Result<(), Rejection> {
    let mut violations = Violations::new();
    act(&message.request_id, message.dry_run, &message.reason, &mut violations);
    rate(message.rate_per_second, &mut violations);
    letter_filter(message.filter.as_ref(), &mut violations);
    violations.finish()
}

pub(super) fn cancel(message: &CancelReplayRequest) -> Result<(), Rejection> {
    let mut violations = Violations::new();
    act(&message.request_id, false, &message.reason, &mut violations);
    violations.finish()
}

pub(super) fn discard(message: &DiscardDeadLettersRequest) -> Result<(), Rejection> {
    let mut violations = Violations::new();
    act(&message.request_id, message.dry_run, &message.reason, &mut violations);
    letter_filter(message.filter.as_ref(), &mut violations);
    violations.finish()
}

pub(super) fn replay_events(message: &ReplayEventsRequest) -> Result<(), Rejection> {
    let mut violations = Violations::new();
    act(&message.request_id, message.dry_run, &message.reason, &mut violations);
    rate(message.rate_per_second, &mut violations);
    condition("source", &message.source, &mut violations);
    condition("target_group", &message.target_group, &mut violations);
    event_filter(message.filter.as_ref(), &mut violations);
    violations.finish()
}

pub(super) fn parked(message: &ListParkedMessagesRequest) -> Result<(), Rejection> {
    let mut violations = Violations::new();
    names("groups", &message.groups, NAMES_MAX, &mut violations);
    condition("topic", &message.topic, &mut violations);
    condition("key", &message.key, &mut violations);
    violations.finish()
}

pub(super) fn lag(message: &GetConsumerLagRequest) -> Result<(), Rejection> {
    let mut violations = Violations::new();
    names("groups", &message.groups, NAMES_MAX, &mut violations);
    violations.finish()
}

pub(super) fn audit(message: &ListAuditEntriesRequest) -> Result<(), Rejection> {
    let mut violations = Violations::new();
    condition("caller", &message.caller, &mut violations);
    names("methods", &message.methods, NAMES_MAX, &mut violations);
    condition("request_id", &message.request_id, &mut violations);
    time("start_time_from", message.start_time_from, &mut violations);
    time("start_time_until", message.start_time_until, &mut violations);
    violations.finish()
}

/// What every act has to say: an id, and why. A dry run changes nothing: it needs neither.
fn act(request_id: &str, dry_run: bool, reason: &str, violations: &mut Violations) {
    if !dry_run {
        violations.take("request_id", RequestId::parse(request_id));
        if reason.trim().is_empty() {
            violations.add("reason", "REASON_MISSING", "must say why: it stands in the audit trail");
            return;
        }
    }
    violations.take("reason", TextRule::REASON.parse(reason));
}

fn rate(per_second: i32, violations: &mut Violations) {
    if !(0..=RATE_MAX).contains(&per_second) {
        violations.add("rate_per_second", "RATE_OUT_OF_RANGE", format!("must be from 1 to {RATE_MAX}, or 0"));
    }
}

fn letter_filter(filter: Option<&DeadLetterFilter>, violations: &mut Violations) {
    let Some(filter) = filter else { return };
    names("filter.groups", &filter.groups, NAMES_MAX, violations);
    condition("filter.topic", &filter.topic, violations);
    condition("filter.event_type", &filter.event_type, violations);
    condition("filter.reason", &filter.reason, violations);
    condition("filter.key", &filter.key, violations);
    time("filter.dead_time_from", filter.dead_time_from, violations);
    time("filter.dead_time_until", filter.dead_time_until, violations);
}

fn event_filter(filter: Option<&EventFilter>, violations: &mut Violations) {
    let Some(filter) = filter else { return };
    time("filter.event_time_from", filter.event_time_from, violations);
    time("filter.event_time_until", filter.event_time_until, violations);
    condition("filter.aggregate_id", &filter.aggregate_id, violations);
    names("filter.event_types", &filter.event_types, EVENT_TYPES_MAX, violations);
    names("filter.topics", &filter.topics, TOPICS_MAX, violations);
}

fn names(field: &str, texts: &[String], count_max: usize, violations: &mut Violations) {
    if texts.len() > count_max {
        violations.add(field, "TOO_MANY", format!("must be at most {count_max}"));
    }
    for (index, text) in texts.iter().enumerate().take(count_max) {
        violations.take(format!("{field}[{index}]"), TextRule::CONDITION.parse(text));
    }
}

fn condition(field: &str, text: &str, violations: &mut Violations) {
    violations.take(field, TextRule::CONDITION.parse(text));
}

fn time(field: &str, time: Option<prost_types::Timestamp>, violations: &mut Violations) {
    if time.is_some() {
        timestamp(field, time, violations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(refused: &Rejection) -> Vec<(&str, &str)> {
        refused.violations.iter().map(|one| (one.field.as_str(), one.reason)).collect()
    }

    #[test]
    fn an_act_says_under_which_id_and_why() {
        let message = ReplayDeadLettersRequest { rate_per_second: -1, ..Default::default() };
        let expected = [
            ("request_id", "REQUEST_ID_MALFORMED"),
            ("reason", "REASON_MISSING"),
            ("rate_per_second", "RATE_OUT_OF_RANGE"),
        ];
        assert_eq!(fields(&replay(&message).unwrap_err()), expected);
        assert!(replay(&ReplayDeadLettersRequest { dry_run: true, ..Default::default() }).is_ok());
        let message = CancelReplayRequest { request_id: "r".to_owned(), reason: "nul\0".to_owned() };
        assert_eq!(fields(&cancel(&message).unwrap_err()), [("reason", "REASON_MALFORMED")]);
    }

    #[test]
    fn a_filter_is_text_to_read_and_times_of_four_digit_years() {
        let nul = || "nul\0".to_owned();
        let year_300000 = prost_types::Timestamp { seconds: 9_404_000_000_000, nanos: 0 };
        let filter = DeadLetterFilter {
            groups: vec![nul()],
            topic: nul(),
            event_type: nul(),
            reason: nul(),
            key: nul(),
            dead_time_from: Some(year_300000),
            dead_time_until: None,
        };
        let message = DiscardDeadLettersRequest { filter: Some(filter.clone()), dry_run: true, ..Default::default() };
        let expected = [
            ("filter.groups[0]", "TEXT_MALFORMED"),
            ("filter.topic", "TEXT_MALFORMED"),
            ("filter.event_type", "TEXT_MALFORMED"),
            ("filter.reason", "TEXT_MALFORMED"),
            ("filter.key", "TEXT_MALFORMED"),
            ("filter.dead_time_from", "TIMESTAMP_MALFORMED"),
        ];
        assert_eq!(fields(&discard(&message).unwrap_err()), expected);
        let message = ListDeadLettersRequest { filter: Some(filter), ..Default::default() };
        assert_eq!(fields(&dead_letters(&message).unwrap_err()), expected);
    }

    #[test]
    fn a_replay_of_events_is_asked_for_in_words_that_can_be_kept() {
        let filter = EventFilter {
            event_time_from: Some(prost_types::Timestamp { seconds: -210_486_000_000, nanos: 0 }),
            topics: vec!["x".to_owned(); TOPICS_MAX + 1],
            ..Default::default()
        };
        let message = ReplayEventsRequest {
            request_id: "r".to_owned(),
            reason: "why".to_owned(),
            source: "\u{1b}[2J".to_owned(),
            filter: Some(filter),
            ..Default::default()
        };
        let expected = [
            ("source", "TEXT_MALFORMED"),
            ("filter.event_time_from", "TIMESTAMP_MALFORMED"),
            ("filter.topics", "TOO_MANY"),
        ];
        assert_eq!(fields(&replay_events(&message).unwrap_err()), expected);
    }
}
