//! Watching a topic from outside the groups: what is published from now on, and nothing is committed.

use std::{sync::Arc, time::Duration};

use openorder_runtime::compiled_here;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
};

use crate::{KafkaClient, KafkaSettings, Received, consumer::receive, headers, kafka, record};

/// How long one question to the broker may take while the tail is opened.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
/// librdkafka wants a group's name even where nothing is shared; no group of this name ever comes to be.
const GROUP: &str = "openorder-tail";

/// Why a topic cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The cluster has no such topic.
    #[error("there is no topic {0}")]
    NoSuchTopic(String),
    /// The broker does not answer, or refuses.
    #[error("kafka: {0}")]
    Broker(#[from] KafkaError),
    /// The runtime ends.
    #[error("the runtime ends")]
    Stopped,
}

/// Reads all partitions of one topic, from where each ended when this was opened.
///
/// Order holds within a partition. Partitions that are added later are not seen.
pub struct Tail {
    consumer: Arc<KafkaClient<StreamConsumer>>,
    topic: String,
    event_types: Vec<&'static str>,
}

impl Tail {
    /// Finds the present ends of a topic and reads from there; `topic` is without the deployment's prefix.
    ///
    /// # Errors
    /// [`TailError`]: no such topic, or a broker that does not answer within ten seconds.
    #[compiled_here]
    pub async fn open(settings: &KafkaSettings, topic: &str) -> Result<Self, TailError> {
        let consumer: Arc<KafkaClient<StreamConsumer>> =
            Arc::new(KafkaClient::create(&kafka::consumer(settings, GROUP))?);
        let (asked, name) = (Arc::clone(&consumer), settings.topic(topic));
        let ends = tokio::task::spawn_blocking(move || ends(&asked, &name)).await.map_err(|_| TailError::Stopped)??;
        consumer.assign(&ends)?;
        Ok(Self { consumer, topic: topic.to_owned(), event_types: Vec::new() })
    }

    /// Passes over all other event types before anything of them is copied.
    #[must_use]
    pub fn only(mut self, event_types: &[&'static str]) -> Self {
        self.event_types = event_types.to_vec();
        self
    }

    /// The next message; waits until there is one.
    ///
    /// # Errors
    /// [`TailError::Broker`]. A broker that went away comes back by itself: call again after a pause.
    #[compiled_here]
    pub async fn next(&self) -> Result<Received, TailError> {
        loop {
            let message = self.consumer.recv().await?;
            if self.is_wanted(&message) {
                return Ok(receive::received(&message, self.topic.clone().into(), None).0);
            }
        }
    }

    fn is_wanted(&self, message: &BorrowedMessage<'_>) -> bool {
        if self.event_types.is_empty() {
            return true;
        }
        record::header(message, headers::TYPE)
            .is_some_and(|given| self.event_types.iter().any(|wanted| wanted.as_bytes() == given))
    }
}

/// The offset after the last message of each partition. Asked for now: "the end" as such would be looked up at the
/// first fetch, and lose what was published in between.
fn ends(consumer: &StreamConsumer, topic: &str) -> Result<TopicPartitionList, TailError> {
    let metadata = consumer.fetch_metadata(Some(topic), QUESTION_TIMEOUT)?;
    let known = metadata.topics().iter().find(|known| known.name() == topic && known.error().is_none());
    let partitions = known.map(|known| known.partitions()).unwrap_or_default();
    if partitions.is_empty() {
        return Err(TailError::NoSuchTopic(topic.to_owned()));
    }
    let mut ends = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), QUESTION_TIMEOUT)?;
        ends.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
    }
    Ok(ends)
}
