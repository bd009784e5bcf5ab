//! From librdkafka's message to [`Received`].

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance, StreamConsumer},
    message::{BorrowedMessage, Headers},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    RawHeaders, Received,
    consumer::{lag::OwnedLag, positions::Positions},
    headers::KnownHeaders,
    record,
};

/// How long the broker may take to tell a group's position when a partition is assigned; the consumer waits for it.
const POSITION_TIMEOUT: Duration = Duration::from_secs(1);

/// Follows what rebalances bring; the batch in hand is never at risk: the inbox drops what another instance did meanwhile.
pub(crate) struct Assignments {
    pub(crate) group: String,
    pub(crate) topic_prefix: String,
    pub(crate) lag: Arc<OwnedLag>,
    pub(crate) positions: Arc<Positions>,
}

impl Assignments {
    /// Notes where reading of these partitions begins.
    fn begin(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let committed = consumer.committed_offsets(partitions.clone(), POSITION_TIMEOUT);
        let committed = committed.inspect_err(|error| tracing::debug!(%error, "the group's positions are not known"));
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let known = committed.as_ref().ok().and_then(|known| known.find_partition(topic, partition));
            let position =
                known.and_then(|known| if let Offset::Offset(at) = known.offset() { Some(at) } else { None });
            let topic = topic.strip_prefix(&self.topic_prefix).unwrap_or(topic);
            self.positions.assigned(topic, partition, position);
        }
    }
}

impl ClientContext for Assignments {}

impl ConsumerContext for Assignments {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            // Before anything of them comes.
            Rebalance::Assign(partitions) if partitions.count() > 0 => self.begin(consumer, partitions),
            Rebalance::Revoke(partitions) => self.lag.revoked(partitions),
            Rebalance::Assign(_) | Rebalance::Error(_) => {}
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                tracing::info!(group = self.group, count = partitions.count(), "partitions assigned");
            }
            Rebalance::Revoke(partitions) => {
                tracing::info!(group = self.group, count = partitions.count(), "partitions revoked");
            }
            Rebalance::Error(error) => tracing::warn!(group = self.group, %error, "rebalance failed"),
        }
    }
}

pub(crate) type KafkaConsumer = StreamConsumer<Assignments>;

/// Reads a message; `prefix` is the deployment's topic prefix. `false` beside it when some of its headers cannot be
/// read: then they are left out, and it is known by its place, whatever id it brings.
pub(crate) fn received(message: &BorrowedMessage<'_>, prefix: &str) -> (Received, bool) {
    let topic = message.topic();
    let topic = topic.strip_prefix(prefix).unwrap_or(topic);
    let mut headers = RawHeaders::with_capacity(message.headers().map_or(0, Headers::count));
    let is_whole = record::read_headers(message, |name, value| headers.push(name, value));
    let (partition, offset) = (message.partition(), message.offset());
    let mut received = from_parts(topic, partition, offset, message.key(), message.payload(), headers);
    if !is_whole {
        received.event_id = id_of_place(topic, partition, offset);
        received.position = None;
    }
    (received, is_whole)
}

/// Builds a received message from its parts; also for one that was parked.
pub(crate) fn from_parts(
    topic: &str,
    partition: i32,
    offset: i64,
    key: Option<&[u8]>,
    payload: Option<&[u8]>,
    headers: RawHeaders,
) -> Received {
    let KnownHeaders { event_id, event_type, position, trace } = KnownHeaders::read(&headers);
    let event_id = event_id.unwrap_or_else(|| id_of_place(topic, partition, offset));
    let event_type = event_type.to_owned();
    Received {
        topic: topic.to_owned(),
        partition,
        offset,
        key: key.unwrap_or_default().to_vec(),
        event_id,
        event_type,
        position,
        payload: payload.unwrap_or_default().to_vec(),
        trace,
        headers,
    }
}

/// A stable id for a message that brings none: its place in the topic.
fn id_of_place(topic: &str, partition: i32, offset: i64) -> Uuid {
    let digest = Sha256::digest(format!("{topic}/{partition}/{offset}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_an_id_gets_one_from_its_place_and_keeps_it() {
        let read = |offset| from_parts("t.v1", 3, offset, None, None, RawHeaders::default()).event_id;
        assert_eq!(read(7), read(7));
        assert_ne!(read(7), read(8));
    }

    #[test]
    fn headers_that_are_not_text_are_kept_and_do_no_harm() {
        let mut headers = RawHeaders::default();
        headers.push("ce_id", &[0xff, 0xfe]);
        headers.push("traceparent", b"junk");
        let message = from_parts("t.v1", 0, 1, Some(b"k"), Some(b"v"), headers.clone());
        assert_eq!(message.headers, headers);
        assert!(!message.trace.is_valid());
        assert!(message.event_type.is_empty());
    }
}
