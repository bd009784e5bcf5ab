//! The consumer of a service: polls a batch, hands it to the use case in one transaction, then commits the offsets.
//!
//! Reading guide, in the order of a message's way: `gather` (a batch from Kafka), `work` (handled, with its partitions
//! paused while that takes long or a dependency is away; then its offsets), `batch` (one transaction; split until the
//! guilty message stands alone), `meaning` (what a message is to the service), `failure` (what a failure comes to), `parking` (rows of what failed, and of what
//! waits behind it), `retries` and `due` (tried again), `receive` and `stored` (a message off Kafka, and in a row). Beside it:
//! `lag` and `positions` (whether records were lost), `freshness` (up to when everything is taken over).

use std::{
    convert::Infallible,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use openorder_runtime::{Dependency, Shutdown, compiled_here};
use openorder_telemetry::Series;
use openorder_types::Fault;
use rdkafka::{consumer::Consumer as _, error::KafkaError};

use crate::{
    Application, Backbone, ConsumerSettings, DecodeError, KafkaSettings, Received,
    client::{ClientHealth, KafkaClient},
    consumer::{
        batch::Handler,
        freshness::Freshness,
        gather::Gathered,
        lag::OwnedLag,
        positions::Positions,
        receive::{Assignments, KafkaConsumer},
    },
    kafka,
    metrics::Metrics,
    outage::Outage,
};

mod backoff;
mod batch;
mod bound;
pub(crate) mod due;
pub(crate) mod failure;
pub(crate) mod freshness;
mod gather;
pub(crate) mod inbox;
pub(crate) mod lag;
mod meaning;
pub(crate) mod parking;
mod positions;
pub(crate) mod receive;
mod retries;
mod spans;
pub(crate) mod stored;
mod work;

/// Name of the dependency in readiness.
pub(crate) const DEPENDENCY: &str = "kafka-consumer";
/// Name of the dependency in readiness that is down while parked messages cannot be tried.
pub(crate) const RETRIES: &str = "parked-retries";
/// Name of the dependency in readiness that is down while dead messages find no room in their table.
pub(crate) const DEAD_LETTERS: &str = "dead-letters";

/// Name of the dependency in readiness that is down while the group's position in a partition cannot be.
pub(crate) const POSITION: &str = "kafka-position";

/// What a message of a topic means to a service: a command, nothing (`None`), or an error that no retry can mend.
pub type Decode<C> = fn(&Received) -> Result<Option<C>, DecodeError>;

/// What messages of a topic and event type are to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// They mean nothing to it.
    None,
    /// They may mean something; the name of their type, which the messages share.
    Followed(&'static str),
    /// They are of a type that it does not know.
    Unknown,
}

/// What messages of this topic and event type are to a service.
pub type InterestIn = fn(topic: &str, event_type: &str) -> Interest;

/// Whether a command asks to fail, where faults are injected.
pub type Injects<C> = fn(&C) -> bool;

/// The topics of a service and what their messages mean to it.
pub struct Subscription<C> {
    /// Topics without the deployment's prefix.
    pub topics: Vec<&'static str>,
    /// From message to command.
    pub decode: Decode<C>,
    /// Which messages mean something, told before anything of them is copied: for those of no interest, `decode` would say
    /// `None`.
    pub interest: InterestIn,
    /// Which commands fail, each time, while the process runs with fault injection; without it nobody asks.
    pub injects: Injects<C>,
}

/// Feeds one application from Kafka.
pub(crate) struct Consumer<A: Application> {
    backbone: Arc<Backbone>,
    subscription: Subscription<A::Command>,
    settings: ConsumerSettings,
    handler: Handler<A>,
    dependency: Dependency,
    health: ClientHealth,
    /// Down while the group's position in a partition cannot be.
    position: Dependency,
    positions: Arc<Positions>,
    freshness: Arc<Freshness>,
    lag: Arc<OwnedLag>,
    /// How long the next batch waits for more messages.
    linger_us: AtomicU64,
    passed_over: meaning::PassedOver,
    metrics: &'static Metrics,
}

impl<A: Application> Consumer<A> {
    pub(crate) fn new(
        backbone: Arc<Backbone>,
        application: Arc<A>,
        subscription: Subscription<A::Command>,
        settings: ConsumerSettings,
        dependency: Dependency,
        position: Dependency,
    ) -> Self {
        let handler = Handler::new(Arc::clone(&backbone), application, settings.clone(), subscription.injects);
        let topic = subscription.topics.first().copied().unwrap_or_default();
        let freshness = backbone.followed_freshness().map(|(freshness, _)| Arc::clone(freshness)).unwrap_or_default();
        let health = ClientHealth::new(backbone.kafka(), backbone.telemetry().role(), topic, dependency.clone());
        Self {
            backbone,
            subscription,
            settings,
            handler,
            dependency,
            health,
            position,
            positions: Arc::default(),
            freshness,
            lag: Arc::default(),
            linger_us: AtomicU64::new(0),
            passed_over: meaning::PassedOver::default(),
            metrics: Metrics::get(),
        }
    }

    /// Runs until shutdown; the batch in hand is finished first.
    pub(crate) async fn run(&self) {
        let shutdown = self.backbone.shutdown().clone();
        let text = "consumer cannot work; messages wait in their topics";
        let mut outage = Outage::new(self.backbone.telemetry(), "consumer outage", text);
        self.position.ready();
        for topic in &self.subscription.topics {
            self.metrics.nothing_lost(self.backbone.telemetry().role(), topic);
        }
        while !shutdown.is_requested() {
            if let Err(error) = self.session(&shutdown, &mut outage).await {
                outage.record(&error);
                self.dependency.down(error);
                self.health.away();
                let backoff = self.settings.outage_delay_max_ms.min(100 << outage.failures().min(10));
                pause(&shutdown, Duration::from_millis(backoff)).await;
            }
        }
    }

    /// Works with one client, until it is lost or shutdown.
    async fn session(&self, shutdown: &Shutdown, outage: &mut Outage) -> Result<(), String> {
        kafka::ensure_topics(self.backbone.kafka(), &self.subscription.topics).await?;
        let group = self.backbone.kafka().topic(self.backbone.telemetry().role());
        self.freshness.begin();
        let consumer = subscribed(self.backbone.kafka(), self.assignments(group), &self.subscription.topics)
            .map_err(|error| error.to_string())?;
        self.health.renew();
        self.dependency.ready();
        outage.end();
        let result = tokio::select! {
            result = self.work(&consumer, shutdown) => result,
            never = watched(&self.health, &consumer) => match never {},
            never = self.watch_partitions(&consumer) => match never {},
            never = self.watch_ends(&consumer) => match never {},
        };
        if result.is_ok() {
            // So that the group gives its partitions to others at once.
            let bound = Duration::from_millis(self.backbone.kafka().client_close_timeout_ms);
            if !closed(consumer, bound).await {
                tracing::warn!(
                    "the consumer did not leave its group in time; its partitions wait for the session's end"
                );
            }
        }
        result
    }

    fn assignments(&self, group: String) -> Assignments {
        Assignments {
            group,
            topic_prefix: self.backbone.kafka().topic_prefix.clone(),
            lag: Arc::clone(&self.lag),
            positions: Arc::clone(&self.positions),
            freshness: Arc::clone(&self.freshness),
        }
    }

    async fn work(&self, consumer: &Arc<KafkaClient<KafkaConsumer>>, shutdown: &Shutdown) -> Result<(), String> {
        // What a rebalance brought while a batch was worked on.
        let mut early = Gathered::default();
        while !shutdown.is_requested() {
            let gathered = if early.is_empty() {
                tokio::select! {
                    gathered = self.gather(consumer) => gathered.map_err(|error| error.to_string())?,
                    // Nothing is in hand: what was fetched comes again.
                    () = self.health.lost() => return Err("the client is silent".to_owned()),
                    () = shutdown.requested() => break,
                }
            } else {
                std::mem::take(&mut early)
            };
            let next = gathered.next_offsets.iter();
            self.positions.passed(next.map(|((topic, partition), next)| (*topic, *partition, *next)));
            if !gathered.is_empty() {
                self.work_off(consumer, &gathered, &mut early, shutdown).await;
            }
        }
        Ok(())
    }

    /// Runs parked messages whose time has come, until shutdown.
    pub(crate) async fn retry_parked(&self, dependency: Dependency) {
        let shutdown = self.backbone.shutdown().clone();
        let role = self.backbone.telemetry().role();
        let idle = Duration::from_millis(self.settings.retry_poll_interval_ms);
        let outage = Duration::from_millis(self.settings.outage_delay_max_ms);
        dependency.ready();
        let mut under_way: Option<(&'static str, Series)> = None;
        while !shutdown.is_requested() {
            match self.handler.retry(|message| self.meaning(message)).await {
                Ok(count) => {
                    if under_way.take().is_some() {
                        dependency.ready();
                    }
                    if count == 0 {
                        pause(&shutdown, idle).await;
                    }
                }
                Err(fault) => {
                    if let Fault::Outage { dependency: name, .. } = &fault
                        && under_way.as_ref().is_none_or(|(known, _)| known != name)
                    {
                        tracing::warn!(%fault, "parked messages wait until it is over");
                        under_way = Some((name, self.metrics.outage(role, name)));
                    }
                    dependency.down(&fault);
                    pause(&shutdown, outage).await;
                }
            }
        }
    }
}

/// A new client of a group.
fn subscribed(
    kafka: &KafkaSettings,
    assignments: Assignments,
    topics: &[&str],
) -> Result<Arc<KafkaClient<KafkaConsumer>>, KafkaError> {
    let config = kafka::consumer(kafka, &assignments.group);
    let consumer: KafkaClient<KafkaConsumer> = KafkaClient::create_with_context(&config, assignments)?;
    let names: Vec<String> = topics.iter().map(|topic| kafka.topic(topic)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    consumer.subscribe(&names)?;
    Ok(Arc::new(consumer))
}

#[compiled_here]
async fn watched(health: &ClientHealth, consumer: &Arc<KafkaClient<KafkaConsumer>>) -> Infallible {
    health.watch(consumer, KafkaConsumer::client).await
}

#[compiled_here]
async fn closed(consumer: Arc<KafkaClient<KafkaConsumer>>, bound: Duration) -> bool {
    KafkaClient::close(consumer, bound).await
}

async fn pause(shutdown: &Shutdown, bound: Duration) {
    tokio::select! {
        () = tokio::time::sleep(bound) => {}
        () = shutdown.requested() => {}
    }
}
