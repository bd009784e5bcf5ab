//! Up to when a consumer has taken over what Kafka had: for a service whose answers say how fresh they are.
//!
//! Each look notes where the partitions end, and the time before it asked. Once all up to such an end is done, everything
//! that Kafka had acknowledged by that time is taken over: that does not rest on the clocks of publishers, and goes on
//! while nothing comes. Markers of foreign transactions take offsets, and are no messages: behind one, the time stands still
//! until the next message.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use openorder_runtime::compiled_here;
use openorder_types::{Fault, Timestamp};
use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaError};
use sqlx::PgPool;

use crate::{
    Application,
    client::KafkaClient,
    consumer::{Consumer, receive::KafkaConsumer},
};

/// How long one question to the broker may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Ends of a partition that are remembered while it is behind; with more, the last ones are told as one.
const AWAITED_MAX: usize = 1_000;

/// A topic, without the deployment's prefix, and a partition of it.
pub type TopicPartition = (String, i32);

/// How fresh the partitions of one process' consumer are. Another process tells of the partitions that it owns.
#[derive(Debug, Default)]
pub struct Freshness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<TopicPartition, Place>,
    known: BTreeSet<TopicPartition>,
}

/// A partition that the process owns.
#[derive(Debug, Default)]
struct Place {
    /// Everything before this offset is done; not known before the first commit of the group.
    done: Option<i64>,
    /// Ends that are not reached yet, with the time before they were asked for; both ascend.
    awaited: VecDeque<(i64, Timestamp)>,
    included_until: Option<Timestamp>,
}

/// What one process knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of the partitions that the process owns, up to when everything that Kafka had acknowledged is taken over or parked.
    pub included_until: BTreeMap<TopicPartition, Timestamp>,
    /// All partitions of the topics, whoever owns them; empty before the first look.
    pub known: BTreeSet<TopicPartition>,
}

impl Freshness {
    /// What is known now.
    pub fn seen(&self) -> Seen {
        let state = self.lock();
        let included = state.owned.iter().filter_map(|(key, place)| Some((key.clone(), place.included_until?)));
        Seen { included_until: included.collect(), known: state.known.clone() }
    }

    /// A new client begins: it owns nothing yet.
    pub(super) fn begin(&self) {
        self.lock().owned.clear();
    }

    /// Reading of a partition begins at the group's position.
    pub(super) fn assigned(&self, topic: &str, partition: i32, committed: Option<i64>) {
        let place = Place { done: committed, ..Place::default() };
        self.lock().owned.insert((topic.to_owned(), partition), place);
    }

    /// A partition is another's now.
    pub(super) fn revoked(&self, topic: &str, partition: i32) {
        self.lock().owned.remove(&(topic.to_owned(), partition));
    }

