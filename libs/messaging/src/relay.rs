//! The relay: publishes the event log to Kafka, in its order, by cursor.
//!
//! One relay a service is active (advisory lock); another instance takes over in seconds. It reads over the session
//! that holds the lock, so one that was paused and lost its place reads nothing more, and its cursor write fails on
//! the epoch. What it still had in its hands, or was handed by its own process, is published by its successor as well,
//! and which copy comes first does not matter: each of the two publishes without a gap, from a place up to which all
//! is in Kafka already. So the first copies of a partition's events are in order, and the second ones are dropped by
//! the consumers' inbox.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use openorder_runtime::{Dependency, Shutdown};
use openorder_telemetry::{Span, SpanKind};
use openorder_types::Fault;
use rdkafka::{
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer},
};
use sqlx::{PgConnection, Row};

use crate::{
    Backbone, LoggedEvent, RelaySettings,
    client::{ClientHealth, KafkaClient},
    database::fault,
    deliveries::CountingProducer,
    event_log, kafka,
    metrics::Metrics,
};

type RelayProducer = Arc<KafkaClient<CountingProducer>>;

/// Publishes one service's event log.
pub(crate) struct Relay {
    backbone: Arc<Backbone>,
    settings: RelaySettings,
    topics: Vec<&'static str>,
    dependency: Dependency,
    health: ClientHealth,
    metrics: &'static Metrics,
}

/// Why the relay leaves its place; it tries to win it back after a pause.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Database(Fault),
    #[error("kafka: {0}")]
    Kafka(String),
    #[error("another relay of this service has taken over")]
    TakenOver,
}

impl From<Fault> for Lost {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}

impl From<sqlx::Error> for Lost {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(fault(error))
    }
}

impl From<KafkaError> for Lost {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error.to_string())
    }
}

impl Relay {
    pub(crate) fn new(
        backbone: Arc<Backbone>,
        settings: RelaySettings,
        topics: Vec<&'static str>,
        dependency: Dependency,
    ) -> Self {
        let topic = topics.first().copied().unwrap_or_default();
        let health = ClientHealth::new(backbone.kafka(), backbone.telemetry().role(), topic, dependency.clone());
        Self { backbone, settings, topics, dependency, health, metrics: Metrics::get() }
    }

    /// Runs until shutdown; what is committed by then and not published waits in the log for the next start.
    pub(crate) async fn run(self) {
        let shutdown = self.backbone.shutdown().clone();
        let mut failures: u32 = 0;
        while !shutdown.is_requested() {
            match self.lead(&shutdown, &mut failures).await {
                Ok(()) => failures = 0,
                Err(lost) => {
                    failures = failures.saturating_add(1);
                    self.dependency.down(lost.to_string());
                    if failures == 1 || failures.is_multiple_of(20) {
                        tracing::warn!(reason = %lost, failures, "relay lost its place; events wait in the log");
                    }
                }
            }
            let backoff = self.settings.takeover_interval_ms.min(100 << failures.min(10));
            self.pause(&shutdown, Duration::from_millis(backoff)).await;
        }
    }

