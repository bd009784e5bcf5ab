//! What a role tells while it waits for its database.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use openorder_telemetry::Series;

use crate::{KafkaSettings, database::POSTGRES, lag::LagReader, metrics::Metrics};

/// A start that takes no longer tells nothing; then, how often the lag is read.
const INTERVAL: Duration = Duration::from_secs(5);

/// Records the outage, and the lag of the partitions that no instance reads, until it is dropped.
pub(crate) async fn record(role: &'static str, kafka: &KafkaSettings) -> Infallible {
    tokio::time::sleep(INTERVAL).await;
    let metrics = Metrics::get();
    let _outage = metrics.outage(role, POSTGRES);
    let reader = LagReader::new(kafka);
    let group = [role.to_owned()];
    let mut shown: HashMap<(String, i32), Series> = HashMap::new();
    loop {
        // Kafka away as well: the lag is not known.
        let groups = reader.read(&group).await.unwrap_or_default();
        let partitions: Vec<_> = groups.into_iter().flat_map(|group| group.partitions).collect();
        let unread = partitions.into_iter().filter(|partition| partition.member.is_empty());
        let unread: HashMap<(String, i32), i64> =
            unread.map(|partition| ((partition.topic, partition.partition), partition.lag)).collect();
        shown.retain(|place, _| unread.contains_key(place));
        for ((topic, partition), lag) in unread {
            let series =
                shown.entry((topic.clone(), partition)).or_insert_with(|| metrics.lag(role, &topic, partition));
            series.set(lag as f64);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
