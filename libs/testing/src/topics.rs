//! Reading and writing topics as an outsider would.

use std::time::Duration;

use openorder_messaging::{KafkaClient, KafkaSettings, group_offsets};
use openorder_proto::EventMessage;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer, StreamConsumer},
    message::{Header, Headers, OwnedHeaders, OwnedMessage},
    producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer as _},
};
use uuid::Uuid;

use crate::World;

/// How long one question to the broker may take.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a topic from its beginning, committed messages only.
pub struct Tail {
    consumer: KafkaClient<StreamConsumer>,
}

impl Tail {
    /// Follows a topic of this world.
    pub fn new(world: &World, topic: &str) -> Self {
        let group = format!("{}tail-{:08x}", world.topic_prefix(), rand::random::<u32>());
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", crate::brokers())
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("topic.metadata.refresh.interval.ms", "500")
            .set("allow.auto.create.topics", "false");
        let consumer: KafkaClient<StreamConsumer> = KafkaClient::create(&config).expect("a consumer");
        consumer.subscribe(&[&format!("{}{topic}", world.topic_prefix())]).expect("a subscription");
        Self { consumer }
    }

    /// The next message, or `None` when none comes within `bound`.
    pub async fn next(&self, bound: Duration) -> Option<OwnedMessage> {
        let until = tokio::time::Instant::now() + bound;
        loop {
            match tokio::time::timeout_at(until, self.consumer.recv()).await {
                Ok(Ok(message)) => return Some(message.detach()),
                // The topic may not be there yet.
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(_) => return None,
            }
        }
    }

    /// The next `count` messages.
    ///
    /// # Panics
    /// When they do not come within `bound`.
    pub async fn take(&self, count: usize, bound: Duration) -> Vec<OwnedMessage> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let next = self.next(bound).await;
            taken.push(next.unwrap_or_else(|| panic!("{} of {count} messages came within {bound:?}", taken.len())));
        }
        taken
    }
}

/// The text of a header.
pub fn header(message: &OwnedMessage, name: &str) -> Option<String> {
    let header = message.headers()?.iter().find(|header| header.key == name)?;
    Some(String::from_utf8_lossy(header.value?).into_owned())
}

/// The names of all headers, in their order.
pub fn header_names(message: &OwnedMessage) -> Vec<&str> {
    message.headers().into_iter().flat_map(Headers::iter).map(|header| header.key).collect()
}

/// Writes messages as another system would.
pub struct TestProducer {
    producer: KafkaClient<FutureProducer>,
    prefix: String,
}

impl TestProducer {
    /// A producer into this world's topics.
    pub fn new(world: &World) -> Self {
        Self::on(&world.kafka())
    }

    /// A producer into the topics of these settings.
    pub fn on(settings: &KafkaSettings) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &settings.brokers)
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", "10000");
        Self { producer: KafkaClient::create(&config).expect("a producer"), prefix: settings.topic_prefix.clone() }
    }

    /// Sends one message with headers and waits for its acknowledgement.
    ///
    /// # Panics
    /// When the broker does not take it.
    pub async fn send(&self, topic: &str, key: &str, headers: &[(&str, &str)], payload: &[u8]) {
        let topic = format!("{}{topic}", self.prefix);
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let record = FutureRecord::to(&topic).key(key).payload(payload).headers(headers);
        self.producer.send(record, Duration::from_secs(10)).await.expect("the broker takes the message");
    }

    /// Sends an event as another service publishes it, with an id of its own.
    pub async fn publish<M: EventMessage>(&self, key: &str, message: &M) {
        self.publish_as(key, message, Uuid::now_v7()).await;
    }

    /// As [`Self::publish`], with this id: an event that comes again has the one that it had.
    pub async fn publish_as<M: EventMessage>(&self, key: &str, message: &M, event_id: Uuid) {
        let id = event_id.to_string();
        let headers = [("ce_id", id.as_str()), ("ce_type", M::EVENT_TYPE), ("ce_source", "/openorder/test")];
        self.send(M::TOPIC, key, &headers, &message.encode_to_vec()).await;
    }
}

