//! How far consumer groups are behind, as Kafka tells it: what is committed against the end of each partition.
//!
//! Markers of transactions, such as those of a foreign publisher, take offsets of their own: a group that has read
//! everything stands one or more offsets before the end for ever. So what lies between is looked at, up to a bound.

mod assignment;
mod probe;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use openorder_runtime::compiled_here;
use openorder_types::Timestamp;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{self, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{
    KafkaSettings,
    client::{KafkaClient, broker_answers, group_offsets},
    kafka::{self, EndsAreNoErrors},
};

/// How long one question to the broker may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after an error that may pass.
const PAUSE: Duration = Duration::from_millis(100);
/// Kafka's word for a group that it does not know.
const UNKNOWN: &str = "Dead";

/// How far a group is behind in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionLag {
    /// Topic without the deployment's prefix.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset that the group reads next; none while it has committed none.
    pub committed_offset: Option<i64>,
    /// The offset after the last message.
    pub end_offset: i64,
    /// Messages that are not committed; where not `exact`, markers of transactions count as well.
    pub lag: i64,
    /// Whether `lag` counts messages alone.
    pub exact: bool,
    /// When the oldest message that waits was written.
    pub oldest: Option<Timestamp>,
    /// Client id of the member that reads the partition; empty when nobody does.
    pub member: String,
}

/// How far a group is behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLag {
    /// The group without the deployment's prefix.
    pub group: String,
    /// Kafka's word for its state, such as `Stable` or `Empty`.
    pub state: String,
    /// How many members it has.
    pub members: usize,
    /// By topic and number.
    pub partitions: Vec<PartitionLag>,
}

impl GroupLag {
    /// Messages of all partitions that are not committed.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.partitions.iter().map(|partition| partition.lag).sum()
    }

    /// When the oldest message that waits was written.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.partitions.iter().filter_map(|partition| partition.oldest).min()
    }

    /// Whether Kafka knows of the group.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.state != UNKNOWN || !self.partitions.is_empty()
    }
}

/// Why Kafka does not tell.
#[derive(Debug, thiserror::Error)]
pub enum LagError {
    /// The broker does not answer, or refuses.
    #[error("kafka: {0}")]
    Broker(#[from] KafkaError),
    /// The runtime ends.
    #[error("the runtime ends")]
    Stopped,
}

/// A client of one group, used by one question at a time.
type GroupClient = Arc<KafkaClient<Mutex<BaseConsumer>>>;

/// Asks Kafka about consumer groups. A client of each group is kept: finding a group's coordinator takes a new one
/// seconds.
pub struct LagReader {
    settings: KafkaSettings,
    clients: Mutex<HashMap<String, GroupClient>>,
}

impl LagReader {
    /// A reader of the groups of a deployment; nothing is connected yet.
    #[must_use]
    pub fn new(settings: &KafkaSettings) -> Self {
        Self { settings: settings.clone(), clients: Mutex::default() }
    }

    /// How far these groups are, given without the deployment's prefix. Nothing is joined and nothing committed. A
    /// group that Kafka does not know has no partitions. An error that passes within `kafka.lag_timeout_ms` is passed
    /// over; a client that fails while the broker answers a new one is replaced.
    ///
    /// # Errors
    /// [`LagError`]: a broker that does not answer within that time.
    #[compiled_here]
    pub async fn read(&self, groups: &[String]) -> Result<Vec<GroupLag>, LagError> {
        let until = Instant::now() + Duration::from_millis(self.settings.lag_timeout_ms);
        try_join_all(groups.iter().map(|group| self.read_group(group, until))).await
    }

