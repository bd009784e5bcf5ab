//! Kafka clients and topics: the one place where librdkafka is configured.

use std::time::{Duration, Instant};

use openorder_runtime::compiled_here;
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{
    KafkaSettings,
    client::{Answer, KafkaClient, answer_to_new},
    fit::BatchSize,
    security,
};

/// Name of the dependency in faults, readiness and metrics.
pub const KAFKA: &str = "kafka";

/// A record's time may be any: an event that waited long, or was made by a wrong clock, is published all the same.
const ANY_TIME_MS: &str = "9223372036854775807";

/// Bytes of an event that the relay's client hands to a broker at most.
const MESSAGE_BYTES_MAX: usize = 100_000_000;

/// What all clients share.
pub(crate) fn client(settings: &KafkaSettings, client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", client_id)
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        // A broker that is away is told by our own readiness, once, not by librdkafka's log every second.
        .set("log.connection.close", "false")
        .set_log_level(rdkafka::config::RDKafkaLogLevel::Critical)
        // Also while the client is being made, when it would warn about what we set on purpose.
        .set("log_level", (rdkafka::config::RDKafkaLogLevel::Critical as i32).to_string());
    security::apply(&mut config, settings);
    config
}

/// The relay's producer: what it publishes stands in each partition in its order and without a gap, whatever fails.
pub(crate) fn relay_producer(
    settings: &KafkaSettings,
    client_id: &str,
    timeout: Duration,
    batch: BatchSize,
) -> ClientConfig {
    let mut config = idempotent_producer(settings, client_id, timeout);
    config
        // One event that is given up on ends the client: no later one of its partition may stand before it.
        .set("enable.gapless.guarantee", "true")
        .set("batch.num.messages", batch.events.to_string())
        .set("batch.size", batch.bytes.to_string())
        // What is too large, the topic says.
        .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", "100000");
    config
}

/// An idempotent producer: a message that is sent again stands there once.
pub(crate) fn idempotent_producer(settings: &KafkaSettings, client_id: &str, timeout: Duration) -> ClientConfig {
    let mut config = client(settings, client_id);
    config
        .set("message.timeout.ms", timeout.as_millis().to_string())
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // The partitioner of the Java client: all languages agree on where a key lives.
        .set("partitioner", "murmur2_random")
        .set("compression.type", &settings.compression)
        // A batch is handed over whole and fast: what is there when the client begins to send goes together.
        .set("linger.ms", "0");
    config
}

/// A consumer of `group`: cooperative, offsets by hand after the database. Nothing of ours is published in transactions,
/// and an open one of a foreign publisher must not hold up what stands behind it, so all that is written is read.
pub(crate) fn consumer(settings: &KafkaSettings, group: &str) -> ClientConfig {
    let mut config = client(settings, group);
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", settings.session_timeout_ms.to_string())
        .set("heartbeat.interval.ms", (settings.session_timeout_ms / 5).max(200).to_string())
        .set("max.poll.interval.ms", settings.poll_interval_max_ms.to_string())
        .set("isolation.level", "read_uncommitted")
        // Of the offsets that are stored: those of messages whose effects are in the database.
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", settings.offset_commit_interval_ms.to_string())
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("fetch.wait.max.ms", settings.fetch_wait_max_ms.to_string())
        .set("fetch.min.bytes", "1")
        // With the default of 1 s a backlog stalls between two full queues.
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", settings.prefetch_messages_max.to_string())
        .set("queued.max.messages.kbytes", settings.prefetch_kib_max.to_string());
    if !settings.group_instance_id.is_empty() {
        config.set("group.instance.id", format!("{group}-{}", settings.group_instance_id));
    }
    config
}

/// The context of a client that is told of the ends of partitions (`enable.partition.eof`): librdkafka reports them like
/// errors, and an end is none.
pub(crate) struct EndsAreNoErrors;

impl ClientContext for EndsAreNoErrors {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::error!(%error, reason, "librdkafka");
        }
    }
}

impl ConsumerContext for EndsAreNoErrors {}

