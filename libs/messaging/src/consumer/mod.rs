//! The consumer of a service: polls a batch, hands it to the use case in one transaction, then commits the offsets.
//!
//! Reading guide, in the order of a message's way: `gather` (a batch from Kafka), `work` (handled, with its partitions
//! paused while that takes long or a dependency is away; then its offsets), `batch` (one transaction; split until the
//! guilty message stands alone), `meaning` (what a message is to the service), `failure` (what a failure comes to), `parking` (rows of what failed, and of what
//! waits behind it), `retries` and `due` (tried again), `receive` and `stored` (a message off Kafka, and in a row).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

use openorder_runtime::{Dependency, Shutdown};
use openorder_types::Fault;
use rdkafka::consumer::Consumer as _;

use crate::{
    Application, Backbone, ConsumerSettings, DecodeError, Received,
    consumer::{
        batch::Handler,
        gather::Gathered,
        receive::{Assignments, KafkaConsumer},
    },
    kafka,
    metrics::Metrics,
};

mod backoff;
mod batch;
mod bound;
pub(crate) mod due;
pub(crate) mod failure;
mod gather;
pub(crate) mod inbox;
mod lag;
mod meaning;
pub(crate) mod parking;
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

/// What a message of a topic means to a service: a command, nothing (`None`), or an error that no retry can mend.
pub type Decode<C> = fn(&Received) -> Result<Option<C>, DecodeError>;

/// Whether messages of this topic and event type mean nothing to a service.
pub type PassesOver = fn(topic: &str, event_type: &str) -> bool;

/// Whether a command asks to fail, where faults are injected.
pub type Injects<C> = fn(&C) -> bool;

/// The topics of a service and what their messages mean to it.
pub struct Subscription<C> {
    /// Topics without the deployment's prefix.
    pub topics: Vec<&'static str>,
    /// From message to command.
    pub decode: Decode<C>,
    /// Which messages mean nothing, told before anything of them is copied: for these, `decode` would say `None`.
    pub passes_over: PassesOver,
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
    /// Whether the broker gave an error and has not been heard of since.
    doubtful: AtomicBool,
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
    ) -> Self {
        let handler = Handler::new(Arc::clone(&backbone), application, settings.clone(), subscription.injects);
        Self {
            backbone,
            subscription,
            settings,
            handler,
            dependency,
            doubtful: AtomicBool::new(false),
            linger_us: AtomicU64::new(0),
            passed_over: meaning::PassedOver::default(),
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
        // What a rebalance brought while a batch was worked on.
        let mut early = Gathered::default();
        while !shutdown.is_requested() {
            let gathered = if early.is_empty() {
                tokio::select! {
                    gathered = self.gather(&consumer) => gathered.map_err(|error| error.to_string())?,
                    () = shutdown.requested() => break,
                }
            } else {
                std::mem::take(&mut early)
            };
            if gathered.is_empty() {
                self.resolve_doubt(&consumer).await;
            } else {
                self.work_off(&consumer, &gathered, &mut early, shutdown).await;
            }
            if lag_told.elapsed() >= Duration::from_millis(self.settings.lag_interval_ms) {
                lag_told = Instant::now();
                self.tell_lag(Arc::clone(&consumer));
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
        let mut out: Option<&'static str> = None;
        while !shutdown.is_requested() {
            match self.handler.retry(|message| self.meaning(message)).await {
                Ok(count) => {
                    if let Some(name) = out.take() {
                        self.metrics.outage(role, name, false);
                        dependency.ready();
                    }
                    if count == 0 {
                        pause(&shutdown, idle).await;
                    }
                }
                Err(fault) => {
                    if let Fault::Outage { dependency: name, .. } = &fault
                        && out != Some(name)
                    {
                        tracing::warn!(%fault, "parked messages wait until it is over");
                        if let Some(before) = out.replace(name) {
                            self.metrics.outage(role, before, false);
                        }
                        self.metrics.outage(role, name, true);
                    }
                    dependency.down(&fault);
                    pause(&shutdown, outage).await;
                }
            }
        }
    }
}

async fn pause(shutdown: &Shutdown, bound: Duration) {
    tokio::select! {
        () = tokio::time::sleep(bound) => {}
        () = shutdown.requested() => {}
    }
}
