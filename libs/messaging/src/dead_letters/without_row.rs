//! Dead messages that find no room in their table: they stand on their topic alone.

use std::{sync::Arc, time::Duration};

use openorder_runtime::compiled_here;
use openorder_types::{Fault, Timestamp};
use rdkafka::error::KafkaError;
use tokio::sync::Mutex;

use super::{Letter, send_all, topic_of};
use crate::{
    Backbone, ConsumerSettings,
    consumer::parking::Park,
    deliveries::CountingProducer,
    kafka::{self, KAFKA},
};

/// Publishes dead messages at once, before they count as taken.
pub(crate) struct WithoutRow {
    backbone: Arc<Backbone>,
    settings: ConsumerSettings,
    /// Made when it is needed first; thrown away after an error.
    producer: Mutex<Option<Arc<CountingProducer>>>,
}

impl WithoutRow {
    pub(crate) fn new(backbone: Arc<Backbone>, settings: ConsumerSettings) -> Self {
        Self { backbone, settings, producer: Mutex::new(None) }
    }

    /// Publishes messages that are dead at their first attempt, and waits until the broker has them. One that the broker
    /// refuses for what it is stands in the log by its place.
    ///
    /// # Errors
    /// An outage of Kafka: then none of them counts as published.
    pub(crate) async fn publish(&self, parks: Vec<Park<'_>>, now: Timestamp) -> Result<(), Fault> {
        let letters = parks.into_iter().filter_map(|park| letter(park, 1, now)).collect();
        self.publish_letters(letters).await
    }

    /// Like [`Self::publish`], for one that is dead after so many attempts.
    pub(crate) async fn publish_after(&self, park: Park<'_>, attempts: i32, now: Timestamp) -> Result<(), Fault> {
        self.publish_letters(letter(park, attempts, now).into_iter().collect()).await
    }

    #[compiled_here]
    async fn publish_letters(&self, letters: Vec<Letter>) -> Result<(), Fault> {
        let mut producer = self.producer.lock().await;
        let result = self.send(&mut producer, letters).await;
        if result.is_err() {
            *producer = None;
        }
        result.map_err(|error| Fault::outage(KAFKA, error))
    }

    async fn send(&self, held: &mut Option<Arc<CountingProducer>>, letters: Vec<Letter>) -> Result<(), String> {
        let timeout = Duration::from_millis(self.settings.dead_letter_publish_timeout_ms);
        let role = self.backbone.telemetry().role();
        let producer = match held {
            Some(producer) => Arc::clone(producer),
            None => {
                let mut topics: Vec<String> =
                    letters.iter().map(|letter| topic_of(&letter.message.topic, role)).collect();
                // Kafka refuses a request that names a topic twice.
                topics.sort_unstable();
                topics.dedup();
                let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
                kafka::ensure_topics(self.backbone.kafka(), &topics).await?;
                let client = format!("openorder-{role}-dead-letters-without-row");
                let config = kafka::idempotent_producer(self.backbone.kafka(), &client, timeout);
                let producer = Arc::new(CountingProducer::create(&config).map_err(|error| error.to_string())?);
                Arc::clone(held.insert(producer))
            }
        };
        let backbone = Arc::clone(&self.backbone);
        let sent = tokio::task::spawn_blocking(move || send_all(&producer, &backbone, &letters, timeout));
        sent.await.unwrap_or(Err(KafkaError::Canceled)).map_err(|error| error.to_string())
    }
}

fn letter(park: Park<'_>, attempts: i32, now: Timestamp) -> Option<Letter> {
    let (failure, _) = park.failed?;
    Some(Letter {
        // It has no row.
        sequence: 0,
        message: park.message.clone(),
        recorded: park.recorded,
        dead_at: now,
        attempts,
        error_class: failure.class.as_str().to_owned(),
        error_reason: failure.reason.to_owned(),
    })
}
