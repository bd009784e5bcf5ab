//! The relay: publishes the event log to Kafka, in its order, by cursor.
//!
//! One relay a service is active (advisory lock); another instance takes over in seconds. It reads over the session
//! that holds the lock, so one that was paused and lost its place reads nothing more, and its next cursor write, once
//! an interval, fails on the epoch. What it still had in its hands, or was handed by its own process until then, is
//! published by its successor as well, and which copy comes first does not matter: each of the two publishes without
//! a gap, from a place up to which all is in Kafka already. So the first copies of a partition's events are in order,
//! and the second ones are dropped by the consumers' inbox.
//!
//! A batch that is larger than its topic takes is sent again in smaller ones. An event that is too large by itself stops
//! the relay where it stands: a later event that was published before it could never be put behind it again.

mod cursor;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::FutureExt;
use openorder_runtime::{Dependency, Shutdown};
use openorder_telemetry::{Span, SpanKind};
use openorder_types::{Fault, IdText};
use rdkafka::{
    error::KafkaError,
    producer::{BaseRecord, Producer},
};
use sqlx::{PgConnection, Row};

use self::cursor::Cursor;
use crate::{
    Backbone, LoggedEvent, RelaySettings,
    client::{ClientHealth, KafkaClient},
    deliveries::{CountingProducer, is_too_large},
    event_log,
    fit::{BatchSize, Fit, Refusal, blocked_by, keeping_alive},
    handoff::Taken,
    headers::HeaderWriter,
    kafka,
    locks::AdvisoryLock,
    metrics::Metrics,
    outage::Outage,
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
    /// Of `count` events in hand, the one at `index` was in a batch that is larger than its topic takes.
    #[error("topic {} takes no batch that large", event.topic)]
    TooLarge { index: usize, count: usize, event: Box<LoggedEvent> },
}

impl From<Fault> for Lost {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}

