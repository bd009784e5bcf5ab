//! The timer task: picks up deadlines that are due and hands them to the committer as commands.
//!
//! A deadline counts only while the way to the service that has to answer, and back, is open. Whether it is, is asked
//! only when a deadline has passed, once for all that are due together.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use openorder_messaging::{Backbone, Committer, RouteMonitor};
use openorder_runtime::{Again, every};
use openorder_telemetry::{OwnedGauge, Series, TraceContext, api::KeyValue, work_span};
use openorder_types::{CallError, Fault};
use uuid::Uuid;

use crate::{
    application::{Command, Orders},
    config::OrderSettings,
    domain::OrderCommand,
    persistence::{self, DueTimer, OpenSaga},
    saga::{OpenSince, Step},
};

/// Counting takes at most one part in so many of the time: under load it reads an order for each that waits.
const COUNTING_REST: u32 = 100;
/// Consumer groups that answer.
const INVENTORY: &str = "inventory";
const PAYMENT: &str = "payment";
const PROMOTION: &str = "promotion";

/// Looks at due deadlines until shutdown; several instances share them.
pub(crate) async fn watch_deadlines(
    backbone: Arc<Backbone>,
    committer: Committer<Orders>,
    route: Arc<RouteMonitor>,
    settings: OrderSettings,
) {
    let shutdown = backbone.shutdown().clone();
    let interval = Duration::from_millis(settings.saga_timer_interval_ms);
    let mut open_sagas = OpenSagas::default();
    let mut rounds_done: u64 = 0;
    let mut count_again_at = Instant::now();
    let observe_at = Instant::now();
    let mut watch = Watch { backbone: Arc::clone(&backbone), committer, settings, route, observe_at, checked_at: None };
    let mut rounds = every(interval, &shutdown);
    while rounds.next().await {
        rounds.ended(watch.round().await, "deadlines cannot be looked at; they are later");
        rounds_done += 1;
        if rounds_done.is_multiple_of(watch.settings.saga_metrics_every_rounds) && Instant::now() >= count_again_at {
            let started = Instant::now();
            open_sagas.record(&backbone).await;
            count_again_at = Instant::now() + started.elapsed() * COUNTING_REST;
        }
    }
}

struct Watch {
    backbone: Arc<Backbone>,
    committer: Committer<Orders>,
    settings: OrderSettings,
    route: Arc<RouteMonitor>,
    observe_at: Instant,
    /// When the groups of others were last asked about.
    checked_at: Option<Instant>,
}

impl Watch {
    async fn round(&mut self) -> Result<Again, Fault> {
        if Instant::now() >= self.observe_at {
            self.route.observe().await?;
            self.observe_at = Instant::now() + self.route_interval();
        }
        let (now, limit) = (Utc::now(), self.settings.saga_timer_batch_max);
        let lease = Duration::from_millis(self.settings.saga_timer_lease_ms);
        let due = persistence::claim_due(self.backbone.pool(), now, lease, limit).await?;
        if due.is_empty() {
            return Ok(Again::Later);
        }
        // A full batch: more may be due.
        let again = if due.len() as u64 >= limit.unsigned_abs() { Again::AtOnce } else { Again::Later };
        let telemetry = self.backbone.telemetry().clone();
        let work = telemetry.trace(work_span!("look at deadlines", timers = due.len()), &TraceContext::NONE);
        match work.run(self.look_at(&due)).await {
            Ok(()) => Ok(again),
            Err(fault) => {
                work.in_scope(|| tracing::warn!(%fault, "deadlines cannot be looked at; they are due again later"));
                work.fail(fault.kind(), "the deadlines are due again when their lease has ended");
                Ok(Again::Later)
            }
        }
    }

    /// Has each saga of these timers checked; what fails is due again after the lease.
    async fn look_at(&mut self, due: &[DueTimer]) -> Result<(), Fault> {
        let orders: Vec<Uuid> = due.iter().flat_map(|timer| timer.orders.iter().copied()).collect();
        let sagas = persistence::open_sagas(self.backbone.pool(), &orders).await?;
        self.look_at_route(&sagas).await?;
        let open = OpenSince {
            own: self.route.own_open_since(),
            stock: self.route.open_since(INVENTORY),
            payment: self.route.open_since(PAYMENT),
            coupon: self.route.open_since(PROMOTION),
        };
        let (committer, telemetry) = (&self.committer, self.backbone.telemetry());
        // What follows from a deadline belongs to the trace of the call that made the order.
        let checks = sagas.into_iter().map(|OpenSaga { order_id, trace, .. }| async move {
            let work =
                telemetry.trace(work_span!("check deadline", messaging.message.conversation_id = %order_id), &trace);
            let command = Command::Order { order_id, command: OrderCommand::CheckDeadline(open) };
            match work.run(committer.submit(None, command, work.context().clone(), None)).await {
                Ok(_) | Err(CallError::Rejected(_)) => Ok(()),
                // The lease runs out and it is due again.
                Err(error) => Err(Fault::retryable(error)),
            }
        });
        let checks = stream::iter(checks).buffer_unordered(self.settings.saga_checks_at_once_max);
        checks.try_collect::<Vec<()>>().await?;
        persistence::forget_timers(self.backbone.pool(), due).await
    }

    /// Before anything is cancelled for want of an answer: can the answer come? Asked at most once an interval, however
    /// many deadlines have passed.
    async fn look_at_route(&mut self, sagas: &[OpenSaga]) -> Result<(), Fault> {
        let timeout = Duration::from_millis(self.settings.saga_step_timeout_ms);
        // Also what passes while this batch is on its way to its decision.
        let soon = Utc::now() + self.route_interval();
        let passed = |saga: &OpenSaga| match saga.step {
            Step::Reserving | Step::Modifying => saga.step_time + timeout <= soon,
            Step::Paying => saga.step_time + saga.payment_window.unwrap_or(timeout) <= soon,
            _ => false,
        };
        let recent = self.checked_at.is_some_and(|at| at.elapsed() < self.route_interval());
        if recent || !sagas.iter().any(passed) {
            return Ok(());
        }
        let mut groups = vec![INVENTORY, PAYMENT];
        groups.extend(self.settings.has_coupons().then_some(PROMOTION));
        self.route.check(&groups).await?;
        self.checked_at = Some(Instant::now());
        Ok(())
    }

    fn route_interval(&self) -> Duration {
        Duration::from_millis(self.settings.saga_route_interval_ms)
    }
}

/// The gauge of open sagas; every instance counts in the same database.
struct OpenSagas {
    gauge: OwnedGauge,
    series: HashMap<&'static str, Series>,
}

impl Default for OpenSagas {
    fn default() -> Self {
        let gauge = OwnedGauge::new("openorder.saga.open", "{saga}", "Sagas that are not settled, by step");
        Self { gauge, series: HashMap::new() }
    }
}

impl OpenSagas {
    /// Counts and shows; what cannot be counted is not shown. What waits has a timer or a row in a table of its own:
    /// counting reads few settled orders.
    async fn record(&mut self, backbone: &Backbone) {
        let counts = match persistence::count_unsettled_sagas(backbone.pool()).await {
            Ok(counts) => counts,
            Err(fault) => {
                tracing::debug!(%fault, "saga states not counted");
                return self.series.clear();
            }
        };
        for (step, count) in counts {
            let step = step.as_str();
            let series = self.series.entry(step).or_insert_with(|| self.gauge.series([KeyValue::new("step", step)]));
            series.set(count as f64);
        }
    }
}