    /// Tries to become the active relay and publishes as long as it is. `Ok` when another one is active, or at shutdown.
    async fn lead(&self, shutdown: &Shutdown, failures: &mut u32) -> Result<(), Lost> {
        // Before the lock: a relay that cannot reach Kafka must not keep one that can from its place.
        kafka::ensure_topics(self.backbone.kafka(), &self.topics).await.map_err(Lost::Kafka)?;
        // A connection of its own, closed at the end: the session holds the lock and relaxes the cursor's commits.
        let mut connection = self.backbone.pool().acquire().await?.detach();
        let leader: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(event_log::RELAY_LOCK)
            .fetch_one(&mut connection)
            .await?;
        if !leader {
            // Another instance relays: this one stands by.
            self.dependency.ready();
            return Ok(());
        }
        // Losing the cursor's last commits in a crash only publishes again.
        sqlx::query("set synchronous_commit = off").execute(&mut connection).await?;
        // A relay that stands still (a stopped process, a paused machine) must not keep its place: PostgreSQL ends its session.
        sqlx::query("select set_config('idle_session_timeout', $1, false)")
            .bind(self.settings.lease_ms.to_string())
            .execute(&mut connection)
            .await?;
        let row =
            sqlx::query("update relay_cursor set epoch = epoch + 1, updated_at = now() returning position, epoch")
                .fetch_one(&mut connection)
                .await?;
        let (published, epoch): (i64, i64) = (row.try_get("position")?, row.try_get("epoch")?);
        // A broker that loses power may lose the last of what it has acknowledged. So that is published once more;
        // consumers drop what they have had by its id.
        let position = (published - self.settings.republish_events).max(0);
        let producer = tokio::select! {
            producer = self.producer() => producer?,
            () = shutdown.requested() => return Ok(()),
        };
        self.health.renew();
        self.dependency.ready();
        *failures = 0;
        tracing::info!(position, epoch, "relay is active");
        tokio::select! {
            result = self.publish_all(&mut connection, &producer, (position, epoch), shutdown) => result,
            // What was in hand is published again, from the cursor.
            () = self.health.lost() => Err(Lost::Kafka("the client is silent".to_owned())),
            never = self.health.watch(&producer, |producer| producer.client()) => match never {},
        }
    }

    /// Publishes from `position` on, as long as `epoch` is the cursor's, until shutdown.
    async fn publish_all(
        &self,
        connection: &mut PgConnection,
        producer: &RelayProducer,
        (mut position, epoch): (i64, i64),
        shutdown: &Shutdown,
    ) -> Result<(), Lost> {
        let linger = self.settings.linger();
        let batch_max = usize::try_from(self.settings.batch_max).unwrap_or(usize::MAX);
        let _held = self.backbone.handoff().open(self.settings.handoff_events_max);
        let mut wait = Duration::ZERO;
        while !shutdown.is_requested() {
            if !wait.is_zero() {
                tokio::time::sleep(std::mem::take(&mut wait)).await;
            }
            let mut events = self.backbone.handoff().take_after(position, batch_max);
            if events.is_empty() {
                events = event_log::read_after(&mut *connection, position, self.settings.batch_max).await?;
            }
            let Some(last) = events.last() else {
                self.pause(shutdown, Duration::from_millis(self.settings.poll_interval_ms)).await;
                continue;
            };
            let (next, count, started) = (last.position, events.len(), Instant::now());
            self.publish(producer, events).await?;
            self.health.heard();
            wait = linger.after(count, started.elapsed());
            openorder_faults::point(openorder_faults::RELAY_AFTER_PUBLISH).await.map_err(Fault::from)?;
            self.move_cursor(&mut *connection, next, epoch).await?;
            position = next;
        }
        Ok(())
    }

    /// A client of its own for each time in the lead: after a fault, nothing of the earlier one is in its way.
    async fn producer(&self) -> Result<RelayProducer, Lost> {
        let role = self.backbone.telemetry().role();
        let publish_timeout = Duration::from_millis(self.settings.publish_timeout_ms);
        let config = kafka::relay_producer(self.backbone.kafka(), &format!("openorder-{role}-relay"), publish_timeout);
        let producer: RelayProducer = Arc::new(KafkaClient::new(CountingProducer::create(&config)?));
        let connect_timeout = Duration::from_millis(self.settings.connect_timeout_ms);
        let connecting = Arc::clone(&producer);
        let topic = self.topics.first().map(|topic| self.backbone.kafka().topic(topic));
        // Here, not with the first batch: a relay that leads without a broker tells at once that it cannot.
        blocking(move || connecting.client().fetch_metadata(topic.as_deref(), connect_timeout).map(drop)).await?;
        Ok(producer)
    }

