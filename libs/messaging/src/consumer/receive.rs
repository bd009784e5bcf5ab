//! From librdkafka's message to [`Received`].

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, ConsumerContext, Rebalance, StreamConsumer},
    message::Headers,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    RawHeaders, Received,
    client::group_offsets,
    consumer::{freshness::Freshness, lag::OwnedLag, positions::Positions},
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
    pub(crate) freshness: Arc<Freshness>,
}

impl Assignments {
    /// Notes where reading of these partitions begins.
    fn begin(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let committed = group_offsets(consumer, partitions.clone(), POSITION_TIMEOUT);
        let committed = committed.inspect_err(|error| tracing::debug!(%error, "the group's positions are not known"));
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let known = committed.as_ref().ok().and_then(|known| known.find_partition(topic, partition));
            let position =
                known.and_then(|known| if let Offset::Offset(at) = known.offset() { Some(at) } else { None });
            let topic = topic.strip_prefix(&self.topic_prefix).unwrap_or(topic);
            self.positions.assigned(topic, partition, position);
            self.freshness.assigned(topic, partition, position);
        }
    }

    /// These partitions are another's now.
    fn end(&self, partitions: &TopicPartitionList) {
        self.lag.revoked(partitions);
        for element in partitions.elements() {
            let topic = element.topic().strip_prefix(&self.topic_prefix).unwrap_or(element.topic());
            self.freshness.revoked(topic, element.partition());
        }
    }
}

impl ClientContext for Assignments {
    /// None are asked for. What reads them would be compiled in each service.
    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Assignments {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            // Before anything of them comes.
            Rebalance::Assign(partitions) if partitions.count() > 0 => self.begin(consumer, partitions),
            Rebalance::Revoke(partitions) => self.end(partitions),
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

/// Where a message stands.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Without the deployment's prefix.
    pub(crate) topic: Cow<'static, str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Copies a message out of the client, as a whole and at once: one that is kept there keeps all that was fetched with it.
/// `topic` is without the deployment's prefix, and `event_type` the name of its type, if that is known. `false` beside it
/// when some of its headers cannot be read: then they are left out, and it is known by its place, whatever id it brings.
pub(crate) fn received(
    message: &impl Message,
    topic: Cow<'static, str>,
    event_type: Option<&'static str>,
) -> (Received, bool) {
    /// Of OpenOrder's own, names and values with their lengths.
    const BYTES_A_HEADER: usize = 56;
    let (key, payload) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    let header_count = message.headers().map_or(0, Headers::count);
    let mut bytes = Vec::with_capacity(key.len() + payload.len() + header_count * BYTES_A_HEADER);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(payload);
    let is_whole = record::read_headers(message, |name, value| RawHeaders::write(&mut bytes, name, value));
    let mut bytes = Bytes::from(bytes);
    let (key, payload) = (bytes.split_to(key.len()), bytes.split_to(payload.len()));
    let place = Place { topic, partition: message.partition(), offset: message.offset() };
    let mut received = from_parts(place, key, payload, RawHeaders::written(bytes), event_type);
    if !is_whole {
        received.event_id = id_of_place(&received.topic, received.partition, received.offset);
        received.position = None;
    }
    (received, is_whole)
}

/// Builds a received message from its parts; also for one that was parked.
pub(crate) fn from_parts(
    place: Place,
    key: Bytes,
    payload: Bytes,
    headers: RawHeaders,
    known_type: Option<&'static str>,
) -> Received {
    let Place { topic, partition, offset } = place;
    let KnownHeaders { event_id, event_type, position, trace } = KnownHeaders::read(&headers);
    let event_id = event_id.unwrap_or_else(|| id_of_place(&topic, partition, offset));
    let event_type = match known_type {
        Some(known) if known == event_type => Cow::Borrowed(known),
        _ => Cow::Owned(event_type.to_owned()),
    };
    Received { topic, partition, offset, key, event_id, event_type, position, payload, trace, headers }
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
    use rdkafka::{
        Timestamp,
        message::{Header, OwnedHeaders, OwnedMessage},
    };

    use super::*;

    #[test]
    fn a_message_without_an_id_gets_one_from_its_place_and_keeps_it() {
        let read = |offset| {
            let place = Place { topic: "t.v1".into(), partition: 3, offset };
            from_parts(place, Bytes::new(), Bytes::new(), RawHeaders::default(), None).event_id
        };
        assert_eq!(read(7), read(7));
        assert_ne!(read(7), read(8));
    }

    fn record(key: Option<&[u8]>, payload: Option<&[u8]>, headers: &[(&str, &[u8])]) -> OwnedMessage {
        let empty = OwnedHeaders::new_with_capacity(headers.len());
        let headers = headers.iter().fold(empty, |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let time = Timestamp::CreateTime(0);
        OwnedMessage::new(owned(payload), owned(key), "p.t.v1".to_owned(), time, 0, 1, Some(headers))
    }

    #[test]
    fn headers_that_are_not_text_are_kept_and_do_no_harm() {
        let headers: [(&str, &[u8]); 3] = [("ce_id", &[0xff, 0xfe]), ("traceparent", b"junk"), ("empty", b"")];
        let (message, is_whole) = received(&record(Some(b"k"), Some(b"v"), &headers), "t.v1".into(), Some("a.b.c"));
        assert!(is_whole);
        assert_eq!(message.headers.iter().collect::<Vec<_>>(), headers);
        assert_eq!((&*message.topic, &*message.key, &*message.payload), ("t.v1", &b"k"[..], &b"v"[..]));
        assert!(!message.trace.is_valid());
        assert!(message.event_type.is_empty(), "whatever type it was taken for");
    }

    #[test]
    fn a_record_may_have_no_key_and_no_value() {
        let (message, _) = received(&record(None, None, &[("ce_type", b"a.b.c")]), "t.v1".into(), Some("a.b.c"));
        assert!(message.key.is_empty() && message.payload.is_empty());
        assert!(matches!(message.event_type, Cow::Borrowed("a.b.c")), "the name is not copied");
    }
}
