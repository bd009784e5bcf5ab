//! Upkeep of a service's messaging tables, and the probe that tells its readiness.

use std::{sync::Arc, time::Duration};

use openorder_runtime::Dependency;
use openorder_types::Fault;
use sqlx::PgPool;

use crate::{Backbone, DatabaseSettings, consumer::parking, database::fault, metrics::Metrics};

/// Rows deleted by one statement, so that upkeep never holds up the work.
const PRUNE_BATCH_ROWS: i64 = 5_000;

/// Probes the database and prunes what is past its retention, until shutdown.
pub(crate) async fn run(backbone: Arc<Backbone>, settings: DatabaseSettings, dependency: Dependency) {
    let shutdown = backbone.shutdown().clone();
    let mut ticks: u64 = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(settings.probe_interval_ms)) => {}
            () = shutdown.requested() => return,
        }
        ticks += 1;
        match probe(backbone.pool(), backbone.telemetry().role()).await {
            Ok(()) => dependency.ready(),
            Err(fault) => dependency.down(fault.to_string()),
        }
        if ticks.is_multiple_of(settings.prune_every_probes)
            && let Err(fault) = prune(backbone.pool(), &settings).await
        {
            tracing::warn!(%fault, "pruning failed; it is tried again");
        }
    }
}

async fn probe(pool: &PgPool, role: &'static str) -> Result<(), Fault> {
    let (parked, stopped) = parking::counts(pool).await?;
    Metrics::get().parked_now(role, "parked", parked);
    Metrics::get().parked_now(role, "stopped", stopped);
    Ok(())
}

async fn prune(pool: &PgPool, settings: &DatabaseSettings) -> Result<(), Fault> {
    let inbox = "delete from inbox where ctid = any (array (select ctid from inbox \
                 where received_at < now() - make_interval(hours => $1) limit $2))";
    let requests = "delete from request_result where ctid = any (array (select ctid from request_result \
                    where created_at < now() - make_interval(hours => $1) limit $2))";
    for (sql, hours) in [(inbox, settings.inbox_retention_hours), (requests, settings.request_retention_hours)] {
        let mut deleted = PRUNE_BATCH_ROWS as u64;
        while deleted == PRUNE_BATCH_ROWS as u64 {
            let done = sqlx::query(sql).bind(hours).bind(PRUNE_BATCH_ROWS).execute(pool).await.map_err(fault)?;
            deleted = done.rows_affected();
        }
    }
    Ok(())
}
