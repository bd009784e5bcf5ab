//! The timer task: picks up deadlines that are due and hands them to the committer as commands.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use futures::future::join_all;
use openorder_messaging::{Backbone, Committer, fault};
use openorder_telemetry::{TraceContext, api::KeyValue};
use openorder_types::{CallError, Fault};
use sqlx::Row;

use crate::{application::Orders, config::OrderSettings, domain::Command, persistence, saga::Step};

/// Looks at due deadlines until shutdown; several instances share them.
pub(crate) async fn watch_deadlines(backbone: Arc<Backbone>, committer: Committer<Orders>, settings: OrderSettings) {
    let shutdown = backbone.shutdown().clone();
    let interval = Duration::from_millis(settings.saga_timer_interval_ms);
    let mut rounds: u64 = 0;
    while !shutdown.is_requested() {
        let result = round(&backbone, &committer, &settings).await;
        if let Err(fault) = &result {
            tracing::warn!(%fault, "deadlines cannot be looked at; they are later");
        }
        rounds += 1;
        if rounds.is_multiple_of(settings.saga_metrics_every_rounds)
            && let Err(fault) = tell_open_sagas(&backbone).await
        {
            tracing::debug!(%fault, "saga states not counted");
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
    let settled = persistence::forget_settled(backbone.pool(), now, limit).await?;
    let lease = Duration::from_millis(settings.saga_timer_lease_ms);
    let due = persistence::claim_due(backbone.pool(), now, lease, limit).await?;
    let full = due.len() as u64 >= limit.unsigned_abs() || settled >= limit.unsigned_abs();
    let checks = due.into_iter().map(|order_id| async move {
        // What follows from the deadline belongs to the trace of the call that made the order.
        let record = persistence::find_order(backbone.pool(), order_id).await?;
        let trace = record.map_or_else(TraceContext::default, |record| record.trace);
        match committer.submit(None, Command::CheckDeadline { order_id }, trace, None).await {
            Ok(_) | Err(CallError::Rejected(_)) => Ok(()),
            // The lease runs out and it is due again.
            Err(error) => Err(Fault::retryable(error)),
        }
    });
    join_all(checks).await.into_iter().collect::<Result<Vec<()>, Fault>>()?;
    Ok(full)
}

/// Open sagas have a timer: counting them reads no settled order.
async fn tell_open_sagas(backbone: &Backbone) -> Result<(), Fault> {
    let rows = sqlx::query(
        "select saga_step, count(*) as sagas from orders join saga_timer using (order_id) \
         where saga_step = any ($1) group by saga_step",
    )
    .bind([Step::Reserving, Step::Paying, Step::Compensating].map(|step| step as i16).as_slice())
    .fetch_all(backbone.pool())
    .await
    .map_err(fault)?;
    let gauge = openorder_telemetry::meter()
        .i64_gauge("openorder.saga.open")
        .with_unit("{saga}")
        .with_description("Sagas that are not settled, by step")
        .build();
    for step in [Step::Reserving, Step::Paying, Step::Compensating] {
        let row = rows.iter().find(|row| row.try_get::<i16, _>("saga_step").ok() == Some(step as i16));
        let count = row.and_then(|row| row.try_get::<i64, _>("sagas").ok()).unwrap_or(0);
        gauge.record(count, &[KeyValue::new("step", step.as_str())]);
    }
    Ok(())
}