/// Creates the topics that do not exist yet, with the partitions and replication of the settings.
/// An existing topic is left as it is.
///
/// # Errors
/// Why the brokers refuse this process, the client's error, or a description of the topics that could not be made.
#[compiled_here]
pub(crate) async fn ensure_topics(settings: &KafkaSettings, topics: &[&str]) -> Result<(), String> {
    let Some(first) = topics.first().filter(|_| settings.create_topics) else { return Ok(()) };
    let Err(error) = create_topics(settings, topics).await else { return Ok(()) };
    if settings.is_plaintext() {
        return Err(error);
    }
    // An administrator that is refused is told of a timeout.
    let timeout = Duration::from_millis(settings.admin_timeout_ms);
    match answer_to_new(settings, &settings.topic(first), timeout).await {
        Answer::Refusal(refusal) => Err(refusal),
        Answer::Brokers | Answer::Silence => Err(error),
    }
}

async fn create_topics(settings: &KafkaSettings, topics: &[&str]) -> Result<(), String> {
    let admin: KafkaClient<AdminClient<DefaultClientContext>> =
        KafkaClient::create(&client(settings, "openorder-admin")).map_err(|error| error.to_string())?;
    let names: Vec<String> = topics.iter().map(|topic| settings.topic(topic)).collect();
    let new: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            NewTopic::new(name, settings.partitions, TopicReplication::Fixed(settings.replication_factor))
                // The time of an event is the time of its record, and no header says it.
                .set("message.timestamp.type", "CreateTime")
                // By default a broker refuses a time that is an hour ahead, and an order would wait for it.
                .set("message.timestamp.after.max.ms", ANY_TIME_MS)
                .set("message.timestamp.before.max.ms", ANY_TIME_MS)
        })
        .collect();
    let bound = Some(Duration::from_millis(settings.admin_timeout_ms));
    let options = AdminOptions::new().request_timeout(bound).operation_timeout(bound);
    let results = admin.create_topics(&new, &options).await.map_err(|error| error.to_string())?;
    let failed: Vec<String> = results
        .into_iter()
        .filter_map(|result| match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => None,
            Err((topic, code)) => Some(format!("{topic}: {code}")),
        })
        .collect();
    if !failed.is_empty() {
        return Err(failed.join("; "));
    }
    let timeout = Duration::from_millis(settings.admin_timeout_ms);
    let seen = tokio::task::spawn_blocking(move || await_topics(&admin, &names, timeout));
    seen.await.map_err(|error| error.to_string())?
}

/// How many bytes a topic takes in one batch (`max.message.bytes`); `None` when the broker does not say so.
#[compiled_here]
pub(crate) async fn batch_bytes_max(settings: &KafkaSettings, topic: &str) -> Option<usize> {
    let admin: KafkaClient<AdminClient<DefaultClientContext>> =
        KafkaClient::create(&client(settings, "openorder-admin")).ok()?;
    let options = AdminOptions::new().request_timeout(Some(Duration::from_millis(settings.admin_timeout_ms)));
    let name = settings.topic(topic);
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(&name)], &options).await.ok()?;
    let topic = described.into_iter().next()?.ok()?;
    topic.get("max.message.bytes")?.value.as_ref()?.parse().ok()
}

/// A created topic takes a moment to show: a consumer that subscribed before would miss it until its next look.
fn await_topics(admin: &AdminClient<DefaultClientContext>, names: &[String], timeout: Duration) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let metadata = admin.inner().fetch_metadata(None, timeout).map_err(|error| error.to_string())?;
        let led = |name: &String| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            topic.is_some_and(|topic| topic.partitions().iter().all(|partition| partition.leader() >= 0))
        };
        if names.iter().all(led) {
            return Ok(());
        }
        if started.elapsed() > timeout {
            return Err("created topics have no leader yet".to_owned());
        }
        #[expect(clippy::disallowed_methods, reason = "this is a thread for blocking calls")]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the client that gave this error has to be thrown away.
pub(crate) fn is_fatal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Fatal
                | RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
        )
    )
}
