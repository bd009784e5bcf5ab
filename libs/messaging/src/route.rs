//! Whether what a service asks of others reaches them, and whether their answers can come back.
//!
//! The way there and back is: the service's event log, its relay, Kafka, the consumer that has to answer, Kafka again,
//! the service's own consumer. A wait for an answer is worth counting only while all of these work.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::Utc;
use openorder_runtime::{State, compiled_here};
use openorder_telemetry::Series;
use openorder_types::{Fault, Timestamp};
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use crate::{
    Backbone, backlog, consumer, kafka,
    lag::{GroupLag, LagError, LagReader},
    metrics::Metrics,
};

/// Name of the service's own part of the way in logs and metrics.
const OWN: &str = "own";

/// Since when a part of the way has been open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Open(Timestamp),
    Blocked,
}

/// Watches the way from a service to the consumers that answer it, and back.
///
/// The service's own part (its log, its relay, its consumer) costs one query each time. The groups of others are asked
/// about only when the caller is about to act on their silence, and then again until they are open.
pub struct RouteMonitor {
    backbone: Arc<Backbone>,
    behind_max: Duration,
    reader: Mutex<Arc<LagReader>>,
    parts: Mutex<BTreeMap<&'static str, Part>>,
    series: Mutex<BTreeMap<&'static str, Series>>,
    started: Timestamp,
}

impl RouteMonitor {
    /// A monitor that has seen nothing yet: every part counts as open from now on, not longer, because answers may have
    /// been waiting while this process was away. A message that waits for longer than `behind_max` blocks its part.
    pub fn new(backbone: Arc<Backbone>, behind_max: Duration) -> Self {
        let reader = Mutex::new(Arc::new(LagReader::new(backbone.kafka())));
        Self { backbone, behind_max, reader, parts: Mutex::default(), series: Mutex::default(), started: Utc::now() }
    }

