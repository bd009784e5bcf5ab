//! Copies of dead messages on `<topic>.<group>.dlq`, for Kafka's tools. The row is the authority: a copy is published
//! at least once, and nothing reads it back.

mod headers;
mod without_row;

use std::{sync::Arc, time::Duration};

use openorder_runtime::compiled_here;
use openorder_types::{Fault, Timestamp};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, Producer as _},
};
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use crate::{
    Backbone, ConsumerSettings, Received,
    client::KafkaClient,
    consumer::stored::{self, RecordTime},
    deliveries::CountingProducer,
    kafka,
    locks::AdvisoryLock,
    unit_of_work::UnitOfWork,
};

pub(crate) use without_row::WithoutRow;

/// A failure that goes on is told once in so many tries.
const LOGGED_EVERY: u32 = 20;

/// The topic of the dead letters of one of a group's topics, without the deployment's prefix.
pub(crate) fn topic_of(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dlq")
}

/// A dead message that is to be published.
struct Letter {
    sequence: i64,
    message: Received,
    recorded: RecordTime,
    dead_at: Timestamp,
    attempts: i32,
    error_class: String,
    error_reason: String,
}

/// Publishes one service's dead letters.
pub(crate) struct DeadLetters {
    backbone: Arc<Backbone>,
    settings: ConsumerSettings,
    topics: Vec<String>,
}

impl DeadLetters {
    pub(crate) fn new(backbone: Arc<Backbone>, settings: ConsumerSettings, consumed: &[&'static str]) -> Self {
        let role = backbone.telemetry().role();
        let topics = consumed.iter().map(|topic| topic_of(topic, role)).collect();
        Self { backbone, settings, topics }
    }

    /// Runs until shutdown; what is not published by then is by the next start.
    #[compiled_here]
    pub(crate) async fn run(self) {
        let shutdown = self.backbone.shutdown().clone();
        let mut failures: u32 = 0;
        while !shutdown.is_requested() {
            let Err(error) = self.session().await else { return };
            if failures.is_multiple_of(LOGGED_EVERY) {
                tracing::warn!(
                    error,
                    failures,
                    "dead letters are not copied to their topics; they wait in their table"
                );
            }
            failures = failures.saturating_add(1);
            self.pause(Duration::from_millis(self.settings.outage_delay_max_ms)).await;
        }
    }

    async fn session(&self) -> Result<(), String> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        kafka::ensure_topics(self.backbone.kafka(), &topics).await?;
        let client = format!("openorder-{}-dead-letters", self.backbone.telemetry().role());
        let timeout = Duration::from_millis(self.settings.dead_letter_publish_timeout_ms);
        let config = kafka::idempotent_producer(self.backbone.kafka(), &client, timeout);
        let producer = CountingProducer::create(&config).map_err(|error| error.to_string())?;
        // A failure ends the session, and with it this client.
        let producer = Arc::new(KafkaClient::new(producer));
        while !self.backbone.shutdown().is_requested() {
            if self.publish_batch(&producer).await? == 0 {
                self.pause(Duration::from_millis(self.settings.dead_letter_poll_interval_ms)).await;
            }
        }
        Ok(())
    }

    /// Publishes what is not published yet, at most a batch, and marks it. Gives how many there were.
    async fn publish_batch(&self, producer: &Arc<KafkaClient<CountingProducer>>) -> Result<usize, String> {
        let text = |fault: Fault| fault.to_string();
        if !self.has_unpublished().await.map_err(text)? {
            return Ok(0);
        }
        let mut unit = self.begin().await?;
        let letters = self.unpublished(unit.connection()).await.map_err(text)?;
        if letters.is_empty() {
            return Ok(0);
        }
        let (sequences, deaths): (Vec<i64>, Vec<Timestamp>) =
            letters.iter().map(|letter| (letter.sequence, letter.dead_at)).unzip();
        self.send(producer, letters).await.map_err(|error| error.to_string())?;
        // Only of the death that was published: one that was replayed meanwhile and is dead again is published again.
        sqlx::query(
            "update parked_message p set published_at = $3 \
             from unnest($1::bigint[], $2::timestamptz[]) as l (sequence, dead_at) \
             where p.sequence = l.sequence and p.dead_at = l.dead_at and p.state = 2",
        )
        .bind(&sequences)
        .bind(deaths)
        .bind(unit.now())
        .execute(unit.connection())
        .await
        .map_err(|error| error.to_string())?;
        unit.commit().await.map_err(text)?;
        Ok(sequences.len())
    }

