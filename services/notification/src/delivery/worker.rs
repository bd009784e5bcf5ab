//! Takes what is due in bounded batches, hands it over, and records each attempt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use openorder_messaging::{Backbone, Committer, RoleContext};
use openorder_runtime::{Dependency, wait_for};
use openorder_telemetry::{
    Span, SpanKind, TraceContext,
    api::{Histogram, KeyValue},
    meter,
};
use openorder_types::{Fault, Timestamp};
use uuid::Uuid;

use crate::{
    application::{Notifications, deliver_span_name},
    config::{DeliverySettings, EmailTransport, NotificationSettings},
    delivery::{
        Claims, Mailer, REDIS, SMTP,
        claim::{Claim, Token},
    },
    domain::{Channel, Command, Delivery, DeliveryOutcome},
    persistence::{self, Due},
};

/// The first pause of an outage.
const OUTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Sends what is requested.
pub(crate) struct Worker {
    role: RoleContext,
    backbone: Arc<Backbone>,
    committer: Committer<Notifications>,
    mailer: Mailer,
    claims: Claims,
    settings: DeliverySettings,
    redis: Dependency,
    smtp: Dependency,
    durations: Histogram<f64>,
}

/// What became of a notification that was taken.
enum Handled {
    /// Sent, recorded, or somebody else's.
    Done,
    /// Not tried: it is given back.
    Untried(Uuid),
}

impl Worker {
    /// Waits for Redis and the mail server, then works until shutdown.
    pub(crate) async fn run(
        role: RoleContext,
        backbone: Arc<Backbone>,
        committer: Committer<Notifications>,
        mailer: Mailer,
        settings: NotificationSettings,
    ) {
        let (redis, smtp) = (role.dependency(REDIS), role.dependency(SMTP));
        // Longer than sending can take: a claim that ended under a worker's hands would let another one in.
        let claim_for = mailer.timeout() + Duration::from_secs(10);
        let sent_for = Duration::from_millis(settings.delivery.sent_memory_ms);
        let connect = || Claims::connect(&settings.redis_url, claim_for, sent_for);
        let Ok(claims) = wait_for(&redis, &role.shutdown, connect).await else { return };
        let Ok(()) = wait_for(&smtp, &role.shutdown, || Box::pin(mailer.probe())).await else { return };
        let durations = meter()
            .f64_histogram("openorder.notification.delivery.duration")
            .with_unit("s")
            .with_description("Time to hand a notification over, by outcome.")
            .build();
        let settings = settings.delivery;
        Self { role, backbone, committer, mailer, claims, settings, redis, smtp, durations }.work().await;
    }

    async fn work(&self) {
        let longest = Duration::from_millis(self.settings.outage_delay_max_ms);
        let mut outage_pause = OUTAGE_PAUSE;
        while !self.role.shutdown.is_requested() {
            let pause = match self.round().await {
                Ok(0) => Duration::from_millis(self.settings.poll_interval_ms),
                Ok(_) => Duration::ZERO,
                Err(fault) => {
                    tracing::warn!(%fault, "mail waits");
                    outage_pause = (outage_pause * 2).min(longest);
                    self.pause(outage_pause).await;
                    continue;
                }
            };
            outage_pause = OUTAGE_PAUSE;
            self.pause(pause).await;
        }
    }

    async fn pause(&self, pause: Duration) {
        let _ = self.role.shutdown.unless_requested(tokio::time::sleep(pause)).await;
    }

    /// Takes a batch and hands it over. Returns how many were taken.
    async fn round(&self) -> Result<usize, Fault> {
        let now = Utc::now();
        let lease = Duration::from_millis(self.settings.lease_ms);
        let lease_ends = Instant::now() + lease;
        let pool = self.backbone.pool();
        let due = persistence::take_due(pool, now, after(now, lease), self.settings.batch_max).await?;
        let (taken, halted) = (due.len(), AtomicBool::new(false));
        let mut handled = stream::iter(due)
            .map(|one| self.handle(one, lease_ends, &halted))
            .buffer_unordered(self.settings.concurrency);
        let (mut untried, mut fault) = (Vec::new(), None);
        while let Some((handled, outage)) = handled.next().await {
            if let Handled::Untried(id) = handled {
                untried.push(id);
            }
            fault = fault.or(outage);
        }
        if !untried.is_empty() {
            persistence::give_back(pool, &untried, now).await?;
        }
        fault.map_or(Ok(taken), Err)
    }

    /// Hands one over, unless a dependency was found away, the process stops, or the lease has ended.
    async fn handle(&self, one: Due, lease_ends: Instant, halted: &AtomicBool) -> (Handled, Option<Fault>) {
        let stopping = halted.load(Ordering::Relaxed) || self.role.shutdown.is_requested();
        if stopping || Instant::now() >= lease_ends {
            return (Handled::Untried(one.notification_id), None);
        }
        match self.deliver(&one).await {
            Ok(()) => (Handled::Done, None),
            Err(fault) => {
                halted.store(true, Ordering::Relaxed);
                (Handled::Untried(one.notification_id), Some(fault))
            }
        }
    }