/// Leaves a message in a topic that nobody who reads committed messages sees, and the marker that says so: both take an
/// offset.
///
/// # Panics
/// When the broker does not go along.
pub async fn abort_transaction(settings: &KafkaSettings, topic: &str) {
    let topic = settings.topic(topic);
    let config = ClientConfig::new()
        .set("bootstrap.servers", &settings.brokers)
        .set("transactional.id", format!("{topic}-{:08x}", rand::random::<u32>()))
        .clone();
    let abort = move || {
        let producer: KafkaClient<BaseProducer> = KafkaClient::create(&config).expect("a producer");
        producer.init_transactions(BROKER_TIMEOUT).expect("a transactional producer");
        producer.begin_transaction().expect("a transaction");
        producer.send(BaseRecord::to(&topic).key("nobody").payload("nothing")).expect("a message in the queue");
        producer.flush(BROKER_TIMEOUT).expect("the broker takes the message");
        producer.abort_transaction(BROKER_TIMEOUT).expect("the transaction is aborted");
    };
    tokio::task::spawn_blocking(abort).await.expect("an aborted transaction");
}

/// A transaction of a foreign publisher, with one message of it written, that is neither committed nor aborted until this
/// is dropped.
pub struct OpenTransaction(#[expect(dead_code, reason = "held, not used")] KafkaClient<BaseProducer>);

impl OpenTransaction {
    /// Writes a message with this key and payload into a partition of the topic, in a transaction that stays open.
    ///
    /// # Panics
    /// When the broker does not go along.
    pub async fn begin(settings: &KafkaSettings, topic: &str, partition: i32) -> Self {
        let topic = settings.topic(topic);
        let config = ClientConfig::new()
            .set("bootstrap.servers", &settings.brokers)
            .set("transactional.id", format!("{topic}-{:08x}", rand::random::<u32>()))
            .clone();
        let begin = move || {
            let producer: KafkaClient<BaseProducer> = KafkaClient::create(&config).expect("a producer");
            producer.init_transactions(BROKER_TIMEOUT).expect("a transactional producer");
            producer.begin_transaction().expect("a transaction");
            let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition).key(b"nobody").payload(b"nothing");
            producer.send(record).expect("a message in the queue");
            producer.flush(BROKER_TIMEOUT).expect("the broker takes the message");
            Self(producer)
        };
        tokio::task::spawn_blocking(begin).await.expect("an open transaction")
    }
}

/// Deletes what stands before an offset of each partition of a topic, as retention would.
///
/// # Panics
/// When the broker does not go along.
pub async fn delete_records(settings: &KafkaSettings, topic: &str, before: &[(i32, i64)]) {
    let mut offsets = TopicPartitionList::new();
    for (partition, offset) in before {
        let added = offsets.add_partition_offset(&settings.topic(topic), *partition, Offset::Offset(*offset));
        added.expect("an offset");
    }
    let deleted = admin(settings).delete_records(&offsets, &AdminOptions::new()).await.expect("the broker answers");
    assert!(deleted.elements().iter().all(|element| element.error().is_ok()), "{deleted:?}");
}

/// Deletes all that stands on a topic, as retention would.
///
/// # Panics
/// When the broker does not go along.
pub async fn delete_all_records(settings: &KafkaSettings, topic: &str) {
    let mut offsets = TopicPartitionList::new();
    for partition in 0..settings.partitions {
        offsets.add_partition_offset(&settings.topic(topic), partition, Offset::End).expect("an offset");
    }
    let deleted = admin(settings).delete_records(&offsets, &AdminOptions::new()).await.expect("the broker answers");
    assert!(deleted.elements().iter().all(|element| element.error().is_ok()), "{deleted:?}");
}

