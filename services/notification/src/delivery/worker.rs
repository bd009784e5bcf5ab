//! Takes what is due of one channel in bounded batches and hands it over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use openorder_messaging::{Backbone, Changes, Committer, RoleContext};
use openorder_proto::topics;
use openorder_redis::REDIS;
use openorder_runtime::{Dependency, wait_for};
use openorder_telemetry::{
    OwnedGauge, Series,
    api::{Histogram, KeyValue},
    meter,
};
use openorder_types::{Fault, Timestamp};
use tokio::sync::broadcast;

use crate::{
    application::Notifications,
    config::{DeliverySettings, NotificationSettings},
    delivery::{
        breaker::{Breaker, Gate},
        claim::Claims,
        provider::Provider,
    },
    persistence::{self, Due},
};

/// The first pause of an outage.
const OUTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Sends what is requested over one channel.
pub(super) struct Worker<P> {
    pub(super) role: RoleContext,
    backbone: Arc<Backbone>,
    pub(super) committer: Committer<Notifications>,
    pub(super) provider: P,
    pub(super) breaker: Breaker,
    pub(super) claims: Claims,
    pub(super) settings: DeliverySettings,
    pub(super) redis: Dependency,
    pub(super) dependency: Dependency,
    pub(super) durations: Histogram<f64>,
    /// Ends while it cannot be counted.
    waiting: Series,
}

/// What came of a look for work.
enum Round {
    /// There was some.
    Worked,
    /// There was none, or the provider is left alone.
    Idle,
    /// The provider was found away.
    Halted,
}

/// What became of a notification that was taken.
pub(super) enum Handled {
    /// Sent, recorded, or somebody else's.
    Done,
    /// Its provider is away, or failed while it was on probation: given back, and due at this time.
    Waits(Timestamp),
    /// Not tried: given back, and due at once.
    Untried,
}

impl<P: Provider> Worker<P> {
    /// Waits for Redis and the provider, then works until shutdown.
    pub(super) async fn run(
        role: RoleContext,
        backbone: Arc<Backbone>,
        committer: Committer<Notifications>,
        provider: P,
        settings: NotificationSettings,
    ) {
        let (redis, dependency) = (role.background(REDIS), role.background(provider.name()));
        let sent_for = Duration::from_millis(settings.delivery.sent_memory_ms);
        let telemetry = &role.telemetry;
        let connect = || Claims::connect(&settings.redis_url, telemetry, provider.timeout(), sent_for);
        let Ok(claims) = wait_for(&redis, &role.shutdown, connect).await else { return };
        let Ok(_) = wait_for(&dependency, &role.shutdown, || Box::pin(provider.probe())).await else { return };
        let durations = meter()
            .f64_histogram("openorder.notification.delivery.duration")
            .with_unit("s")
            .with_description("Time to hand a notification over, by channel and outcome.")
            .build();
        let waiting =
            OwnedGauge::new("openorder.notification.waiting", "", "Notifications that wait to be sent, by channel.");
        let waiting = waiting.series([KeyValue::new("channel", provider.channel().as_str())]);
        let settings = settings.delivery;
        let breaker = Breaker::new(provider.name(), &settings);
        let worker = Self {
            role,
            backbone,
            committer,
            provider,
            breaker,
            claims,
            settings,
            redis,
            dependency,
            durations,
            waiting,
        };
        worker.work().await;
    }

    async fn work(&self) {
        let longest = Duration::from_millis(self.settings.outage_delay_max_ms);
        let mut outage_pause = OUTAGE_PAUSE;
        let mut counted: Option<Instant> = None;
        let mut changes = self.backbone.changes();
        while !self.role.shutdown.is_requested() {
            let interval = Duration::from_millis(self.settings.backlog_interval_ms);
            if counted.is_none_or(|counted| counted.elapsed() >= interval) {
                self.count_waiting().await;
                counted = Some(Instant::now());
            }
            // What was committed until now is seen by this look; what comes from now on ends the pause after it.
            changes = changes.resubscribe();
            let pause = match self.round().await {
                Ok(Round::Worked) => Duration::ZERO,
                Ok(Round::Idle) => {
                    self.pause_until_work(&mut changes).await;
                    continue;
                }
                Ok(Round::Halted) => OUTAGE_PAUSE,
                Err(fault) => {
                    tracing::warn!(channel = self.provider.channel().as_str(), %fault, "messages wait");
                    outage_pause = (outage_pause * 2).min(longest);
                    self.pause(outage_pause).await;
                    continue;
                }
            };
            outage_pause = OUTAGE_PAUSE;
            self.pause(pause).await;
        }
    }

