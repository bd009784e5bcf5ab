//! The timer task: picks up deadlines that are due and hands them to the committer as commands.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use futures::{StreamExt, TryStreamExt, stream};
use openorder_messaging::{Backbone, Committer};
use openorder_telemetry::api::KeyValue;
use openorder_types::{CallError, Fault};
use uuid::Uuid;

use crate::{application::Orders, config::OrderSettings, domain::Command, persistence};

/// Counting takes at most one part in so many of the time: under load it reads an order for each that waits.
const COUNTING_REST: u32 = 100;

/// Looks at due deadlines until shutdown; several instances share them.
pub(crate) async fn watch_deadlines(backbone: Arc<Backbone>, committer: Committer<Orders>, settings: OrderSettings) {
    let shutdown = backbone.shutdown().clone();
    let interval = Duration::from_millis(settings.saga_timer_interval_ms);
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
            if let Err(fault) = tell_open_sagas(&backbone).await {
                tracing::debug!(%fault, "saga states not counted");
            }
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

/// What waits has a timer or stands in a table of its own: counting reads few settled orders.
async fn tell_open_sagas(backbone: &Backbone) -> Result<(), Fault> {
    let counts = persistence::count_unsettled_sagas(backbone.pool()).await?;
    let gauge = openorder_telemetry::meter()
        .i64_gauge("openorder.saga.open")
        .with_unit("{saga}")
        .with_description("Sagas that are not settled, by step")
        .build();
    for (step, count) in counts {
        gauge.record(count, &[KeyValue::new("step", step.as_str())]);
    }
    Ok(())
}