    /// Looks at the service's own part, and at the groups that were blocked.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    #[compiled_here]
    pub async fn observe(&self) -> Result<(), Fault> {
        let blocked: Vec<&'static str> = {
            let parts = lock(&self.parts);
            parts
                .iter()
                .filter(|(name, part)| **name != OWN && **part == Part::Blocked)
                .map(|(name, _)| *name)
                .collect()
        };
        self.check(&blocked).await
    }

    /// Looks at the service's own part, and at these consumer groups (without the deployment's prefix).
    ///
    /// # Errors
    /// [`Fault`] of the database.
    #[compiled_here]
    pub async fn check(&self, groups: &[&'static str]) -> Result<(), Fault> {
        if let Some(reason) = self.own_trouble().await? {
            self.note(OWN, Some(&reason));
            return Ok(());
        }
        // A part that was blocked is open again once Kafka says that the own group reads.
        if groups.is_empty() && self.part(OWN) != Part::Blocked {
            self.note(OWN, None);
            return Ok(());
        }
        let own = self.backbone.telemetry().role();
        let names: Vec<String> = std::iter::once(own).chain(groups.iter().copied()).map(str::to_owned).collect();
        match self.read(&names).await {
            Ok(lags) => {
                for lag in lags {
                    let name = groups.iter().find(|name| **name == lag.group).copied();
                    self.note(name.unwrap_or(OWN), self.group_trouble(&lag).as_deref());
                }
            }
            // Kafka answers and does not let this service ask: what cannot be known does not stop anything.
            Err(LagError::Broker(error)) if is_refusal(&error) => {
                tracing::debug!(%error, "Kafka does not let consumer groups be looked at");
                self.note(OWN, None);
                groups.iter().for_each(|name| self.note(name, None));
            }
            Err(error) => self.note(OWN, Some(&error.to_string())),
        }
        Ok(())
    }

    /// Since when the service's own part has been open without a break that was seen; now, while it is blocked.
    pub fn own_open_since(&self) -> Timestamp {
        self.since(OWN)
    }

    /// Since when the way to this group and back has been open; now, while it is blocked.
    pub fn open_since(&self, group: &'static str) -> Timestamp {
        self.since(group).max(self.since(OWN))
    }

    /// Up to when the service has read all that was published to this topic, one of its own subscription. None while
    /// that is not known: Kafka is away, or nobody reads for the service.
    #[compiled_here]
    pub async fn read_until(&self, topic: &str) -> Option<Timestamp> {
        let asked_at = Utc::now();
        let own = self.backbone.telemetry().role().to_owned();
        let lag = match self.read(&[own]).await {
            Ok(mut lags) => lags.pop()?,
            // What cannot be known does not stop anything.
            Err(LagError::Broker(error)) if is_refusal(&error) => return Some(asked_at),
            Err(error) => {
                self.note(OWN, Some(&error.to_string()));
                return None;
            }
        };
        if let Some(trouble) = self.group_trouble(&lag) {
            self.note(OWN, Some(&trouble));
        }
        let mut partitions = lag.partitions.iter().filter(|partition| partition.topic == topic).peekable();
        if lag.members == 0 || partitions.peek().is_none() {
            return None;
        }
        // A partition that is behind and does not say since when is not known.
        partitions.try_fold(asked_at, |until, partition| match (partition.lag, partition.oldest) {
            (0, _) => Some(until),
            (_, oldest) => oldest.map(|oldest| oldest.min(until)),
        })
    }

    async fn read(&self, groups: &[String]) -> Result<Vec<GroupLag>, LagError> {
        let reader = Arc::clone(&lock(&self.reader));
        let answer = reader.read(groups).await;
        if answer.is_err() {
            // A client that was in an outage may not recover: the next look has a new one. Closing one can hang.
            let old = std::mem::replace(&mut *lock(&self.reader), Arc::new(LagReader::new(self.backbone.kafka())));
            drop(tokio::task::spawn_blocking(move || drop((old, reader))));
        }
        answer
    }

    fn part(&self, name: &'static str) -> Part {
        lock(&self.parts).get(name).copied().unwrap_or(Part::Open(self.started))
    }

    fn since(&self, name: &'static str) -> Timestamp {
        match self.part(name) {
            Part::Open(since) => since,
            Part::Blocked => Utc::now(),
        }
    }

    /// Why nothing leaves or arrives here, without asking Kafka.
    async fn own_trouble(&self) -> Result<Option<String>, Fault> {
        let role = self.backbone.telemetry().role();
        let states = self.backbone.role().readiness.snapshot();
        let of_kafka = |name: &str| name == kafka::KAFKA || name == consumer::DEPENDENCY;
        if let Some(down) =
            states.iter().find(|one| one.role == role && of_kafka(&one.name) && one.state == State::Down)
        {
            return Ok(Some(format!("{}: {}", down.name, down.detail)));
        }
        let oldest = backlog::oldest_unpublished(&self.backbone).await?;
        let too_old = oldest.filter(|oldest| *oldest + self.behind_max < Utc::now());
        Ok(too_old.map(|oldest| format!("events have waited in the log since {oldest}")))
    }

    fn group_trouble(&self, lag: &GroupLag) -> Option<String> {
        if lag.members == 0 {
            return Some(format!("nobody reads for the group {} ({})", lag.group, lag.state));
        }
        let too_old = lag.oldest().filter(|oldest| *oldest + self.behind_max < Utc::now());
        too_old.map(|oldest| format!("the group {} is behind: a message has waited since {oldest}", lag.group))
    }

    fn note(&self, name: &'static str, trouble: Option<&str>) {
        let before = self.part(name);
        let after = match (before, trouble) {
            (_, Some(_)) => Part::Blocked,
            (Part::Blocked, None) => Part::Open(Utc::now()),
            (open, None) => open,
        };
        lock(&self.parts).insert(name, after);
        let role = self.backbone.telemetry().role();
        let mut series = lock(&self.series);
        let series = series.entry(name).or_insert_with(|| Metrics::get().route_blocked(role, name));
        series.set(if after == Part::Blocked { 1.0 } else { 0.0 });
        match (before, trouble) {
            (Part::Open(_), Some(reason)) => tracing::warn!(part = name, reason, "the way is blocked: deadlines wait"),
            (Part::Blocked, None) => tracing::info!(part = name, "the way is open: deadlines begin anew"),
            _ => {}
        }
    }
}

fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed};
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        [ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed].contains(&code)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
