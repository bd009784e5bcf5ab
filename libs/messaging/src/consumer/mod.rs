//! The consumer of a service: polls a batch, hands it to the use case in one transaction, then commits the offsets.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use openorder_runtime::{Dependency, Shutdown};
use openorder_types::Fault;
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Headers as _},
};

use crate::{
    Application, Backbone, ConsumerSettings, DecodeError, Received,
    consumer::{
        batch::{Handler, Item},
        receive::{Assignments, KafkaConsumer},
    },
    kafka,
    metrics::Metrics,
};

mod batch;
mod inbox;
pub(crate) mod parking;
pub(crate) mod receive;

/// Name of the dependency in readiness.
pub(crate) const DEPENDENCY: &str = "kafka-consumer";

/// What a message of a topic means to a service: a command, nothing (`None`), or an error that no retry can mend.
pub type Decode<C> = fn(&Received) -> Result<Option<C>, DecodeError>;

/// Whether messages of this topic and event type mean nothing to a service.
pub type PassesOver = fn(topic: &str, event_type: &str) -> bool;

/// The topics of a service and what their messages mean to it.
pub struct Subscription<C> {
    /// Topics without the deployment's prefix.
    pub topics: Vec<&'static str>,
    /// From message to command.
    pub decode: Decode<C>,
    /// Which messages mean nothing, told before anything of them is copied: for these, `decode` would say `None`.
    pub passes_over: PassesOver,
}

/// Feeds one application from Kafka.
pub(crate) struct Consumer<A: Application> {
    backbone: Arc<Backbone>,
    subscription: Subscription<A::Command>,
    settings: ConsumerSettings,
    handler: Handler<A>,
    dependency: Dependency,
    /// Whether the broker gave an error and has not been heard of since.
    doubtful: AtomicBool,
    metrics: &'static Metrics,
}

/// Messages in hand, and where each partition stands once they are done.
struct Gathered<C> {
    items: Vec<Item<C>>,
    /// By topic and partition.
    next_offsets: HashMap<(&'static str, i32), i64>,
    by_topic: HashMap<&'static str, u64>,
}

impl<A: Application> Consumer<A> {
    pub(crate) fn new(
        backbone: Arc<Backbone>,
        application: Arc<A>,
        subscription: Subscription<A::Command>,
        settings: ConsumerSettings,
        dependency: Dependency,
    ) -> Self {
        let handler = Handler::new(Arc::clone(&backbone), application, settings.clone());
        Self {
            backbone,
            subscription,
            settings,
            handler,
            dependency,
            doubtful: AtomicBool::new(false),
            metrics: Metrics::get(),
        }
    }

    /// Runs until shutdown; the batch in hand is finished first.
    pub(crate) async fn run(&self) {
        let shutdown = self.backbone.shutdown().clone();
        let mut failures: u32 = 0;
        while !shutdown.is_requested() {
            if let Err(error) = self.session(&shutdown, &mut failures).await {
                failures = failures.saturating_add(1);
                self.dependency.down(error.clone());
                if failures == 1 || failures.is_multiple_of(20) {
                    tracing::warn!(error, failures, "consumer cannot work; messages wait in their topics");
                }
                let backoff = self.settings.outage_delay_max_ms.min(100 << failures.min(10));
                pause(&shutdown, Duration::from_millis(backoff)).await;
            }
        }
    }

    async fn session(&self, shutdown: &Shutdown, failures: &mut u32) -> Result<(), String> {
        kafka::ensure_topics(self.backbone.kafka(), &self.subscription.topics).await?;
        let group = self.backbone.kafka().topic(self.backbone.telemetry().role());
        let consumer: Arc<KafkaConsumer> = Arc::new(
            kafka::consumer(self.backbone.kafka(), &group)
                .create_with_context(Assignments { group })
                .map_err(|error| error.to_string())?,
        );
        let names: Vec<String> =
            self.subscription.topics.iter().map(|topic| self.backbone.kafka().topic(topic)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| error.to_string())?;
        self.dependency.ready();
        *failures = 0;
        let mut lag_told = Instant::now();
        while !shutdown.is_requested() {
            let gathered = tokio::select! {
                gathered = self.gather(&consumer) => gathered.map_err(|error| error.to_string())?,
                () = shutdown.requested() => break,
            };
            if gathered.next_offsets.is_empty() {
                self.resolve_doubt(&consumer).await;
            }
            self.work_off(&consumer, gathered, shutdown).await;
            if lag_told.elapsed() >= Duration::from_millis(self.settings.lag_interval_ms) {
                lag_told = Instant::now();
                self.tell_lag(Arc::clone(&consumer));
            }
        }
        Ok(())
    }