    /// Everything before these offsets is taken over or parked.
    pub(super) fn done<'a>(&self, next_offsets: impl Iterator<Item = (&'a str, i32, i64)>) {
        let mut state = self.lock();
        for (topic, partition, next) in next_offsets {
            if let Some(place) = state.owned.get_mut(&(topic.to_owned(), partition)) {
                place.done(next);
            }
        }
    }

    /// Where the group begins that has no position yet.
    fn begins(&self, topic: &str, partition: i32, low: i64) {
        if let Some(place) = self.lock().owned.get_mut(&(topic.to_owned(), partition)) {
            place.done.get_or_insert(low);
        }
    }

    /// A look: where partitions end. It was begun at `at`.
    fn observed(&self, at: Timestamp, look: Look) {
        let mut state = self.lock();
        for (key, end) in look.ends {
            if let Some(place) = state.owned.get_mut(&key) {
                place.observed(end, at);
            }
        }
        state.known = look.known;
    }

    /// Partitions whose beginning is not known.
    fn without_beginning(&self) -> Vec<TopicPartition> {
        let state = self.lock();
        state.owned.iter().filter(|(_, place)| place.done.is_none()).map(|(key, _)| key.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock leaves a place half changed that the next look would not mend.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn done(&mut self, next: i64) {
        let done = self.done.map_or(next, |done| done.max(next));
        self.done = Some(done);
        while let Some((end, at)) = self.awaited.front().copied()
            && end <= done
        {
            self.awaited.pop_front();
            self.included_until = self.included_until.max(Some(at));
        }
    }

    fn observed(&mut self, end: i64, at: Timestamp) {
        match self.done {
            Some(done) if done == end => {
                self.awaited.clear();
                self.included_until = self.included_until.max(Some(at));
            }
            // The topic was made again, or lost records: whoever is beyond its end has not read what is there.
            Some(done) if done > end => self.awaited.clear(),
            _ => {
                if self.awaited.back().is_some_and(|(last, _)| *last > end) {
                    self.awaited.clear();
                }
                if self.awaited.len() >= AWAITED_MAX {
                    self.awaited.pop_back();
                }
                self.awaited.push_back((end, at));
            }
        }
    }
}

/// What Kafka tells in one look.
struct Look {
    ends: Vec<(TopicPartition, i64)>,
    known: BTreeSet<TopicPartition>,
}

impl<A: Application> Consumer<A> {
    /// Looks at the ends of the partitions, now and then, also while an outage is waited out; never, where nobody wants to
    /// know.
    pub(super) async fn watch_ends(&self, consumer: &Arc<KafkaClient<KafkaConsumer>>) -> Infallible {
        let Some((freshness, interval)) = self.backbone.followed_freshness() else {
            return std::future::pending().await;
        };
        loop {
            let at = Utc::now();
            let (asked, known) = (Arc::clone(consumer), Arc::clone(freshness));
            let (prefix, topics) = (self.backbone.kafka().topic_prefix.clone(), self.subscription.topics.clone());
            match looked(asked, prefix, topics, known).await {
                Ok(look) => freshness.observed(at, look),
                Err(error) => tracing::debug!(%error, "where the partitions end is not known"),
            }
            tokio::time::sleep(*interval).await;
        }
    }
}

#[compiled_here]
async fn looked(
    consumer: Arc<KafkaClient<KafkaConsumer>>,
    prefix: String,
    topics: Vec<&'static str>,
    freshness: Arc<Freshness>,
) -> Result<Look, KafkaError> {
    let work = move || look(&consumer, &prefix, &topics, &freshness);
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(KafkaError::Canceled))
}

fn look(
    consumer: &KafkaConsumer,
    prefix: &str,
    topics: &[&'static str],
    freshness: &Freshness,
) -> Result<Look, KafkaError> {
    let mut known = BTreeSet::new();
    for topic in topics {
        let name = format!("{prefix}{topic}");
        let metadata = consumer.fetch_metadata(Some(&name), QUESTION_TIMEOUT)?;
        let of_topic = metadata.topics().iter().filter(|told| told.name() == name && told.error().is_none());
        let partitions = of_topic.flat_map(|told| told.partitions());
        known.extend(partitions.map(|partition| ((*topic).to_owned(), partition.id())));
    }
    let assigned = consumer.assignment()?;
    let all: Vec<TopicPartition> = assigned
        .elements()
        .iter()
        .map(|place| (place.topic().strip_prefix(prefix).unwrap_or(place.topic()).to_owned(), place.partition()))
        .collect();
    for ((topic, partition), low) in offsets(consumer, prefix, &freshness.without_beginning(), Offset::Beginning)? {
        freshness.begins(&topic, partition, low);
    }
    Ok(Look { ends: offsets(consumer, prefix, &all, Offset::End)?, known })
}

/// Where these partitions begin, or end: one question for all of them.
fn offsets(
    consumer: &KafkaConsumer,
    prefix: &str,
    places: &[TopicPartition],
    which: Offset,
) -> Result<Vec<(TopicPartition, i64)>, KafkaError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked = TopicPartitionList::with_capacity(places.len());
    for (topic, partition) in places {
        // To the broker, the beginning and the end are special times.
        asked.add_partition_offset(&format!("{prefix}{topic}"), *partition, which)?;
    }
    let told = consumer.offsets_for_times(asked, QUESTION_TIMEOUT)?;
    let offsets = told.elements().into_iter().filter_map(|place| match (place.error(), place.offset()) {
        (Ok(()), Offset::Offset(offset)) => {
            let topic = place.topic().strip_prefix(prefix).unwrap_or(place.topic()).to_owned();
            Some(((topic, place.partition()), offset))
        }
        _ => None,
    });
    Ok(offsets.collect())
}