impl From<sqlx::Error> for Lost {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
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
        let text = "relay lost its place; events wait in the log";
        let mut outage = Outage::new(self.backbone.telemetry(), "relay outage", text);
        while !shutdown.is_requested() {
            match self.lead(&shutdown, &mut outage).await {
                Ok(()) => outage.end(),
                Err(lost) => {
                    self.dependency.down(lost.to_string());
                    outage.record(&lost);
                }
            }
            let backoff = self.settings.takeover_interval_ms.min(100 << outage.failures().min(10));
            self.pause(&shutdown, Duration::from_millis(backoff)).await;
        }
    }

    /// Tries to become the active relay and publishes as long as it is. `Ok` when another one is active, or at shutdown.
    async fn lead(&self, shutdown: &Shutdown, outage: &mut Outage) -> Result<(), Lost> {
        // Before the lock: a relay that cannot reach Kafka must not keep one that can from its place.
        kafka::ensure_topics(self.backbone.kafka(), &self.topics).await.map_err(Lost::Kafka)?;
        // A connection of its own, closed at the end: the session holds the lock and relaxes the cursor's commits.
        let mut connection = self.backbone.pool().acquire().await?.detach();
        let leader: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(AdvisoryLock::Relay.number())
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
        let interval = Duration::from_millis(self.settings.cursor_interval_ms);
        let mut cursor = Cursor::new(&self.backbone, (published, epoch), interval, position);
        tracing::info!(position, epoch, "relay has the place");
        let ended = self.publish_in_the_lead(&mut connection, &mut cursor, shutdown, outage).await;
        match ended {
            Ok(()) => cursor.store(&mut connection).await,
            Err(Lost::Kafka(reason)) => {
                // That Kafka went is what is told, whatever the database says now.
                drop(cursor.store(&mut connection).await);
                Err(Lost::Kafka(reason))
            }
            Err(lost) => Err(lost),
        }
    }

    /// Publishes as long as this relay leads, with a new client after each refusal.
    async fn publish_in_the_lead(
        &self,
        connection: &mut PgConnection,
        cursor: &mut Cursor,
        shutdown: &Shutdown,
        outage: &mut Outage,
    ) -> Result<(), Lost> {
        let mut fit = Fit::new();
        loop {
            let size = fit.batch_size();
            let producer = tokio::select! {
                producer = keeping_alive(connection, self.beat(), self.producer(size)) => producer?,
                () = shutdown.requested() => return Ok(()),
            };
            self.health.renew();
            if !fit.is_blocked {
                self.dependency.ready();
            }
            outage.end();
            tracing::info!(position = cursor.position(), batch_bytes = size.bytes, "relay is active");
            let ended = tokio::select! {
                ended = self.publish_all(connection, &producer, cursor, &mut fit, shutdown) => ended,
                // What was in hand is published again, from the cursor.
                () = self.health.lost() => Err(Lost::Kafka("the client is silent".to_owned())),
                never = self.health.watch(&producer, |producer| producer.client()) => match never {},
            };
            match ended {
                // After a refusal the client is of no use: it keeps what it could not send before what comes after it.
                Err(Lost::TooLarge { index, count, event }) => {
                    keeping_alive(connection, self.beat(), self.refused(&mut fit, (index, count), &event, shutdown))
                        .await?;
                }
                ended => return ended,
            }
        }
    }

    /// Finds out how to go on when a topic refused a batch; where an event fits into none, waits a while.
    async fn refused(
        &self,
        fit: &mut Fit,
        (index, count): (usize, usize),
        event: &LoggedEvent,
        shutdown: &Shutdown,
    ) -> Result<(), Lost> {
        let topic_max = kafka::batch_bytes_max(self.backbone.kafka(), &event.topic).await;
        let was_blocked = fit.is_blocked;
        if fit.refused(index, count, topic_max) == Refusal::Fewer {
            tracing::warn!(topic = %event.topic, max_message_bytes = topic_max, "the topic takes no batch that large");
            return Ok(());
        }
        let detail = blocked_by(event, topic_max);
        if !was_blocked {
            tracing::error!(topic = %event.topic, event_id = %event.event_id, "{detail}");
        }
        self.metrics.relay_refused(self.backbone.telemetry().role(), &event.topic);
        self.dependency.down(detail);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(self.settings.takeover_interval_ms)) => {}
            () = shutdown.requested() => {}
        }
        Ok(())
    }

    /// How often a session that is held is used at least, so that it does not count as standing still.
    fn beat(&self) -> Duration {
        Duration::from_millis(self.settings.lease_ms / 3)
    }

    /// Publishes what follows the cursor, until shutdown.
    async fn publish_all(
        &self,
        connection: &mut PgConnection,
        producer: &RelayProducer,
        cursor: &mut Cursor,
        fit: &mut Fit,
        shutdown: &Shutdown,
    ) -> Result<(), Lost> {
        let linger = self.settings.linger();
        let poll_interval = Duration::from_millis(self.settings.poll_interval_ms);
        let batch_max = usize::try_from(self.settings.batch_max).unwrap_or(usize::MAX);
        let _held = self.backbone.handoff().open(self.settings.handoff_events_max);
        let mut wait = Duration::ZERO;
        // What others wrote is looked for so often; what this process wrote is handed over.
        let mut read_at = Instant::now();
        while !shutdown.is_requested() {
            if !wait.is_zero() {
                tokio::time::sleep(std::mem::take(&mut wait)).await;
            }
            cursor.store_if_due(connection).await?;
            let mut events = match self.backbone.handoff().take_after(cursor.position(), batch_max) {
                Taken::Events(events) => events,
                Taken::Nothing if Instant::now() < read_at => Vec::new(),
                Taken::Nothing | Taken::InLog => {
                    let events =
                        event_log::read_after(&mut *connection, cursor.position(), self.settings.batch_max).await?;
                    // Where there was something, there may be more.
                    read_at = Instant::now() + if events.is_empty() { poll_interval } else { Duration::ZERO };
                    events
                }
            };
            if events.len() > fit.events_max() {
                // Those that are left out here are read from the log then.
                events.truncate(fit.events_max());
                read_at = Instant::now();
            }
            let Some(last) = events.last() else {
                let bound =
                    cursor.due_in().unwrap_or(poll_interval).min(read_at.saturating_duration_since(Instant::now()));
                let idle = self.pause(shutdown, bound);
                keeping_alive(connection, self.beat(), idle.map(Ok::<(), Lost>)).await?;
                continue;
            };
            let (next, count, started) = (last.position, events.len(), Instant::now());
            // However long the broker takes, this relay is alive.
            keeping_alive(connection, self.beat(), self.publish(producer, events)).await?;
            self.health.heard();
            if fit.is_blocked {
                self.dependency.ready();
            }
            fit.published();
            wait = linger.after(count, started.elapsed());
            openorder_faults::point(openorder_faults::RELAY_AFTER_PUBLISH).await.map_err(Fault::from)?;
            cursor.advance(next);
        }
        Ok(())
    }

    /// A client of its own for each time in the lead: after a fault, nothing of the earlier one is in its way.
    async fn producer(&self, batch: BatchSize) -> Result<RelayProducer, Lost> {
        let role = self.backbone.telemetry().role();
        let publish_timeout = Duration::from_millis(self.settings.publish_timeout_ms);
        let client_id = format!("openorder-{role}-relay");
        let config = kafka::relay_producer(self.backbone.kafka(), &client_id, publish_timeout, batch);
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
        let sent = tokio::task::spawn_blocking(move || {
            let result = send_all(&client, &events, role, &prefix, timeout);
            let refused = client.context().too_large().filter(|_| result.is_err());
            let refused = refused.and_then(|index| Some((index, events.into_iter().nth(index)?)));
            (result, refused)
        });
        let (result, refused) = sent.await.unwrap_or((Err(KafkaError::Canceled), None));
        self.metrics.published(role, count, started.elapsed(), result.is_err());
        let ended = SystemTime::now();
        for mut span in spans {
            if result.is_err() {
                span.fail("publish_failed", "the batch was not published; it is tried again");
            }
            span.end_at(ended);
        }
        match refused {
            Some((index, event)) => Err(Lost::TooLarge { index, count, event: Box::new(event) }),
            None => Ok(result?),
        }
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
                span.set("messaging.message.conversation_id", event.key.to_string());
                span.set("messaging.kafka.message.key", event.key.to_string());
                span.set("messaging.batch.message_count", count);
                span
            })
            .collect()
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
    let mut headers = HeaderWriter::new(role);
    let (mut topic, mut key) = (String::new(), IdText::default());
    for (index, event) in events.iter().enumerate() {
        topic.clear();
        topic.push_str(prefix);
        topic.push_str(&event.topic);
        let record = BaseRecord::with_opaque_to(&topic, index)
            .key(event.key.text(&mut key))
            .payload(&*event.payload)
            // The time of the record is the event's: no header says it again.
            .timestamp(event.occurred_at.timestamp_millis())
            .headers(headers.record_headers(event));
        // The queue is larger than a batch: a full one is a fault of the client, not a reason to wait.
        if let Err((error, _)) = producer.send(record) {
            if is_too_large(&error) {
                producer.context().refuse(index);
            }
            return Err(error);
        }
    }
    producer.context().wait(timeout)
}