    async fn deliver(&self, one: &Due) -> Result<(), Fault> {
        let claim = self.claims.claim(one).await;
        let claim = claim.map_err(|error| away(&self.redis, REDIS, &error))?;
        self.redis.ready();
        let started_at = Utc::now();
        match claim {
            // Another worker is at it. Should it have died, the claim ends before the lease that we now hold does.
            Claim::Taken => Ok(()),
            // The worker before us could not record it any more.
            Claim::Sent => {
                let parent = TraceContext::parse(&one.traceparent, None).unwrap_or_default();
                self.record(one, started_at, DeliveryOutcome::Accepted, &parent).await;
                Ok(())
            }
            Claim::Ours(token) => {
                let mut span = self.span(one);
                let result = self.role.telemetry.scope(span.context(), self.send(one, &token, started_at, &span)).await;
                match &result {
                    Ok(DeliveryOutcome::Accepted) => {}
                    Ok(other) => span.fail(other.why().0, "the message was not taken"),
                    Err(_) => span.fail("outage", "the mail server is away"),
                }
                result.map(|_| ())
            }
        }
    }

    /// Sends what is claimed, and records how it ended before the claim is given back.
    async fn send(
        &self,
        one: &Due,
        token: &Token,
        started_at: Timestamp,
        span: &Span,
    ) -> Result<DeliveryOutcome, Fault> {
        let began = Instant::now();
        let result = self.mailer.send(one).await;
        let outcome = match &result {
            Ok(DeliveryOutcome::Accepted) => "accepted",
            Ok(DeliveryOutcome::TryLater { .. }) => "try_later",
            Ok(DeliveryOutcome::Refused { .. }) => "refused",
            Err(_) => "outage",
        };
        self.durations.record(began.elapsed().as_secs_f64(), &[KeyValue::new("outcome", outcome)]);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(outage) => {
                self.release(one, token).await;
                return Err(away(&self.smtp, SMTP, &outage));
            }
        };
        self.smtp.ready();
        if outcome == DeliveryOutcome::Accepted {
            if let Err(error) = self.claims.sent(one).await {
                tracing::warn!(%error, "a sent message could not be noted in redis");
            }
            self.record(one, started_at, outcome.clone(), span.context()).await;
        } else {
            self.record(one, started_at, outcome.clone(), span.context()).await;
            self.release(one, token).await;
        }
        Ok(outcome)
    }

    async fn record(&self, one: &Due, started_at: Timestamp, outcome: DeliveryOutcome, trace: &TraceContext) {
        let ended_at = Utc::now();
        let delivery = Delivery {
            notification_id: one.notification_id,
            round: one.round,
            started_at,
            ended_at,
            outcome,
            retry_at: after(ended_at, self.retry_delay(one.round_attempts)),
        };
        let command = Command::Delivered(Box::new(delivery));
        if let Err(error) = self.committer.submit(None, command, trace.clone(), None).await {
            // A sent one is found as sent when its lease has ended, any other one is tried again then.
            tracing::warn!(notification_id = %one.notification_id, %error, "an attempt could not be recorded");
        }
    }

    async fn release(&self, one: &Due, token: &Token) {
        if let Err(error) = self.claims.release(one, token).await {
            tracing::debug!(%error, "a claim could not be given back; it ends by itself");
        }
    }

    /// Exponential, with jitter in its upper half so that no wait is none.
    fn retry_delay(&self, attempts: i32) -> Duration {
        let doublings = u32::try_from(attempts).unwrap_or(0).min(30);
        let base = Duration::from_millis(self.settings.retry_delay_base_ms);
        let ceiling = base.saturating_mul(1 << doublings).min(Duration::from_millis(self.settings.retry_delay_max_ms));
        ceiling.mul_f64(rand::random_range(0.5..=1.0))
    }

    fn span(&self, one: &Due) -> Span {
        let parent = TraceContext::parse(&one.traceparent, None).unwrap_or_default();
        let name = || deliver_span_name(Channel::Email).into();
        let mut span = self.role.telemetry.start_at(SpanKind::Client, name, &parent, SystemTime::now());
        if span.is_recording() {
            span.set("messaging.message.conversation_id", one.order_id.to_string());
            span.set("openorder.notification.id", one.notification_id.to_string());
            span.set("openorder.notification.kind", one.kind.as_str());
            span.set("openorder.notification.transport", EmailTransport::Smtp.as_str());
            span.set("openorder.notification.attempt", i64::from(one.round_attempts) + 1);
        }
        span
    }
}

fn away(dependency: &Dependency, name: &'static str, error: &impl std::fmt::Display) -> Fault {
    dependency.down(error);
    Fault::outage(name, error)
}

fn after(time: DateTime<Utc>, wait: Duration) -> Timestamp {
    let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
    time.checked_add_signed(wait).unwrap_or(Timestamp::MAX_UTC)
}