    /// One cheap look, nearly always all there is to do.
    async fn has_unpublished(&self) -> Result<bool, Fault> {
        let sql = "select exists (select from parked_message where state = 2 and published_at is null)";
        Ok(sqlx::query_scalar(sql).fetch_one(self.backbone.pool()).await?)
    }

    async fn begin(&self) -> Result<UnitOfWork, String> {
        UnitOfWork::begin(self.backbone.pool(), self.backbone.telemetry()).await.map_err(|fault| fault.to_string())
    }

    async fn unpublished(&self, connection: &mut PgConnection) -> Result<Vec<Letter>, Fault> {
        let columns = stored::COLUMNS;
        let sql = format!(
            "select sequence, {columns}, recorded_at, recorded_by_broker, dead_at, attempts, error_class, error_reason from parked_message \
             where state = 2 and published_at is null order by sequence limit $1"
        );
        // One instance publishes: copies of one dead message do not cross.
        let mine: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
            .bind(AdvisoryLock::DeadLetters.number())
            .fetch_one(&mut *connection)
            .await?;
        if !mine {
            return Ok(Vec::new());
        }
        let rows =
            sqlx::query(AssertSqlSafe(sql)).bind(self.settings.dead_letter_batch_max).fetch_all(connection).await?;
        rows.iter().map(letter).collect()
    }

    async fn send(
        &self,
        producer: &Arc<KafkaClient<CountingProducer>>,
        letters: Vec<Letter>,
    ) -> Result<(), KafkaError> {
        let timeout = Duration::from_millis(self.settings.dead_letter_publish_timeout_ms);
        let (producer, backbone) = (Arc::clone(producer), Arc::clone(&self.backbone));
        let sent = tokio::task::spawn_blocking(move || send_all(&producer, &backbone, &letters, timeout));
        sent.await.unwrap_or(Err(KafkaError::Canceled))
    }

    async fn pause(&self, bound: Duration) {
        tokio::select! {
            () = tokio::time::sleep(bound) => {}
            () = self.backbone.shutdown().requested() => {}
        }
    }
}

fn letter(row: &PgRow) -> Result<Letter, Fault> {
    Ok(Letter {
        sequence: row.try_get("sequence")?,
        message: stored::message(row)?,
        recorded: stored::record_time(row)?,
        dead_at: row.try_get("dead_at")?,
        attempts: row.try_get("attempts")?,
        error_class: row.try_get("error_class")?,
        error_reason: row.try_get("error_reason")?,
    })
}

/// Sends letters: what the broker refuses is logged, and the others do not wait for it.
fn send_all(
    producer: &CountingProducer,
    backbone: &Backbone,
    letters: &[Letter],
    timeout: Duration,
) -> Result<(), KafkaError> {
    match send_together(producer, backbone, letters, timeout) {
        Err(error) if is_refused(&error) => send_apart(producer, backbone, letters, timeout),
        other => other,
    }
}

/// Sends letters and waits for the acknowledgements of all.
fn send_together(
    producer: &CountingProducer,
    backbone: &Backbone,
    letters: &[Letter],
    timeout: Duration,
) -> Result<(), KafkaError> {
    let group = backbone.kafka().topic(backbone.telemetry().role());
    producer.context().expect(letters.len());
    for (index, letter) in letters.iter().enumerate() {
        let topic = backbone.kafka().topic(&topic_of(&letter.message.topic, backbone.telemetry().role()));
        let origin = backbone.kafka().topic(&letter.message.topic);
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&topic, index)
            .payload(&*letter.message.payload)
            .timestamp(letter.dead_at.timestamp_millis())
            .headers(headers::of(letter, &origin, &group));
        if !letter.message.key.is_empty() {
            record = record.key(&*letter.message.key);
        }
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.context().wait(timeout)
}

/// One by one: what the broker refuses can never be published, and the others must not wait for it.
fn send_apart(
    producer: &CountingProducer,
    backbone: &Backbone,
    letters: &[Letter],
    timeout: Duration,
) -> Result<(), KafkaError> {
    // Acknowledgements that are still on their way would be counted for another one.
    producer.flush(timeout)?;
    for letter in letters {
        match send_together(producer, backbone, std::slice::from_ref(letter), timeout) {
            Err(error) if is_refused(&error) => {
                let Received { topic, partition, offset, .. } = &letter.message;
                let sequence = letter.sequence;
                tracing::error!(%error, sequence, %topic, partition, offset, "the broker does not take a dead letter");
            }
            other => other?,
        }
    }
    Ok(())
}

fn is_refused(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::PolicyViolation
        )
    )
}