    /// Until this process commits a notification, or it is time to look for those of other instances.
    async fn pause_until_work(&self, changes: &mut broadcast::Receiver<Changes>) {
        let committed = async {
            // One that was too slow to hear of everything looks, too.
            while let Ok(changed) = changes.recv().await {
                if changed.iter().any(|(topic, _)| *topic == topics::NOTIFICATION_DELIVERY) {
                    break;
                }
            }
        };
        let longest = Duration::from_millis(self.settings.poll_interval_ms);
        let _ = self.role.shutdown.unless_requested(tokio::time::timeout(longest, committed)).await;
    }

    async fn pause(&self, pause: Duration) {
        let _ = self.role.shutdown.unless_requested(tokio::time::sleep(pause)).await;
    }

    async fn count_waiting(&self) {
        let channel = self.provider.channel();
        match persistence::count_waiting(self.backbone.pool(), channel, self.settings.backlog_count_max).await {
            Ok(count) => self.waiting.set(count as f64),
            Err(fault) => {
                self.waiting.end();
                tracing::debug!(%fault, "what waits cannot be counted");
            }
        }
    }

    /// Takes a batch, or one message where the provider is on probation, and hands it over.
    async fn round(&self) -> Result<Round, Fault> {
        let limit = match self.breaker.gate() {
            Gate::Closed => self.settings.batch_max,
            Gate::HalfOpen => match self.provider.probe().await {
                Ok(lets_us_in) => {
                    if lets_us_in {
                        self.dependency.ready();
                    }
                    1
                }
                Err(outage) => {
                    self.provider_failed(&outage);
                    return Ok(Round::Idle);
                }
            },
            Gate::Open => return Ok(Round::Idle),
        };
        let now = Utc::now();
        let lease = Duration::from_millis(self.settings.lease_ms);
        let lease_ends = Instant::now() + lease;
        let (pool, channel) = (self.backbone.pool(), self.provider.channel());
        let due = persistence::take_due(pool, channel, now, after(now, lease), limit).await?;
        let (taken, halted) = (due.len(), &AtomicBool::new(false));
        // All of them come to their end, whatever fails meanwhile: one that was dropped might have been sent.
        let handled: Vec<_> = stream::iter(due)
            .map(|one| async move { (one.notification_id, self.handle(&one, lease_ends, halted).await) })
            .buffer_unordered(self.settings.concurrency)
            .collect()
            .await;
        let (mut untried, mut fault) = (Vec::new(), None);
        for (id, result) in handled {
            match result {
                Ok(Handled::Done) => {}
                Ok(Handled::Untried) => untried.push((id, now)),
                Ok(Handled::Waits(due_at)) => untried.push((id, due_at)),
                Err(outage) => {
                    untried.push((id, now));
                    fault = Some(outage);
                }
            }
        }
        persistence::give_back(pool, &untried).await?;
        match fault {
            Some(fault) => Err(fault),
            None if halted.load(Ordering::Relaxed) => Ok(Round::Halted),
            None if taken == 0 => Ok(Round::Idle),
            None => Ok(Round::Worked),
        }
    }

    /// Hands one over, unless a dependency was found away, the process stops, or it might not be done before the
    /// lease ends.
    async fn handle(&self, one: &Due, lease_ends: Instant, halted: &AtomicBool) -> Result<Handled, Fault> {
        let stopping = halted.load(Ordering::Relaxed) || self.role.shutdown.is_requested();
        if stopping || Instant::now() + self.provider.timeout() > lease_ends {
            return Ok(Handled::Untried);
        }
        let result = self.deliver(one).await;
        if !matches!(result, Ok(Handled::Done)) || self.breaker.last_gate() == Gate::Open {
            halted.store(true, Ordering::Relaxed);
        }
        result
    }
}

pub(super) fn after(time: DateTime<Utc>, wait: Duration) -> Timestamp {
    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    time.checked_add_signed(wait).unwrap_or(Timestamp::MAX_UTC)
}
