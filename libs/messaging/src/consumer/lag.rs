//! A look at the group's partitions, now and then, beside the work: how far it is behind, and whether it lost records.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use openorder_runtime::compiled_here;
use openorder_telemetry::Series;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::KafkaError,
};

use crate::{
    Application,
    client::KafkaClient,
    consumer::{
        Consumer,
        positions::{Checked, Finding, Observed},
        receive::KafkaConsumer,
    },
};

/// How long one question to the broker may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// The lag series of the partitions that a consumer owns; each ends when its partition is another's.
#[derive(Debug, Default)]
pub(crate) struct OwnedLag(Mutex<BTreeMap<(String, i32), Series>>);

impl OwnedLag {
    /// These partitions, by full name of their topic, are another's now.
    pub(super) fn revoked(&self, partitions: &TopicPartitionList) {
        self.lock().retain(|(topic, partition), _| partitions.find_partition(topic, *partition).is_none());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, i32), Series>> {
        // A map of handles; nothing under this lock leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends all series, however the look ends.
struct EndsWith<'a>(&'a OwnedLag);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.lock().clear();
    }
}

/// A partition that the consumer owns, as Kafka tells of it.
struct Place {
    /// Full name.
    topic: String,
    partition: i32,
    observed: Observed,
}

impl<A: Application> Consumer<A> {
    /// Looks at the assigned partitions every `lag_interval_ms`, also while an outage is waited out.
    pub(super) async fn watch_partitions(&self, consumer: &Arc<KafkaClient<KafkaConsumer>>) -> Infallible {
        let ends = EndsWith(&self.lag);
        loop {
            tokio::time::sleep(Duration::from_millis(self.settings.lag_interval_ms)).await;
            match look(Arc::clone(consumer)).await {
                Ok(places) => {
                    self.record_lag(&places);
                    self.check_positions(consumer, &places).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the lag is not known");
                    ends.0.lock().clear();
                }
            }
        }
    }

    fn record_lag(&self, places: &[Place]) {
        let role = self.backbone.telemetry().role();
        let mut series = self.lag.lock();
        series.retain(|(topic, partition), _| {
            places.iter().any(|place| place.topic == *topic && place.partition == *partition)
        });
        for place in places {
            let shown = series
                .entry((place.topic.clone(), place.partition))
                .or_insert_with(|| self.metrics.lag(role, self.backbone.kafka().short(&place.topic), place.partition));
            shown.set(messages_behind(place.observed) as f64);
        }
    }

    /// Reports records that were lost, and takes the group back where its position cannot be.
    async fn check_positions(&self, consumer: &Arc<KafkaClient<KafkaConsumer>>, places: &[Place]) {
        let mut suspected = None;
        for place in places {
            let topic = self.backbone.kafka().short(&place.topic);
            let checked: Checked = self.positions.check(topic, place.partition, place.observed);
            for finding in checked.findings {
                self.report_loss(topic, place.partition, finding);
            }
            suspected = suspected.or(checked.suspected.map(|finding| (topic.to_owned(), place.partition, finding)));
            let Some(offset) = checked.rewind_to else { continue };
            let partition = place.partition;
            match go_back(Arc::clone(consumer), place.topic.clone(), partition, offset).await {
                Ok(()) => self.freshness.assigned(topic, partition, Some(offset)),
                Err(error) => {
                    tracing::warn!(%error, topic, partition, offset, "the group's position is not mended; it is tried again");
                }
            }
        }
        match suspected {
            None => self.position.ready(),
            Some((topic, partition, finding)) => {
                self.position.down(format!("{topic}, partition {partition}: {finding:?}"));
            }
        }
    }

    fn report_loss(&self, topic: &str, partition: i32, finding: Finding) {
        let role = self.backbone.telemetry().role();
        // Topics are named by the service that publishes them.
        let source = topic.split('.').next().unwrap_or_default();
        let mend = format!("openorder replay --from {source} --to {role} --since TIME --reason TEXT");
        let (kind, text) = match finding {
            Finding::DeletedUnread { .. } => ("deleted_unread", "records were deleted before this group read them"),
            Finding::BeyondEnd { .. } => (
                "beyond_end",
                "the partition ends before the group's position: its topic was made again, or lost records; it is read from its beginning",
            ),
            Finding::Forgotten { .. } => (
                "forgotten",
                "the group's position is gone: the topic was deleted and made again; it is read from its beginning",
            ),
        };
        self.metrics.lost(role, topic, kind, 1);
        match finding {
            Finding::DeletedUnread { from, to } => {
                tracing::error!(topic, partition, from_offset = from, to_offset = to, mend, "{text}");
            }
            Finding::BeyondEnd { position, end } => {
                tracing::error!(topic, partition, position, end_offset = end, mend, "{text}");
            }
            Finding::Forgotten { position } => tracing::error!(topic, partition, position, mend, "{text}"),
        }
    }
}

#[compiled_here]
async fn look(consumer: Arc<KafkaClient<KafkaConsumer>>) -> Result<Vec<Place>, KafkaError> {
    tokio::task::spawn_blocking(move || places(&consumer)).await.unwrap_or(Err(KafkaError::Canceled))
}

#[compiled_here]
async fn go_back(
    consumer: Arc<KafkaClient<KafkaConsumer>>,
    topic: String,
    partition: i32,
    offset: i64,
) -> Result<(), KafkaError> {
    let work = move || rewind(&consumer, &topic, partition, offset);
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(KafkaError::Canceled))
}

/// What Kafka tells of the assigned partitions.
fn places(consumer: &KafkaConsumer) -> Result<Vec<Place>, KafkaError> {
    let committed = consumer.committed(QUESTION_TIMEOUT)?;
    let mut places = Vec::with_capacity(committed.count());
    for element in committed.elements() {
        let (low, high) = consumer.fetch_watermarks(element.topic(), element.partition(), QUESTION_TIMEOUT)?;
        let committed = if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None };
        let (topic, partition) = (element.topic().to_owned(), element.partition());
        places.push(Place { topic, partition, observed: Observed { committed, low, high } });
    }
    Ok(places)
}

/// Takes the group to this offset. The client by itself commits no position that is before an earlier one.
fn rewind(consumer: &KafkaConsumer, topic: &str, partition: i32, offset: i64) -> Result<(), KafkaError> {
    consumer.seek(topic, partition, Offset::Offset(offset), QUESTION_TIMEOUT)?;
    let mut place = TopicPartitionList::with_capacity(1);
    place.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    consumer.commit(&place, CommitMode::Sync)
}

/// Records from the group's position to the end; markers of foreign transactions count as well.
fn messages_behind(observed: Observed) -> i64 {
    let next = observed.committed.unwrap_or(observed.low).max(observed.low);
    (observed.high - next).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_what_is_there_and_not_read() {
        let behind = |committed, low, high| messages_behind(Observed { committed, low, high });
        assert_eq!(behind(Some(7), 0, 8), 1);
        assert_eq!(behind(Some(7), 0, 7), 0);
        assert_eq!(behind(None, 3, 9), 6, "nothing is committed yet");
        assert_eq!(behind(Some(2), 5, 9), 4, "what was deleted is not there");
        assert_eq!(behind(Some(9), 0, 7), 0, "the topic was made again");
    }
}
