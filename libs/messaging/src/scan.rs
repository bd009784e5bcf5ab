//! Reading a whole topic from outside the groups, up to its present end, to check what is in it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use openorder_runtime::compiled_here;
use openorder_types::Timestamp;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, ConsumerContext, StreamConsumer},
    error::KafkaError,
    message::BorrowedMessage,
};
use uuid::Uuid;

use crate::{
    KafkaClient, KafkaSettings, Received, TailError,
    client::group_offsets,
    consumer::receive,
    headers,
    kafka::{self, EndsAreNoErrors},
    record,
};

/// How long one question to the broker may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may come from a partition that is not at its end.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// librdkafka wants a group's name even where nothing is shared; no group of this name ever comes to be.
const GROUP: &str = "openorder-scan";

/// Where the reading of a topic begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanFrom {
    /// At the oldest message of each partition.
    Beginning,
    /// At the first message of each partition that is not older than this.
    Time(Timestamp),
    /// Behind the newest message of each partition: for what comes from now on.
    End,
}

type EndsConsumer = KafkaClient<StreamConsumer<EndsAreNoErrors>>;

/// Reads all partitions of one topic from their beginning, a time or their end.
///
/// Order holds within a partition.
pub struct TopicScan {
    consumer: Arc<EndsConsumer>,
    topic_prefix: String,
    partitions: usize,
    at_end: HashSet<i32>,
    whole: bool,
}

/// What the CloudEvents sequence of a message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// The position of the event in its source's log.
    Position(i64),
    /// The version of the aggregate: of a record that was published before ADR 47, which says its time in a header.
    Version(i64),
}

/// A message, before anything of it is copied.
pub struct Scanned<'a> {
    message: &'a BorrowedMessage<'a>,
    topic_prefix: &'a str,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970; when the event was decided, where its topic keeps the publisher's time.
    pub timestamp_ms: i64,
    /// CloudEvents type; empty when the header is missing.
    pub event_type: &'a str,
    /// CloudEvents source; empty when the header is missing.
    pub source: &'a str,
    /// CloudEvents subject, the aggregate: the key, where no header says it; empty when that is not text.
    pub subject: &'a str,
    /// CloudEvents sequence; none when it is missing or no number.
    pub sequence: Option<Sequence>,
    /// Whether the names of all headers are UTF-8. Where they are not, no consumer reads the message.
    pub is_readable: bool,
}

impl Scanned<'_> {
    /// The message as a consumer group would receive it.
    pub fn received(&self) -> Received {
        let topic = self.message.topic();
        let topic = topic.strip_prefix(self.topic_prefix).unwrap_or(topic).to_owned();
        receive::received(self.message, topic.into(), None).0
    }

    /// CloudEvents id, as a consumer group would know the message by.
    pub fn event_id(&self) -> Uuid {
        let id = record::header_text(self.message, headers::ID).filter(|_| self.is_readable);
        id.and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_else(|| self.received().event_id)
    }
}

impl TopicScan {
    /// Opens a topic; `topic` is without the deployment's prefix. Messages before `from` are not read.
    ///
    /// # Errors
    /// [`TailError`]: no such topic, or a broker that does not answer within ten seconds.
    #[compiled_here]
    pub async fn open(settings: &KafkaSettings, topic: &str, from: ScanFrom) -> Result<Self, TailError> {
        let mut config = kafka::consumer(settings, GROUP);
        config.set("enable.partition.eof", "true");
        let consumer: Arc<EndsConsumer> = Arc::new(KafkaClient::create_with_context(&config, EndsAreNoErrors)?);
        let (asked, name) = (Arc::clone(&consumer), settings.topic(topic));
        let opened = tokio::task::spawn_blocking(move || starts(&asked, &name, from));
        let (starts, whole) = opened.await.map_err(|_| TailError::Stopped)??;
        consumer.assign(&starts)?;
        Ok(Self {
            consumer,
            topic_prefix: settings.topic_prefix.clone(),
            partitions: starts.count(),
            at_end: HashSet::new(),
            whole,
        })
    }

    /// Whether the topic's very first messages are still there and are read.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Hands at most `limit` messages to `each`; true once the present end of every partition was reached. After
    /// that it may be called again, for what came since.
    ///
    /// # Errors
    /// [`TailError::Broker`], also when nothing comes for 20 seconds from a partition that is not at its end.
    pub async fn read(&mut self, limit: usize, mut each: impl FnMut(&Scanned<'_>)) -> Result<bool, TailError> {
        let mut count = 0;
        while count < limit && self.at_end.len() < self.partitions {
            let received = tokio::time::timeout(SILENCE_MAX, self.consumer.recv()).await;
            match received {
                Ok(Ok(message)) => {
                    count += 1;
                    self.at_end.remove(&message.partition());
                    each(&scanned(&message, &self.topic_prefix));
                }
                Ok(Err(KafkaError::PartitionEOF(partition))) => drop(self.at_end.insert(partition)),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    return Err(
                        KafkaError::MessageConsumption(rdkafka::types::RDKafkaErrorCode::RequestTimedOut).into()
                    );
                }
            }
        }
        Ok(self.at_end.len() == self.partitions)
    }

