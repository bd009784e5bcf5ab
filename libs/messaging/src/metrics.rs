//! Metrics of messaging, by OpenTelemetry semantic conventions where there is one.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use openorder_telemetry::{OwnedGauge, Series};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram},
};

use crate::consumer::failure::Failure;

/// All instruments, made once.
pub(crate) struct Metrics {
    batch_size: Histogram<u64>,
    batch_duration: Histogram<f64>,
    process_duration: Histogram<f64>,
    publish_duration: Histogram<f64>,
    sent: Counter<u64>,
    consumed: Counter<u64>,
    parked: Counter<u64>,
    attempts: Counter<u64>,
    dead_letters: Counter<u64>,
    dead_letters_without_row: Counter<u64>,
    unknown_types: Counter<u64>,
    positions_again: Counter<u64>,
    relay_refused: Counter<u64>,
    losses: Counter<u64>,
    outage: OwnedGauge,
    route_blocked: OwnedGauge,
    parked_messages: OwnedGauge,
    unpublished_age: OwnedGauge,
    lag: OwnedGauge,
}

impl Metrics {
    pub(crate) fn get() -> &'static Self {
        static METRICS: OnceLock<Metrics> = OnceLock::new();
        METRICS.get_or_init(Self::new)
    }

    fn new() -> Self {
        let meter = openorder_telemetry::meter();
        Self {
            batch_size: meter
                .u64_histogram("openorder.batch.size")
                .with_unit("{command}")
                .with_description("Commands or messages in one transaction")
                .with_boundaries(vec![1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0])
                .build(),
            batch_duration: meter
                .f64_histogram("openorder.batch.duration")
                .with_unit("s")
                .with_description("One transaction, from begin to commit")
                .build(),
            process_duration: meter
                .f64_histogram("messaging.process.duration")
                .with_unit("s")
                .with_description("Handling of a consumed message, the whole batch that it was handled in")
                .build(),
            publish_duration: meter
                .f64_histogram("messaging.client.operation.duration")
                .with_unit("s")
                .with_description("Publishing of one batch to Kafka, until the broker has acknowledged all of it")
                .build(),
            sent: meter.u64_counter("messaging.client.sent.messages").with_unit("{message}").build(),
            consumed: meter.u64_counter("messaging.client.consumed.messages").with_unit("{message}").build(),
            parked: meter
                .u64_counter("openorder.messages.parked")
                .with_unit("{message}")
                .with_description("Messages parked because they failed, or behind one of their key that did")
                .build(),
            attempts: meter
                .u64_counter("openorder.messages.attempts")
                .with_unit("{attempt}")
                .with_description(
                    "Attempts of messages that failed once, and the failing first ones, by outcome and reason",
                )
                .build(),
            dead_letters: meter
                .u64_counter("openorder.messages.dead_lettered")
                .with_unit("{message}")
                .with_description("Messages given up, by reason: they can never succeed, or their attempts are used up")
                .build(),
            dead_letters_without_row: meter
                .u64_counter("openorder.messages.dead_lettered_without_row")
                .with_unit("{message}")
                .with_description("Messages given up that stand on their dead letter topic alone: the table is full")
                .build(),
            relay_refused: meter
                .u64_counter("openorder.relay.refused_events")
                .with_unit("{attempt}")
                .with_description(
                    "Attempts to publish an event that is larger than its topic takes; all later ones wait",
                )
                .build(),
            unknown_types: meter
                .u64_counter("openorder.messages.unknown_type")
                .with_unit("{message}")
                .with_description("Messages passed over because the service does not know their type")
                .build(),
            positions_again: meter
                .u64_counter("openorder.inbox.positions_again")
                .with_unit("{event}")
                .with_description("Events at positions that other events of their log had: a database was restored")
                .build(),
            losses: meter
                .u64_counter("openorder.consumer.losses")
                .with_unit("{loss}")
                .with_description(
                    "Places where a group lost records that it had not read, by kind; the log has the offsets",
                )
                .build(),
            outage: OwnedGauge::new(
                "openorder.dependency.outage",
                "",
                "1 while a service waits for this dependency, with its partitions paused",
            ),
            route_blocked: OwnedGauge::new(
                "openorder.route.blocked",
                "",
                "1 while a part of the way to a consumer that answers is blocked, and deadlines wait",
            ),
            parked_messages: OwnedGauge::new("openorder.parked_messages", "{message}", "Messages parked now, by state"),
            unpublished_age: OwnedGauge::new(
                "openorder.event_log.publish_lag",
                "s",
                "Age of the oldest event that is committed and not yet published",
            ),
            lag: OwnedGauge::new(
                "openorder.consumer.lag",
                "{message}",
                "Messages of a partition that the group has not committed yet, by the instance that owns it",
            ),
        }
    }

    pub(crate) fn batch(
        &self,
        role: &'static str,
        runner: &'static str,
        size: usize,
        from: SystemTime,
        to: SystemTime,
    ) {
        let labels = [KeyValue::new("service", role), KeyValue::new("runner", runner)];
        self.batch_size.record(size as u64, &labels);
        self.batch_duration.record(seconds(from, to), &labels);
    }

    pub(crate) fn processed(
        &self,
        role: &'static str,
        topic: &'static str,
        count: u64,
        from: SystemTime,
        to: SystemTime,
    ) {
        let labels = [
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.consumer.group.name", role),
            KeyValue::new("messaging.destination.name", topic),
        ];
        self.consumed.add(count, &labels);
        self.process_duration.record(seconds(from, to), &labels);
    }

    pub(crate) fn published(&self, role: &'static str, count: usize, took: Duration, failed: bool) {
        let outcome = if failed { "publish_failed" } else { "" };
        let labels = [
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("service", role),
            KeyValue::new("messaging.operation.name", "send"),
            KeyValue::new("error.type", outcome),
        ];
        self.publish_duration.record(took.as_secs_f64(), &labels);
        if !failed {
            self.sent.add(count as u64, &labels[..3]);
        }
    }

    pub(crate) fn parked(&self, role: &'static str, topic: &str, count: u64) {
        self.parked.add(count, &[KeyValue::new("service", role), KeyValue::new("topic", topic.to_owned())]);
    }

    pub(crate) fn attempt_failed(&self, role: &'static str, topic: &str, failure: &Failure) {
        self.attempts.add(1, &attempt(role, topic, failure.class.as_str(), failure.reason));
    }

    pub(crate) fn attempt_succeeded(&self, role: &'static str, topic: &str) {
        self.attempts.add(1, &attempt(role, topic, "succeeded", ""));
    }

    pub(crate) fn dead_lettered(&self, role: &'static str, topic: &str, failure: &Failure) {
        let labels = [
            KeyValue::new("service", role),
            KeyValue::new("topic", topic.to_owned()),
            KeyValue::new("reason", failure.reason),
        ];
        self.dead_letters.add(1, &labels);
    }

    pub(crate) fn dead_lettered_without_row(&self, role: &'static str, topic: &str) {
        let labels = [KeyValue::new("service", role), KeyValue::new("topic", topic.to_owned())];
        self.dead_letters_without_row.add(1, &labels);
    }

    pub(crate) fn relay_refused(&self, role: &'static str, topic: &str) {
        self.relay_refused.add(1, &[KeyValue::new("service", role), KeyValue::new("topic", topic.to_owned())]);
    }

    pub(crate) fn unknown_type(&self, role: &'static str, topic: &str) {
        self.unknown_types.add(1, &[KeyValue::new("service", role), KeyValue::new("topic", topic.to_owned())]);
    }

    /// Events came at positions of their log that other events had.
    pub(crate) fn position_again(&self, role: &'static str, topic: &str, count: u64) {
        self.positions_again.add(count, &[KeyValue::new("service", role), KeyValue::new("topic", topic.to_owned())]);
    }

    /// A group lost records.
    pub(crate) fn lost(&self, role: &'static str, topic: &str, kind: &'static str, count: u64) {
        let labels =
            [KeyValue::new("service", role), KeyValue::new("topic", topic.to_owned()), KeyValue::new("kind", kind)];
        self.losses.add(count, &labels);
    }

    /// Makes the series of a topic's losses, so that the first loss is an increase.
    pub(crate) fn nothing_lost(&self, role: &'static str, topic: &str) {
        for kind in ["deleted_unread", "beyond_end", "forgotten"] {
            self.lost(role, topic, kind, 0);
        }
    }

    /// The outage of a dependency; it lasts until the series is dropped.
    pub(crate) fn outage(&self, role: &'static str, dependency: &'static str) -> Series {
        let labels = [KeyValue::new("service", role), KeyValue::new("dependency", dependency)];
        let series = self.outage.series(labels);
        series.set(1.0);
        series
    }

    /// Parked messages in one state, as often as they are counted.
    pub(crate) fn parked_now(&self, role: &'static str, state: &'static str) -> Series {
        self.parked_messages.series([KeyValue::new("service", role), KeyValue::new("state", state)])
    }

    /// Whether a part of the way to a consumer that answers is blocked, as often as it is looked at.
    pub(crate) fn route_blocked(&self, role: &'static str, part: &'static str) -> Series {
        self.route_blocked.series([KeyValue::new("service", role), KeyValue::new("part", part)])
    }

    /// Age of the oldest unpublished event, in seconds, as often as it is looked up.
    pub(crate) fn unpublished_age(&self, role: &'static str) -> Series {
        self.unpublished_age.series([KeyValue::new("service", role)])
    }

    /// Lag of a partition that this process owns.
    pub(crate) fn lag(&self, role: &'static str, topic: &str, partition: i32) -> Series {
        self.lag.series([
            KeyValue::new("service", role),
            KeyValue::new("topic", topic.to_owned()),
            KeyValue::new("partition", i64::from(partition)),
        ])
    }
}

fn attempt(role: &'static str, topic: &str, outcome: &'static str, reason: &'static str) -> [KeyValue; 4] {
    [
        KeyValue::new("service", role),
        KeyValue::new("topic", topic.to_owned()),
        KeyValue::new("outcome", outcome),
        KeyValue::new("reason", reason),
    ]
}

fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).unwrap_or_default().as_secs_f64()
}