    /// Waits for a message, then takes what is there already, up to the batch limit, with a short linger when busy.
    async fn gather(&self, consumer: &KafkaConsumer) -> Result<Gathered<A::Command>, KafkaError> {
        let mut gathered = Gathered { items: Vec::new(), next_offsets: HashMap::new(), by_topic: HashMap::new() };
        let mut count = 0;
        let first = loop {
            match tokio::time::timeout(Duration::from_secs(1), consumer.recv()).await {
                Ok(Ok(message)) => break message,
                Ok(Err(error)) => self.broker_error(error)?,
                // Nothing came: the caller gets a turn to tell lag.
                Err(_) => return Ok(gathered),
            }
        };
        self.doubtful.store(false, Ordering::Relaxed);
        self.dependency.ready();
        self.take(&mut gathered, &first);
        drop(first);
        let until = tokio::time::Instant::now() + Duration::from_millis(self.settings.linger_ms);
        while count + 1 < self.settings.batch_max {
            match tokio::time::timeout_at(until, consumer.recv()).await {
                Ok(Ok(message)) => self.take(&mut gathered, &message),
                Ok(Err(error)) => self.broker_error(error)?,
                Err(_) => break,
            }
            count += 1;
        }
        Ok(gathered)
    }

    /// librdkafka reconnects by itself; only an error that it calls fatal needs a new client.
    fn broker_error(&self, error: KafkaError) -> Result<(), KafkaError> {
        if kafka::is_fatal(&error) {
            return Err(error);
        }
        self.doubtful.store(true, Ordering::Relaxed);
        self.dependency.down(error.to_string());
        tracing::debug!(%error, "broker");
        Ok(())
    }

    /// After a broker error and no message since, asks the broker whether it is back.
    async fn resolve_doubt(&self, consumer: &Arc<KafkaConsumer>) {
        if !self.doubtful.load(Ordering::Relaxed) {
            return;
        }
        let consumer = Arc::clone(consumer);
        let probe = tokio::task::spawn_blocking(move || consumer.fetch_metadata(None, Duration::from_secs(1)).is_ok());
        if probe.await.unwrap_or(false) {
            self.doubtful.store(false, Ordering::Relaxed);
            self.dependency.ready();
        }
    }

    fn take(&self, gathered: &mut Gathered<A::Command>, message: &BorrowedMessage<'_>) {
        let prefix = self.backbone.kafka().topic_prefix.as_str();
        let name = message.topic().strip_prefix(prefix).unwrap_or(message.topic());
        // Only topics that were subscribed to come.
        let Some(topic) = self.subscription.topics.iter().find(|topic| **topic == name) else { return };
        gathered.next_offsets.insert((topic, message.partition()), message.offset() + 1);
        *gathered.by_topic.entry(topic).or_default() += 1;
        if event_type(message).is_some_and(|event_type| (self.subscription.passes_over)(topic, event_type)) {
            return;
        }
        let message = receive::received(message, prefix);
        let meaning = match (self.subscription.decode)(&message) {
            Ok(Some(command)) => Ok(command),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        gathered.items.push(Item { message, meaning });
    }

    /// Handles what is in hand, waiting out outages, then commits the offsets.
    async fn work_off(&self, consumer: &KafkaConsumer, gathered: Gathered<A::Command>, shutdown: &Shutdown) {
        if gathered.next_offsets.is_empty() {
            return;
        }
        let started = SystemTime::now();
        let mut in_hand = gathered;
        let mut delay_ms: u64 = 50;
        let mut paused = false;
        loop {
            match self.handler.handle(&in_hand.items).await {
                Ok(_) => break,
                Err(fault) => {
                    if !paused {
                        tracing::warn!(%fault, messages = in_hand.items.len(), "partitions are paused until it is over");
                        paused = true;
                        self.dependency.down(fault.to_string());
                    }
                    if shutdown.is_requested() {
                        // Nothing was committed to Kafka: the batch comes again.
                        return;
                    }
                    self.wait_paused(consumer, &mut in_hand, shutdown, Duration::from_millis(delay_ms)).await;
                    delay_ms = (delay_ms * 2).min(self.settings.outage_delay_max_ms);
                }
            }
        }
        if paused {
            tracing::info!("the outage is over; partitions flow again");
            self.dependency.ready();
            resume(consumer);
        }
        let ended = SystemTime::now();
        let role = self.backbone.telemetry().role();
        for (topic, count) in &in_hand.by_topic {
            self.metrics.processed(role, topic, *count, started, ended);
        }
        self.commit(consumer, &in_hand.next_offsets);
    }

    /// Sleeps with all partitions paused, but keeps polling: the group must not take a patient consumer for a dead one.
    async fn wait_paused(
        &self,
        consumer: &KafkaConsumer,
        in_hand: &mut Gathered<A::Command>,
        shutdown: &Shutdown,
        delay: Duration,
    ) {
        if let Ok(assigned) = consumer.assignment() {
            // A failure shows in the next poll.
            drop(consumer.pause(&assigned));
        }
        let until = tokio::time::Instant::now() + delay;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = shutdown.requested() => return,
                // A partition that a rebalance brought meanwhile: its messages join those in hand.
                received = consumer.recv() => match received {
                    Ok(message) if in_hand.items.len() < self.settings.batch_max * 2 => {
                        self.take(in_hand, &message);
                        if let Ok(assigned) = consumer.assignment() {
                            drop(consumer.pause(&assigned));
                        }
                    }
                    Ok(message) => {
                        // No room: it has to come again from its place.
                        let place = Offset::Offset(message.offset());
                        drop(consumer.seek(message.topic(), message.partition(), place, Duration::from_secs(5)));
                    }
                    Err(error) => drop(self.broker_error(error)),
                },
            }
        }
    }