/// Deletes a topic and makes it again, empty, with as many partitions as the settings say.
///
/// # Panics
/// When the broker does not go along.
pub async fn recreate_topic(settings: &KafkaSettings, topic: &str) {
    let (admin, name) = (admin(settings), settings.topic(topic));
    let deleted = admin.delete_topics(&[&name], &AdminOptions::new()).await.expect("the broker answers");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    crate::eventually("the topic is made again", Duration::from_secs(30), || async {
        let new = NewTopic::new(&name, settings.partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics(&[new], &AdminOptions::new()).await.expect("the broker answers");
        made.iter().all(Result::is_ok).then_some(())
    })
    .await;
}

fn admin(settings: &KafkaSettings) -> KafkaClient<AdminClient<DefaultClientContext>> {
    let mut config = ClientConfig::new();
    KafkaClient::create(config.set("bootstrap.servers", &settings.brokers)).expect("an administrator")
}

/// Makes a topic with settings of its own.
///
/// # Panics
/// When the broker does not.
pub async fn create_topic(settings: &KafkaSettings, topic: &str, configs: &[(&str, &str)]) {
    let name = settings.topic(topic);
    let new = NewTopic::new(&name, settings.partitions, TopicReplication::Fixed(1));
    let new = configs.iter().fold(new, |new, (key, value)| new.set(key, value));
    let made = admin(settings).create_topics(&[new], &AdminOptions::new()).await.expect("the broker answers");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

/// Sets settings of a topic.
///
/// # Panics
/// When the broker does not.
pub async fn alter_topic(settings: &KafkaSettings, topic: &str, configs: &[(&str, &str)]) {
    let name = settings.topic(topic);
    let altered = configs
        .iter()
        .fold(AlterConfig::new(ResourceSpecifier::Topic(&name)), |altered, (key, value)| altered.set(key, value));
    let done = admin(settings).alter_configs(&[altered], &AdminOptions::new()).await.expect("the broker answers");
    assert!(done.iter().all(Result::is_ok), "{done:?}");
}

/// A client that may set and ask the offsets of a group; it never joins.
fn outsider(settings: &KafkaSettings, group: &str) -> KafkaClient<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", settings.topic(group))
        .set("enable.auto.commit", "false");
    KafkaClient::create(&config).expect("a consumer")
}

fn partitions(consumer: &BaseConsumer, topics: &[String]) -> TopicPartitionList {
    let mut all = TopicPartitionList::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), BROKER_TIMEOUT).expect("the topic's metadata");
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            all.add_partition(topic, partition.id());
        }
    }
    all
}

/// Sets a group that nobody is a member of back to the beginning of these topics.
///
/// # Panics
/// When the broker refuses: then the group has members.
pub async fn reset_group(settings: &KafkaSettings, group: &str, topics: &[&str]) {
    let (consumer, group) = (outsider(settings, group), group.to_owned());
    let topics: Vec<String> = topics.iter().map(|topic| settings.topic(topic)).collect();
    let reset = tokio::task::spawn_blocking(move || {
        let known = partitions(&consumer, &topics);
        let committed = group_offsets(&*consumer, known, BROKER_TIMEOUT).expect("the group's offsets");
        let mut first = TopicPartitionList::new();
        for element in committed.elements() {
            // What the group does not follow stays unknown to it.
            if matches!(element.offset(), Offset::Offset(_)) {
                let added = first.add_partition_offset(element.topic(), element.partition(), Offset::Offset(0));
                added.expect("an offset");
            }
        }
        assert!(first.count() > 0, "group {group} has committed nothing yet");
        consumer.commit(&first, CommitMode::Sync).expect("a group without members");
    });
    reset.await.expect("the offsets are set");
}

/// How many messages a group has before it in the topics that it follows; none when it has committed nothing.
///
/// # Panics
/// When the broker does not answer.
pub async fn group_lag(settings: &KafkaSettings, group: &str, topics: &[&str]) -> Option<i64> {
    let consumer = outsider(settings, group);
    let topics: Vec<String> = topics.iter().map(|topic| settings.topic(topic)).collect();
    let asked = tokio::task::spawn_blocking(move || {
        let known = partitions(&consumer, &topics);
        let committed = group_offsets(&*consumer, known, BROKER_TIMEOUT).expect("the group's offsets");
        let mut lag = None;
        for element in committed.elements() {
            if let Offset::Offset(next) = element.offset() {
                let marks = consumer.fetch_watermarks(element.topic(), element.partition(), BROKER_TIMEOUT);
                // Behind the last message may stand a transaction's marker, which is no message.
                let (_, high) = marks.expect("the partition's end");
                let behind = (high - next).max(0);
                *lag.get_or_insert(0) += if behind <= 1 { 0 } else { behind };
            }
        }
        lag
    });
    asked.await.expect("the offsets are read")
}

pub(crate) async fn delete(brokers: &str, prefix: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let Ok(consumer) = KafkaClient::<BaseConsumer>::create(&config) else { return };
    let Ok(Ok(metadata)) =
        tokio::task::spawn_blocking(move || consumer.fetch_metadata(None, Duration::from_secs(5))).await
    else {
        return;
    };
    let names: Vec<&str> =
        metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(prefix)).collect();
    let Ok(admin) = KafkaClient::<AdminClient<DefaultClientContext>>::create(&config) else { return };
    if !names.is_empty() {
        // Left-over topics disturb nobody: every world has its own.
        drop(admin.delete_topics(&names, &AdminOptions::new()).await);
    }
}