    async fn read_group(&self, group: &str, until: Instant) -> Result<GroupLag, LagError> {
        loop {
            let client = self.client(group)?;
            let (settings, asked, name) = (self.settings.clone(), Arc::clone(&client), group.to_owned());
            let asking = tokio::task::spawn_blocking(move || of_group(&settings, &lock(&asked), name));
            let left = until.saturating_duration_since(Instant::now());
            // What is asked beyond that is given up by itself, a question later.
            let error = match tokio::time::timeout(left, asking).await {
                Ok(Ok(Ok(lag))) => return Ok(lag),
                Ok(Ok(Err(error))) => error,
                Ok(Err(_)) => return Err(LagError::Stopped),
                Err(_) => {
                    self.forget(group, &client);
                    return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut).into());
                }
            };
            tracing::debug!(%error, group, "the lag is asked for again");
            if Instant::now() + PAUSE >= until {
                return Err(error);
            }
            if broker_answers(&self.settings, &self.settings.topic(group), QUESTION_TIMEOUT).await {
                self.forget(group, &client);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn client(&self, group: &str) -> Result<GroupClient, LagError> {
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(group) {
            return Ok(Arc::clone(client));
        }
        let mut config = kafka::consumer(&self.settings, &self.settings.topic(group));
        config.set("enable.partition.eof", "true").remove("group.instance.id");
        #[expect(clippy::disallowed_methods, reason = "a part of what a `KafkaClient` holds")]
        let consumer = config.create_with_context(EndsAreNoErrors)?;
        let client: GroupClient = Arc::new(KafkaClient::new(Mutex::new(consumer)));
        clients.insert(group.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// The next question gets a new client.
    fn forget(&self, group: &str, client: &GroupClient) {
        let mut clients = lock(&self.clients);
        if clients.get(group).is_some_and(|known| Arc::ptr_eq(known, client)) {
            clients.remove(group);
        }
    }
}

/// A client that a panic left is as good as any: nothing of ours is half done in it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a partition is read by, and where the group stands in it.
#[derive(Default)]
struct Place {
    committed: Option<i64>,
    member: String,
}

/// A client that is told of the ends of partitions.
type BaseConsumer = consumer::BaseConsumer<EndsAreNoErrors>;

/// By topic (with its prefix) and partition.
type Places = BTreeMap<(String, i32), Place>;

fn of_group(settings: &KafkaSettings, consumer: &BaseConsumer, group: String) -> Result<GroupLag, LagError> {
    let name = settings.topic(&group);
    let mut places = Places::new();
    let (state, members) = describe(consumer, &name, &mut places)?;
    add_committed(consumer, &settings.topic_prefix, &mut places)?;
    let mut partitions = Vec::with_capacity(places.len());
    for ((topic, partition), place) in places {
        let (low, end) = consumer.fetch_watermarks(&topic, partition, QUESTION_TIMEOUT)?;
        let from = place.committed.unwrap_or(low).clamp(low, end.max(low));
        partitions.push(PartitionLag {
            topic,
            partition,
            committed_offset: place.committed,
            end_offset: end,
            lag: end - from,
            exact: end == from,
            oldest: None,
            member: place.member,
        });
    }
    for topic in partitions.chunk_by_mut(|one, other| one.topic == other.topic) {
        probe::look(consumer, topic)?;
    }
    for partition in &mut partitions {
        if let Some(topic) = partition.topic.strip_prefix(&settings.topic_prefix) {
            partition.topic = topic.to_owned();
        }
    }
    Ok(GroupLag { group, state, members, partitions })
}

/// State and number of members; notes who reads what.
fn describe(consumer: &BaseConsumer, name: &str, places: &mut Places) -> Result<(String, usize), LagError> {
    let groups = consumer.fetch_group_list(Some(name), QUESTION_TIMEOUT)?;
    let Some(group) = groups.groups().iter().find(|group| group.name() == name) else {
        return Ok((UNKNOWN.to_owned(), 0));
    };
    for member in group.members() {
        let assigned = member.assignment().and_then(assignment::parse).unwrap_or_default();
        for place in assigned {
            places.entry(place).or_default().member = member.client_id().to_owned();
        }
    }
    Ok((group.state().to_owned(), group.members().len()))
}

/// Notes what is committed, in all topics of the deployment. A topic that the group has committed anything of counts
/// with all its partitions.
fn add_committed(consumer: &BaseConsumer, prefix: &str, places: &mut Places) -> Result<(), LagError> {
    let metadata = consumer.fetch_metadata(None, QUESTION_TIMEOUT)?;
    let topics = metadata.topics().iter().filter(|topic| topic.name().starts_with(prefix));
    let mut asked = TopicPartitionList::new();
    for topic in topics {
        for partition in topic.partitions() {
            asked.add_partition(topic.name(), partition.id());
        }
    }
    if asked.count() == 0 {
        return Ok(());
    }
    let committed = group_offsets(consumer, asked, QUESTION_TIMEOUT)?;
    let elements = committed.elements();
    for of_topic in elements.chunk_by(|one, other| one.topic() == other.topic()) {
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        if of_topic.iter().all(|element| offset(element.offset()).is_none()) {
            continue;
        }
        for element in of_topic {
            let place = places.entry((element.topic().to_owned(), element.partition())).or_default();
            place.committed = offset(element.offset());
        }
    }
    Ok(())
}
