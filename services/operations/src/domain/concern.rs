//! What an operator should look at.

use std::time::Duration;

use openorder_messaging::lag::GroupLag;
use openorder_proto::operations::v1::{HealthConcern, PipelineState};
use openorder_types::Timestamp;

/// The word of the saga step that waits for an operator.
const COMPENSATION_FAILED: &str = "COMPENSATION_FAILED";

/// From when on something is a concern.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// Age of an unpublished event.
    pub unpublished_age_max: Duration,
    /// Age of an unread message.
    pub lag_age_max: Duration,
}

/// What is known of one role.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// What it told; an error when it did not answer.
    pub state: Result<&'a PipelineState, &'a str>,
    /// How far its consumer group is behind; none without a group, or when Kafka does not say.
    pub lag: Option<&'a GroupLag>,
    /// When it was asked.
    pub now: Timestamp,
}

/// What is wrong with a role; nothing when all is well.
#[must_use]
pub fn concerns(observed: Observed<'_>, thresholds: Thresholds) -> Vec<HealthConcern> {
    let mut found = Vec::new();
    let mut add = |reason: &str, detail: String| found.push(HealthConcern { reason: reason.to_owned(), detail });
    match observed.state {
        Err(detail) => add("UNREACHABLE", format!("it does not answer: {detail}")),
        Ok(state) => {
            for missing in state.dependencies.iter().filter(|dependency| dependency.state != "ready") {
                let reason = if missing.need == "background" { "DEGRADED" } else { "NOT_READY" };
                add(reason, format!("{} is {}: {}", missing.name, missing.state, missing.detail));
            }
            if state.dead_letters > 0 {
                let (letters, wait) = if state.dead_letters == 1 { ("letter", "waits") } else { ("letters", "wait") };
                add("DEAD_LETTERS", format!("{} dead {letters} {wait} for an operator", state.dead_letters));
            }
            let oldest = state.oldest_unpublished_time.as_ref().and_then(time);
            if let Some(age) = oldest.and_then(|oldest| older(oldest, observed.now, thresholds.unpublished_age_max)) {
                let count = state.unpublished_events;
                add("PUBLISHING_STALLED", format!("{count} events are not published, the oldest for {age} s"));
            }
            let failed = state.sagas.iter().find(|saga| saga.step == COMPENSATION_FAILED && saga.count > 0);
            if let Some(failed) = failed {
                add("COMPENSATION_FAILED", format!("{} orders could not be compensated", failed.count));
            }
        }
    }
    if let Some(lag) = observed.lag.filter(|lag| lag.total() > 0) {
        let waiting = lag.total();
        if lag.members == 0 {
            add("NO_MEMBERS", format!("nobody reads for the group, and {waiting} messages wait"));
        }
        if let Some(age) = lag.oldest().and_then(|oldest| older(oldest, observed.now, thresholds.lag_age_max)) {
            add("CONSUMER_BEHIND", format!("{waiting} messages are not read, the oldest for {age} s"));
        }
    }
    found
}

/// Whole seconds since then, when they are more than the bound.
fn older(then: Timestamp, now: Timestamp, bound: Duration) -> Option<i64> {
    let age = now - then;
    (age.to_std().unwrap_or_default() > bound).then_some(age.num_seconds())
}

fn time(message: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::from_timestamp(message.seconds, u32::try_from(message.nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use openorder_messaging::lag::PartitionLag;
    use openorder_proto::operations::v1::{DependencyHealth, SagaStepCount};

    use super::*;

    const THRESHOLDS: Thresholds =
        Thresholds { unpublished_age_max: Duration::from_secs(30), lag_age_max: Duration::from_secs(60) };

    fn now() -> Timestamp {
        Timestamp::from_timestamp(1_000_000, 0).unwrap()
    }

    fn ago(seconds: i64) -> Timestamp {
        now() - chrono::Duration::seconds(seconds)
    }

    fn reasons(state: &PipelineState, lag: Option<&GroupLag>) -> Vec<String> {
        let found = concerns(Observed { state: Ok(state), lag, now: now() }, THRESHOLDS);
        found.into_iter().map(|concern| concern.reason).collect()
    }

    fn lag(members: usize, waiting: i64, seconds: i64) -> GroupLag {
        let partition = PartitionLag {
            topic: "t".to_owned(),
            partition: 0,
            committed_offset: Some(0),
            end_offset: waiting,
            lag: waiting,
            exact: true,
            oldest: (waiting > 0).then(|| ago(seconds)),
            member: String::new(),
        };
        GroupLag { group: "g".to_owned(), state: "Stable".to_owned(), members, partitions: vec![partition] }
    }

    #[test]
    fn all_is_well_with_a_little_work_in_hand() {
        let state = PipelineState {
            dependencies: vec![DependencyHealth { state: "ready".to_owned(), ..Default::default() }],
            unpublished_events: 5,
            oldest_unpublished_time: Some(openorder_rpc::timestamp_to_proto(&ago(29))),
            parked_messages: 3,
            sagas: vec![SagaStepCount { step: "PAYING".to_owned(), count: 9 }],
            ..Default::default()
        };
        assert!(reasons(&state, Some(&lag(1, 10, 59))).is_empty());
    }

    #[test]
    fn each_trouble_has_its_reason() {
        let state = PipelineState {
            dependencies: ["required", "background"]
                .map(|need| DependencyHealth { state: "down".to_owned(), need: need.to_owned(), ..Default::default() })
                .to_vec(),
            unpublished_events: 1,
            oldest_unpublished_time: Some(openorder_rpc::timestamp_to_proto(&ago(31))),
            dead_letters: 1,
            sagas: vec![SagaStepCount { step: COMPENSATION_FAILED.to_owned(), count: 1 }],
            ..Default::default()
        };
        let expected = [
            "NOT_READY",
            "DEGRADED",
            "DEAD_LETTERS",
            "PUBLISHING_STALLED",
            "COMPENSATION_FAILED",
            "NO_MEMBERS",
            "CONSUMER_BEHIND",
        ];
        assert_eq!(reasons(&state, Some(&lag(0, 1, 61))), expected);
    }

    #[test]
    fn a_group_without_members_is_no_concern_while_nothing_waits() {
        assert!(reasons(&PipelineState::default(), Some(&lag(0, 0, 0))).is_empty());
    }

    #[test]
    fn who_does_not_answer_is_a_concern() {
        let found = concerns(Observed { state: Err("refused"), lag: None, now: now() }, THRESHOLDS);
        assert_eq!(found[0].reason, "UNREACHABLE");
        assert!(found[0].detail.contains("refused"));
    }
}
