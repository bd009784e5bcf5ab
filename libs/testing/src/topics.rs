//! Reading and writing topics as an outsider would.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Message,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer, StreamConsumer},
    message::{Header, Headers, OwnedHeaders, OwnedMessage},
    producer::{FutureProducer, FutureRecord},
};

use crate::World;

/// Reads a topic from its beginning, committed messages only.
pub struct Tail {
    consumer: StreamConsumer,
}

impl Tail {
    /// Follows a topic of this world.
    pub fn new(world: &World, topic: &str) -> Self {
        let group = format!("{}tail-{:08x}", world.topic_prefix(), rand::random::<u32>());
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", crate::brokers())
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("topic.metadata.refresh.interval.ms", "500")
            .set("allow.auto.create.topics", "false")
            .create()
            .expect("a consumer");
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

/// Writes messages as another system would.
pub struct TestProducer {
    producer: FutureProducer,
    prefix: String,
}

impl TestProducer {
    /// A producer into this world's topics.
    pub fn new(world: &World) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", crate::brokers())
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", "10000")
            .create()
            .expect("a producer");
        Self { producer, prefix: world.topic_prefix() }
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
}

pub(crate) async fn delete(brokers: &str, prefix: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let Ok(consumer) = config.create::<BaseConsumer>() else { return };
    let Ok(Ok(metadata)) =
        tokio::task::spawn_blocking(move || consumer.fetch_metadata(None, Duration::from_secs(5))).await
    else {
        return;
    };
    let names: Vec<&str> =
        metadata.topics().iter().map(|topic| topic.name()).filter(|name| name.starts_with(prefix)).collect();
    let Ok(admin) = config.create::<AdminClient<DefaultClientContext>>() else { return };
    if !names.is_empty() {
        // Left-over topics disturb nobody: every world has its own.
        drop(admin.delete_topics(&names, &AdminOptions::new()).await);
    }
}