    /// Waits for messages behind the end and hands them to `each`, for `bound` at most; true when there were some.
    ///
    /// # Errors
    /// [`TailError::Broker`].
    pub async fn read_on(&mut self, bound: Duration, mut each: impl FnMut(&Scanned<'_>)) -> Result<bool, TailError> {
        let until = tokio::time::Instant::now() + bound;
        let mut any = false;
        loop {
            match tokio::time::timeout_at(until, self.consumer.recv()).await {
                Ok(Ok(message)) => {
                    any = true;
                    each(&scanned(&message, &self.topic_prefix));
                }
                Ok(Err(KafkaError::PartitionEOF(_))) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Ok(any),
            }
        }
    }
}

/// What a group has committed in a topic: by partition, the offset of the next message. Partitions that the group never
/// committed are not among them. `topic` and `group` are without the deployment's prefix.
///
/// # Errors
/// [`TailError`]: no such topic, or a broker that does not answer within ten seconds.
#[compiled_here]
pub async fn committed_offsets(
    settings: &KafkaSettings,
    group: &str,
    topic: &str,
) -> Result<HashMap<i32, i64>, TailError> {
    let consumer: KafkaClient<StreamConsumer> =
        KafkaClient::create(&kafka::consumer(settings, &settings.topic(group)))?;
    let topic = settings.topic(topic);
    let asked = tokio::task::spawn_blocking(move || {
        let mut wanted = TopicPartitionList::new();
        for partition in partitions_of(&*consumer, &topic)? {
            wanted.add_partition(&topic, partition);
        }
        let committed = group_offsets(&*consumer, wanted, QUESTION_TIMEOUT)?;
        let offsets = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
        Ok(offsets.collect())
    });
    asked.await.map_err(|_| TailError::Stopped)?
}

fn partitions_of<C: ConsumerContext>(consumer: &impl Consumer<C>, topic: &str) -> Result<Vec<i32>, TailError> {
    let metadata = consumer.fetch_metadata(Some(topic), QUESTION_TIMEOUT)?;
    let known = metadata.topics().iter().find(|known| known.name() == topic && known.error().is_none());
    let partitions: Vec<i32> = known.into_iter().flat_map(|known| known.partitions()).map(|one| one.id()).collect();
    if partitions.is_empty() { Err(TailError::NoSuchTopic(topic.to_owned())) } else { Ok(partitions) }
}

/// Where to begin in each partition, and whether that is the very beginning of all.
fn starts(consumer: &EndsConsumer, topic: &str, from: ScanFrom) -> Result<(TopicPartitionList, bool), TailError> {
    let mut whole = from == ScanFrom::Beginning;
    let mut starts = TopicPartitionList::new();
    for partition in partitions_of(&**consumer, topic)? {
        let (low, end) = consumer.fetch_watermarks(topic, partition, QUESTION_TIMEOUT)?;
        whole &= low == 0;
        let place = match from {
            ScanFrom::Beginning => Offset::Offset(low),
            ScanFrom::Time(time) => Offset::Offset(time.timestamp_millis()),
            // "The end" as such would be looked up at the first fetch, and lose what is published in between.
            ScanFrom::End => Offset::Offset(end),
        };
        starts.add_partition_offset(topic, partition, place)?;
    }
    if matches!(from, ScanFrom::Time(_)) {
        starts = consumer.offsets_for_times(starts, QUESTION_TIMEOUT)?;
    }
    Ok((starts, whole))
}

fn scanned<'a>(message: &'a BorrowedMessage<'a>, topic_prefix: &'a str) -> Scanned<'a> {
    let (mut event_type, mut source, mut subject, mut sequence, mut is_former) = ("", "", None, None, false);
    let is_readable = record::read_headers(message, |name, value| {
        let text = || std::str::from_utf8(value).unwrap_or_default();
        match name {
            headers::TYPE => event_type = text(),
            headers::SOURCE => source = text(),
            headers::SUBJECT => subject = Some(text()),
            headers::SEQUENCE => sequence = text().parse().ok(),
            headers::TIME => is_former = true,
            _ => {}
        }
    });
    let key = || std::str::from_utf8(message.key().unwrap_or_default()).unwrap_or_default();
    let subject = subject.unwrap_or_else(key);
    let sequence = sequence.map(if is_former { Sequence::Version } else { Sequence::Position });
    let timestamp_ms = message.timestamp().to_millis().unwrap_or_default();
    let (partition, offset) = (message.partition(), message.offset());
    Scanned {
        message,
        topic_prefix,
        partition,
        offset,
        timestamp_ms,
        event_type,
        source,
        subject,
        sequence,
        is_readable,
    }
}
