//! A batch from Kafka.

use std::{borrow::Cow, collections::HashMap, sync::atomic::Ordering, time::Duration};

use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt};
use rdkafka::{Message as _, Timestamp, error::KafkaError, message::BorrowedMessage};

use crate::{
    Application, DecodeError,
    consumer::{
        Consumer, Interest,
        batch::Item,
        receive::{self, KafkaConsumer},
        stored::RecordTime,
    },
    headers, kafka, record,
};

/// During a wait for more, messages are taken so often: each that comes would else wake the consumer.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Messages in hand, and where each partition stands once they are done.
pub(crate) struct Gathered<C> {
    pub(super) items: Vec<Item<C>>,
    /// By topic and partition.
    pub(super) next_offsets: HashMap<(&'static str, i32), i64>,
    pub(super) by_topic: HashMap<&'static str, u64>,
}

impl<C> Default for Gathered<C> {
    fn default() -> Self {
        Self { items: Vec::new(), next_offsets: HashMap::new(), by_topic: HashMap::new() }
    }
}

impl<C> Gathered<C> {
    pub(super) fn is_empty(&self) -> bool {
        self.next_offsets.is_empty()
    }
}

impl<A: Application> Consumer<A> {
    /// Waits for a message, then takes what is there already, up to the batch limit. Where many come, a short wait makes
    /// batches larger and cheaper; a lone message does not wait.
    pub(super) async fn gather(&self, consumer: &KafkaConsumer) -> Result<Gathered<A::Command>, KafkaError> {
        let mut gathered = Gathered::default();
        let mut messages = consumer.stream();
        let first = loop {
            match messages.next().await {
                Some(Ok(message)) => break message,
                Some(Err(error)) => self.broker_error(error)?,
                None => return Ok(gathered),
            }
        };
        self.health.heard();
        self.take(&mut gathered, &first);
        drop(first);
        let until = tokio::time::Instant::now() + Duration::from_micros(self.linger_us.load(Ordering::Relaxed));
        let mut room = self.settings.batch_max - 1;
        loop {
            // Most are there already: no timer is set for these.
            while room > 0
                && let Some(received) = messages.next().now_or_never()
            {
                match received {
                    Some(Ok(message)) => self.take(&mut gathered, &message),
                    Some(Err(error)) => self.broker_error(error)?,
                    None => return Ok(gathered),
                }
                room -= 1;
            }
            let now = tokio::time::Instant::now();
            if room == 0 || now >= until {
                return Ok(gathered);
            }
            tokio::time::sleep_until(until.min(now + LOOK_INTERVAL)).await;
        }
    }

    /// librdkafka mostly reconnects by itself: an error that it does not call fatal puts the client in doubt.
    pub(super) fn broker_error(&self, error: KafkaError) -> Result<(), KafkaError> {
        if kafka::is_fatal(&error) {
            return Err(error);
        }
        self.health.suspect(&error);
        tracing::debug!(%error, "broker");
        Ok(())
    }

    pub(super) fn take(&self, gathered: &mut Gathered<A::Command>, message: &BorrowedMessage<'_>) {
        let prefix = self.backbone.kafka().topic_prefix.as_str();
        let name = message.topic().strip_prefix(prefix).unwrap_or(message.topic());
        // Only topics that were subscribed to come.
        let Some(topic) = self.subscription.topics.iter().find(|topic| **topic == name) else { return };
        let (partition, offset) = (message.partition(), message.offset());
        match gathered.next_offsets.insert((topic, partition), offset + 1) {
            Some(expected) if expected == offset => {}
            Some(expected) => self.positions.gap(topic, partition, expected, offset),
            None => self.positions.came(topic, partition, offset),
        }
        *gathered.by_topic.entry(topic).or_default() += 1;
        let event_type = record::header_text(message, headers::TYPE).unwrap_or_default();
        let event_type = match (self.subscription.interest)(topic, event_type) {
            Interest::None => return,
            Interest::Followed(event_type) => Some(event_type),
            Interest::Unknown => None,
        };
        let recorded = recorded(message);
        let (message, is_whole) = receive::received(message, Cow::Borrowed(*topic), event_type);
        let meaning = if is_whole { self.meaning(&message) } else { Err(DecodeError::UnreadableHeaders) };
        let meaning = match meaning {
            Ok(Some(command)) => Ok(command),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        gathered.items.push(Item { message, recorded, meaning });
    }
}

fn recorded(message: &BorrowedMessage<'_>) -> RecordTime {
    let timestamp = message.timestamp();
    RecordTime {
        at: timestamp.to_millis().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now),
        by_broker: matches!(timestamp, Timestamp::LogAppendTime(_)),
    }
}