/// The time of the oldest message that is parked or dead: what was not taken over. The table has an index of these times
/// where somebody asks often.
///
/// # Errors
/// [`Fault`] of the database.
#[compiled_here]
pub async fn oldest_parked(pool: &PgPool) -> Result<Option<Timestamp>, Fault> {
    Ok(sqlx::query_scalar("select min(recorded_at) from parked_message").fetch_one(pool).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "t.v1";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    fn look_at(freshness: &Freshness, second: i64, end: i64) {
        let key = (T.to_owned(), 0);
        freshness.observed(at(second), Look { ends: vec![(key.clone(), end)], known: [key].into() });
    }

    fn included(freshness: &Freshness) -> Option<i64> {
        freshness.seen().included_until.get(&(T.to_owned(), 0)).map(Timestamp::timestamp)
    }

    fn done(freshness: &Freshness, next: i64) {
        freshness.done([(T, 0, next)].into_iter());
    }

    #[test]
    fn the_time_goes_on_while_nothing_comes() {
        let freshness = Freshness::default();
        freshness.assigned(T, 0, Some(5));
        assert_eq!(included(&freshness), None);
        for second in 1..4 {
            look_at(&freshness, second, 5);
            assert_eq!(included(&freshness), Some(second));
        }
    }

    #[test]
    fn the_time_is_that_of_the_last_end_that_was_reached() {
        let freshness = Freshness::default();
        freshness.assigned(T, 0, Some(0));
        look_at(&freshness, 1, 10);
        look_at(&freshness, 2, 20);
        done(&freshness, 9);
        assert_eq!(included(&freshness), None, "one is missing");
        done(&freshness, 15);
        assert_eq!(included(&freshness), Some(1));
        look_at(&freshness, 3, 20);
        done(&freshness, 20);
        assert_eq!(included(&freshness), Some(3));
        done(&freshness, 18);
        look_at(&freshness, 4, 21);
        assert_eq!(included(&freshness), Some(3), "what comes again takes nothing back, and 20 is not done");
    }

    #[test]
    fn a_group_without_a_position_begins_where_the_partition_does() {
        let freshness = Freshness::default();
        freshness.assigned(T, 0, None);
        look_at(&freshness, 1, 7);
        assert_eq!((included(&freshness), freshness.without_beginning().len()), (None, 1));
        freshness.begins(T, 0, 7);
        look_at(&freshness, 2, 7);
        assert_eq!(included(&freshness), Some(2), "there was nothing to read");
        freshness.begins(T, 0, 3);
        look_at(&freshness, 3, 7);
        assert_eq!(included(&freshness), Some(3), "what is known is not looked up again");
    }

    #[test]
    fn whoever_is_beyond_the_end_tells_nothing() {
        let freshness = Freshness::default();
        freshness.assigned(T, 0, Some(500));
        look_at(&freshness, 1, 3);
        assert_eq!(included(&freshness), None);
        freshness.assigned(T, 0, Some(0));
        look_at(&freshness, 2, 3);
        done(&freshness, 3);
        assert_eq!(included(&freshness), Some(2));
    }

    #[test]
    fn what_is_anothers_is_not_told_and_memory_is_bounded() {
        let freshness = Freshness::default();
        freshness.assigned(T, 0, Some(0));
        for second in 1..=2_000 {
            look_at(&freshness, second, second);
        }
        assert_eq!(freshness.lock().owned.values().map(|place| place.awaited.len()).sum::<usize>(), AWAITED_MAX);
        done(&freshness, 999);
        assert_eq!(included(&freshness), Some(999));
        done(&freshness, 1_999);
        assert_eq!(included(&freshness), Some(999), "the last end stands for those that were not kept");
        done(&freshness, 2_000);
        assert_eq!(included(&freshness), Some(2_000));
        freshness.revoked(T, 0);
        done(&freshness, 3_000);
        assert_eq!((included(&freshness), freshness.seen().known.len()), (None, 1));
    }
}