    fn commit(&self, consumer: &KafkaConsumer, next_offsets: &HashMap<(&'static str, i32), i64>) {
        let mut offsets = TopicPartitionList::with_capacity(next_offsets.len());
        for ((topic, partition), offset) in next_offsets {
            let name = self.backbone.kafka().topic(topic);
            if let Err(error) = offsets.add_partition_offset(&name, *partition, Offset::Offset(*offset)) {
                tracing::warn!(%error, topic, partition, "offset not committed; the inbox drops what comes again");
            }
        }
        if let Err(error) = consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!(%error, "offsets not committed; the inbox drops what comes again");
        }
    }

    /// Tells the lag of each assigned partition, beside the work.
    fn tell_lag(&self, consumer: Arc<KafkaConsumer>) {
        let (metrics, role) = (self.metrics, self.backbone.telemetry().role());
        let prefix = self.backbone.kafka().topic_prefix.clone();
        tokio::task::spawn_blocking(move || {
            let timeout = Duration::from_secs(5);
            let Ok(committed) = consumer.committed(timeout) else { return };
            for element in committed.elements() {
                let Ok((low, high)) = consumer.fetch_watermarks(element.topic(), element.partition(), timeout) else {
                    return;
                };
                let next = match element.offset() {
                    Offset::Offset(offset) => offset,
                    _ => low,
                };
                let topic = element.topic().strip_prefix(&prefix).unwrap_or(element.topic());
                metrics.lag(role, topic, element.partition(), (high - next).max(0));
            }
        });
    }

    /// Runs parked messages whose time has come, until shutdown.
    pub(crate) async fn retry_parked(&self) {
        let shutdown = self.backbone.shutdown().clone();
        let idle = Duration::from_millis(self.settings.retry_poll_interval_ms);
        while !shutdown.is_requested() {
            match self.handler.retry_one(self.subscription.decode).await {
                Ok(true) => {}
                Ok(false) => pause(&shutdown, idle).await,
                Err(Fault::Outage { .. }) => pause(&shutdown, Duration::from_secs(1)).await,
                Err(fault) => {
                    tracing::warn!(%fault, "parked messages cannot be tried");
                    pause(&shutdown, Duration::from_secs(1)).await;
                }
            }
        }
    }
}

fn event_type<'a>(message: &'a BorrowedMessage<'_>) -> Option<&'a str> {
    let header = message.headers()?.iter().find(|header| header.key == "ce_type")?;
    std::str::from_utf8(header.value?).ok()
}

fn resume(consumer: &KafkaConsumer) {
    if let Ok(assigned) = consumer.assignment() {
        drop(consumer.resume(&assigned));
    }
}

async fn pause(shutdown: &Shutdown, bound: Duration) {
    tokio::select! {
        () = tokio::time::sleep(bound) => {}
        () = shutdown.requested() => {}
    }
}