    /// Hands the client the whole batch, and waits until the broker has all of it. After an error a part of it may be
    /// there, without a gap; it is published again from the cursor.
    async fn publish(&self, producer: &RelayProducer, events: Vec<LoggedEvent>) -> Result<(), Lost> {
        let started = Instant::now();
        let spans = self.spans(&events);
        let count = events.len();
        let role = self.backbone.telemetry().role();
        let prefix = self.backbone.kafka().topic_prefix.clone();
        let timeout = Duration::from_millis(self.settings.publish_timeout_ms);
        let client = Arc::clone(producer);
        let result = blocking(move || send_all(&client, &events, role, &prefix, timeout)).await;
        self.metrics.published(role, count, started.elapsed(), result.is_err());
        let ended = SystemTime::now();
        for mut span in spans {
            if result.is_err() {
                span.fail("publish_failed", "the batch was not published; it is tried again");
            }
            span.end_at(ended);
        }
        Ok(result?)
    }

    fn spans(&self, events: &[LoggedEvent]) -> Vec<Span> {
        let telemetry = self.backbone.telemetry();
        let sampled = events.iter().filter(|event| event.trace.is_sampled());
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        sampled
            .map(|event| {
                let mut span =
                    telemetry.start(SpanKind::Client, || format!("send {}", event.topic).into(), &event.trace);
                span.link(&event.trace);
                span.set("messaging.system", "kafka");
                span.set("messaging.operation.name", "send");
                span.set("messaging.operation.type", "send");
                span.set("messaging.destination.name", event.topic.to_string());
                span.set("messaging.message.id", event.event_id.to_string());
                span.set("messaging.message.conversation_id", event.key.clone());
                span.set("messaging.kafka.message.key", event.key.clone());
                span.set("messaging.batch.message_count", count);
                span
            })
            .collect()
    }

    async fn move_cursor(&self, connection: &mut PgConnection, position: i64, epoch: i64) -> Result<(), Lost> {
        let moved = sqlx::query("update relay_cursor set position = $1, updated_at = now() where epoch = $2")
            .bind(position)
            .bind(epoch)
            .execute(connection)
            .await?;
        if moved.rows_affected() == 1 { Ok(()) } else { Err(Lost::TakenOver) }
    }

    async fn pause(&self, shutdown: &Shutdown, bound: Duration) {
        tokio::select! {
            () = self.backbone.wake_relay().notified() => {}
            () = tokio::time::sleep(bound) => {}
            () = shutdown.requested() => {}
        }
    }
}

async fn blocking(work: impl FnOnce() -> Result<(), KafkaError> + Send + 'static) -> Result<(), KafkaError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(KafkaError::Canceled))
}

fn send_all(
    producer: &CountingProducer,
    events: &[LoggedEvent],
    role: &str,
    prefix: &str,
    timeout: Duration,
) -> Result<(), KafkaError> {
    producer.context().expect(events.len());
    let source = format!("/openorder/{role}");
    let mut topic = String::new();
    for event in events {
        topic.clear();
        topic.push_str(prefix);
        topic.push_str(&event.topic);
        let record = BaseRecord::to(&topic)
            .key(event.key.as_str())
            .payload(event.payload.as_slice())
            .headers(headers(event, &source));
        // The queue is larger than a batch: a full one is a fault of the client, not a reason to wait.
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.context().wait(timeout)
}

/// CloudEvents 1.0, Kafka binding, binary mode; W3C trace context.
fn headers(event: &LoggedEvent, source: &str) -> OwnedHeaders {
    let id = event.event_id.to_string();
    let time = event.occurred_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let sequence = event.aggregate_version.to_string();
    let mut headers = OwnedHeaders::new_with_capacity(10)
        .insert(Header { key: "ce_specversion", value: Some("1.0") })
        .insert(Header { key: "ce_id", value: Some(&id) })
        .insert(Header { key: "ce_type", value: Some(event.event_type.as_ref()) })
        .insert(Header { key: "ce_source", value: Some(source) })
        .insert(Header { key: "ce_subject", value: Some(&event.aggregate_id) })
        .insert(Header { key: "ce_time", value: Some(&time) })
        .insert(Header { key: "ce_sequence", value: Some(&sequence) })
        .insert(Header { key: "content-type", value: Some("application/protobuf") });
    if event.trace.is_valid() {
        headers = headers.insert(Header { key: "traceparent", value: Some(&event.trace.traceparent_bytes()) });
        if event.trace.has_tracestate() {
            headers = headers.insert(Header { key: "tracestate", value: Some(&event.trace.tracestate()) });
        }
    }
    headers
}
