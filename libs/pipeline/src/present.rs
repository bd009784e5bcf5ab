//! From the desk to the contract.

use openorder_messaging::{
    LoggedEvent, Unpublished,
    desk::{Attempt, Cause, Counts, DeadLetter, ParkedMessage, ReplayJob, ReplayState},
};
use openorder_proto::{internal::operations::v1 as internal, operations::v1 as proto};
use openorder_rpc::timestamp_to_proto;
use openorder_runtime::DependencyState;

use crate::SagaCounts;

/// `{group}/{sequence}`.
fn id(group: &str, sequence: i64) -> String {
    format!("{group}/{sequence}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn dead_letter(group: &str, letter: DeadLetter) -> proto::DeadLetter {
    proto::DeadLetter {
        dead_letter_id: id(group, letter.sequence),
        group: group.to_owned(),
        topic: letter.topic,
        partition: letter.partition,
        offset: letter.offset,
        key: text(&letter.key),
        event_id: letter.event_id.to_string(),
        event_type: letter.event_type,
        reason: letter.error_reason,
        detail: letter.error_text,
        attempts: letter.attempts,
        parked_time: Some(timestamp_to_proto(&letter.parked_at)),
        dead_time: Some(timestamp_to_proto(&letter.dead_at)),
        trace_id: letter.trace_id,
        trace_url: String::new(),
        waiting_behind: letter.waiting_behind,
        replay_job_id: letter.replay_job_id.map(|job| job.to_string()).unwrap_or_default(),
        failure_class: letter.error_class,
        record_time: Some(timestamp_to_proto(&letter.recorded_at)),
    }
}

pub(crate) fn headers<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<proto::MessageHeader> {
    headers.map(|(name, value)| proto::MessageHeader { name: name.to_owned(), value: text(value) }).collect()
}

pub(crate) fn attempt(attempt: Attempt) -> proto::DeliveryAttempt {
    proto::DeliveryAttempt {
        number: attempt.number,
        attempt_time: Some(timestamp_to_proto(&attempt.attempted_at)),
        reason: attempt.error_reason,
        detail: attempt.error_text,
        failure_class: attempt.error_class,
    }
}

pub(crate) fn cause(group: &str, cause: Cause, sample: Option<i64>) -> proto::DeadLetterCause {
    proto::DeadLetterCause {
        group: group.to_owned(),
        topic: cause.topic,
        event_type: cause.event_type,
        reason: cause.error_reason,
        count: cause.count,
        first_dead_time: Some(timestamp_to_proto(&cause.first_at)),
        last_dead_time: Some(timestamp_to_proto(&cause.last_at)),
        sample_dead_letter_id: sample.map(|sequence| id(group, sequence)).unwrap_or_default(),
        detail: cause.error_text,
        keys: cause.keys,
        failure_class: cause.error_class,
    }
}

pub(crate) fn parked_message(group: &str, message: ParkedMessage) -> proto::ParkedMessage {
    proto::ParkedMessage {
        parked_message_id: id(group, message.sequence),
        group: group.to_owned(),
        topic: message.topic,
        partition: message.partition,
        offset: message.offset,
        key: text(&message.key),
        event_id: message.event_id.to_string(),
        event_type: message.event_type,
        reason: message.error_reason,
        detail: message.error_text,
        attempts: message.attempts,
        parked_time: Some(timestamp_to_proto(&message.parked_at)),
        next_attempt_time: message.next_attempt_at.as_ref().map(timestamp_to_proto),
        behind: message.next_attempt_at.is_none(),
        trace_id: message.trace_id,
    }
}

pub(crate) fn replay(job: &ReplayJob) -> internal::GroupReplay {
    internal::GroupReplay {
        job_id: job.job_id.to_string(),
        items: job.items.into(),
        waiting: job.waiting.into(),
        released: job.released.into(),
        succeeded: job.succeeded.into(),
        failed: job.failed.into(),
        left_out: job.left_out.into(),
        // What a cancelled job released still runs.
        ended: job.state != ReplayState::Running && job.released == 0,
    }
}

pub(crate) fn logged_event(event: LoggedEvent) -> internal::LoggedEvent {
    let traceparent = if event.trace.is_valid() { event.trace.traceparent() } else { String::new() };
    internal::LoggedEvent {
        position: event.position,
        event_id: event.event_id.to_string(),
        event_type: event.event_type.into_owned(),
        topic: event.topic.into_owned(),
        key: event.key.to_string(),
        aggregate_id: event.aggregate_id.to_string(),
        aggregate_version: event.aggregate_version,
        payload: event.payload.into(),
        traceparent,
        tracestate: event.trace.tracestate(),
        event_time: Some(timestamp_to_proto(&event.occurred_at)),
    }
}

/// What a service's database says.
pub(crate) struct Counted {
    pub(crate) unpublished: Unpublished,
    pub(crate) counts: Counts,
    pub(crate) sagas: SagaCounts,
}

/// The state of a role; without its database, at least its dependencies.
pub(crate) fn state(dependencies: Vec<DependencyState>, counted: Option<Counted>) -> proto::PipelineState {
    let dependencies = dependencies.into_iter().map(|dependency| proto::DependencyHealth {
        name: dependency.name,
        state: dependency.state.to_string(),
        need: dependency.need.to_string(),
        detail: dependency.detail,
    });
    let dependencies = dependencies.collect();
    let Some(Counted { unpublished, counts, sagas }) = counted else {
        let (unpublished_events, parked_messages, dead_letters) = (UNKNOWN, UNKNOWN, UNKNOWN);
        return proto::PipelineState {
            dependencies,
            unpublished_events,
            parked_messages,
            dead_letters,
            ..Default::default()
        };
    };
    let sagas = sagas.into_iter().map(|(step, count)| proto::SagaStepCount { step: step.to_owned(), count });
    proto::PipelineState {
        dependencies,
        unpublished_events: unpublished.events,
        oldest_unpublished_time: unpublished.oldest.as_ref().map(timestamp_to_proto),
        parked_messages: counts.parked,
        dead_letters: counts.dead,
        sagas: sagas.collect(),
    }
}

/// The number that says that the database did not say.
const UNKNOWN: i64 = -1;
