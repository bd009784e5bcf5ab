//! Looks at what lies between what is committed and the end: messages, or only markers of transactions.

use std::time::{Duration, Instant};

use chrono::DateTime;
use rdkafka::{
    Message, Offset, TopicPartitionList, consumer::Consumer, error::KafkaError, message::Timestamp as WrittenAt,
};

use super::{BaseConsumer, LagError, PartitionLag};

/// Messages of a partition that are counted one by one; beyond, the distance is told.
const COUNTED_MAX: i64 = 500;
/// How long the look at one topic may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes the lag of these partitions, all of one topic, exact where it is small, and finds the oldest message.
pub(super) fn look(consumer: &BaseConsumer, partitions: &mut [PartitionLag]) -> Result<(), LagError> {
    let mut starts = TopicPartitionList::new();
    for partition in partitions.iter().filter(|partition| partition.lag > 0) {
        let from = Offset::Offset(partition.end_offset - partition.lag);
        starts.add_partition_offset(&partition.topic, partition.partition, from)?;
    }
    if starts.count() == 0 {
        return Ok(());
    }
    consumer.assign(&starts)?;
    let mut open: Vec<(i32, i64)> = partitions.iter().filter(|one| one.lag > 0).map(|one| (one.partition, 0)).collect();
    let until = Instant::now() + LOOK_TIMEOUT;
    while !open.is_empty() && Instant::now() < until {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => close(&mut open, partitions, partition),
            // An error of the past, such as of an outage that is over: what is not read within the time is not exact.
            Some(Err(error)) => tracing::debug!(%error, "a look at the lag goes on"),
            Some(Ok(message)) => {
                let number = message.partition();
                let Some(counted) = open.iter_mut().find(|(partition, _)| *partition == number) else { continue };
                let Some(partition) = partitions.iter_mut().find(|one| one.partition == number) else { continue };
                if message.offset() >= partition.end_offset {
                    // Written since the end was asked for.
                    close(&mut open, partitions, number);
                    continue;
                }
                counted.1 += 1;
                if partition.oldest.is_none() {
                    partition.oldest = written_at(message.timestamp());
                }
                if counted.1 >= COUNTED_MAX {
                    open.retain(|(partition, _)| *partition != number);
                    let mut full = TopicPartitionList::new();
                    full.add_partition(&partition.topic, number);
                    consumer.pause(&full)?;
                }
            }
        }
    }
    consumer.unassign()?;
    Ok(())
}

/// The partition was read to its end: what was counted is all that waits.
fn close(open: &mut Vec<(i32, i64)>, partitions: &mut [PartitionLag], number: i32) {
    let Some(index) = open.iter().position(|(partition, _)| *partition == number) else { return };
    let (_, counted) = open.swap_remove(index);
    if let Some(partition) = partitions.iter_mut().find(|one| one.partition == number) {
        (partition.lag, partition.exact) = (counted, true);
    }
}

fn written_at(timestamp: WrittenAt) -> Option<openorder_types::Timestamp> {
    timestamp.to_millis().and_then(DateTime::from_timestamp_millis)
}
