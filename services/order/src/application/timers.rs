//! The timer task: picks up deadlines that are due and hands them to the committer as commands.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use openorder_messaging::{Backbone, Committer};
use openorder_telemetry::{OwnedGauge, Series, api::KeyValue};
use openorder_types::{CallError, Fault};
use uuid::Uuid;

use crate::{application::Orders, config::OrderSettings, domain::Command, persistence};

/// Counting takes at most one part in so many of the time: under load it reads an order for each that waits.
const COUNTING_REST: u32 = 100;

/// Looks at due deadlines until shutdown; several instances share them.
pub(crate) async fn watch_deadlines(backbone: Arc<Backbone>, committer: Committer<Orders>, settings: OrderSettings) {
    let shutdown = backbone.shutdown().clone();
    let interval = Duration::from_millis(settings.saga_timer_interval_ms);
    let mut open_sagas = OpenSagas::default();
    let mut rounds: u64 = 0;
    let mut count_again_at = Instant::now();
    while !shutdown.is_requested() {
        let result = round(&backbone, &committer, &settings).await;
        if let Err(fault) = &result {
            tracing::warn!(%fault, "deadlines cannot be looked at; they are later");
        }
        rounds += 1;
        if rounds.is_multiple_of(settings.saga_metrics_every_rounds) && Instant::now() >= count_again_at {
            let started = Instant::now();
            open_sagas.record(&backbone).await;
            count_again_at = Instant::now() + started.elapsed() * COUNTING_REST;
        }
        // A full batch: more may be due.
        let pause = if matches!(result, Ok(full) if full) { Duration::from_millis(1) } else { interval };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => {}
        }
    }
}

/// Whether there may be more at once.
async fn round(backbone: &Backbone, committer: &Committer<Orders>, settings: &OrderSettings) -> Result<bool, Fault> {
    let (now, limit) = (Utc::now(), settings.saga_timer_batch_max);
    let lease = Duration::from_millis(settings.saga_timer_lease_ms);
    let due = persistence::claim_due(backbone.pool(), now, lease, limit).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let orders: Vec<Uuid> = due.iter().flat_map(|timer| timer.orders.iter().copied()).collect();
    // What follows from a deadline belongs to the trace of the call that made the order.
    let open = persistence::open_sagas(backbone.pool(), &orders).await?;
    let checks = open.into_iter().map(|(order_id, trace)| async move {
        match committer.submit(None, Command::CheckDeadline { order_id }, trace, None).await {
            Ok(_) | Err(CallError::Rejected(_)) => Ok(()),
            // The lease runs out and it is due again.
            Err(error) => Err(Fault::retryable(error)),
        }
    });
    let checks = stream::iter(checks).buffer_unordered(settings.saga_checks_at_once_max);
    checks.try_collect::<Vec<()>>().await?;
    persistence::forget_timers(backbone.pool(), &due).await?;
    Ok(due.len() as u64 >= limit.unsigned_abs())
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
    /// Counts and shows; what cannot be counted is not shown. What waits has a timer or stands in a table of its own:
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
