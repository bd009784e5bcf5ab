//! Upkeep of a service's messaging tables, and the probe that tells its readiness.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use openorder_runtime::{Dependency, every};
use openorder_telemetry::Series;
use openorder_types::{Fault, Timestamp};
use sqlx::{PgPool, Postgres, postgres::PgArguments, query::Query};
use uuid::Uuid;

use crate::{Backbone, DatabaseSettings, backlog, consumer::parking, metrics::Metrics, request_results};

/// Rows deleted by one statement, so that upkeep never holds up the work.
pub(crate) const PRUNE_BATCH_ROWS: i64 = 5_000;

/// Probes the database and prunes what is past its retention, until shutdown.
pub(crate) async fn run(backbone: Arc<Backbone>, settings: DatabaseSettings, dependency: Dependency) {
    let shutdown = backbone.shutdown().clone();
    let gauges = Gauges::of(backbone.telemetry().role());
    let mut ticks: u64 = 0;
    let mut rounds = every(Duration::from_millis(settings.probe_interval_ms), &shutdown).after_a_pause();
    while rounds.next().await {
        ticks += 1;
        match gauges.look(&backbone).await {
            Ok(()) => dependency.ready(),
            Err(fault) => {
                gauges.end();
                dependency.down(fault.to_string());
            }
        }
        let mut pruned = Ok(());
        if ticks.is_multiple_of(settings.prune_every_probes) {
            pruned = prune(backbone.pool(), &settings).await;
        }
        if ticks == 1 || ticks.is_multiple_of(settings.prune_every_probes) {
            pruned = pruned.and(forget_former_results(&backbone).await);
        }
        if let Err(fault) = pruned {
            tracing::warn!(%fault, "pruning failed; it is tried again");
        }
    }
}

/// What every instance says of the service's database; nothing while the database does not tell.
struct Gauges {
    parked: Series,
    dead: Series,
    unpublished_age: Series,
}

impl Gauges {
    fn of(role: &'static str) -> Self {
        let metrics = Metrics::get();
        Self {
            parked: metrics.parked_now(role, "parked"),
            dead: metrics.parked_now(role, "dead"),
            unpublished_age: metrics.unpublished_age(role),
        }
    }

    async fn look(&self, backbone: &Backbone) -> Result<(), Fault> {
        let (parked, dead) = parking::counts(backbone.pool()).await?;
        self.parked.set(parked as f64);
        self.dead.set(dead as f64);
        // By every instance: while Kafka is away, none leads as the relay.
        if backbone.publishes() {
            let age = backlog::oldest_unpublished(backbone).await?.map(|oldest| Utc::now() - oldest);
            self.unpublished_age.set(age.and_then(|age| age.to_std().ok()).unwrap_or_default().as_secs_f64());
        }
        check_room(backbone, parked + dead).await
    }

    fn end(&self) {
        self.parked.end();
        self.dead.end();
        self.unpublished_age.end();
    }
}

/// Whether dead messages find room in their table.
async fn check_room(backbone: &Backbone, rows: i64) -> Result<(), Fault> {
    let Some(consumed) = backbone.consumed() else { return Ok(()) };
    let max = consumed.settings.parked_messages_max;
    // What each waits for is only counted where it may matter: that takes longer.
    let stopped = if rows < max { 0 } else { parking::waiting(backbone.pool()).await?.stopped };
    if stopped < max {
        consumed.room_for_dead.ready();
    } else {
        consumed.room_for_dead.down(format!(
            "{stopped} messages wait for an operator, the bound (parked_messages_max); further dead ones stand on their \
             topics alone"
        ));
    }
    Ok(())
}

async fn prune(pool: &PgPool, settings: &DatabaseSettings) -> Result<(), Fault> {
    // By the ids' own time, which the primary key knows; an id of another making stays until its place comes up.
    let inbox = "delete from inbox where ctid = any (array (select ctid from inbox \
                 where event_id < $1 and received_at < $2 order by event_id limit $3))";
    // Few rows: one of a thousand positions and each partition.
    let positions = "delete from inbox_position where ctid = any (array (select ctid from inbox_position \
                     where updated_at < $1 limit $2))";
    let results = "delete from command_result where ctid = any (array (select ctid from command_result \
                   where created_at < $1 limit $2))";
    let requests = "delete from request_result where ctid = any (array (select ctid from request_result \
                    where created_at < $1 limit $2))";
    let history = "delete from dead_letter_history where ctid = any (array (select ctid from dead_letter_history \
                   where resolved_at < $1 limit $2))";
    let replays = "delete from replay_job where ctid = any (array (select ctid from replay_job \
                   where state <> 1 and finished_at < $1 limit $2))";
    let resolved_before = Utc::now() - Duration::from_secs(u64::from(settings.dead_letter_history_hours) * 3_600);
    let handled_before = Utc::now() - Duration::from_secs(u64::from(settings.inbox_retention_hours) * 3_600);
    let asked_before = Utc::now() - Duration::from_secs(u64::from(settings.request_retention_hours) * 3_600);
    let oldest_kept = first_id_of(handled_before);
    until_few(|| sqlx::query(inbox).bind(oldest_kept).bind(handled_before), pool).await?;
    until_few(|| sqlx::query(positions).bind(handled_before), pool).await?;
    until_few(|| sqlx::query(history).bind(resolved_before), pool).await?;
    until_few(|| sqlx::query(replays).bind(resolved_before), pool).await?;
    until_few(|| sqlx::query(results).bind(asked_before), pool).await?;
    until_few(|| sqlx::query(requests).bind(asked_before), pool).await
}

/// Whatever the version before keeps from now on is found without it.
async fn forget_former_results(backbone: &Backbone) -> Result<(), Fault> {
    if backbone.reads_former_results() && request_results::is_former_empty(backbone.pool()).await? {
        backbone.has_no_former_results();
    }
    Ok(())
}

/// Deletes batch by batch until one was not full.
async fn until_few(delete: impl Fn() -> Query<'static, Postgres, PgArguments>, pool: &PgPool) -> Result<(), Fault> {
    loop {
        let done = delete().bind(PRUNE_BATCH_ROWS).execute(pool).await?;
        if done.rows_affected() < PRUNE_BATCH_ROWS.unsigned_abs() {
            return Ok(());
        }
    }
}

/// The smallest UUID v7 of that time: every id that was made before it is smaller, and no later one is.
#[must_use]
pub fn first_id_of(time: Timestamp) -> Uuid {
    let milliseconds = u64::try_from(time.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_made_before_a_time_are_smaller_than_its_first_id_and_later_ones_are_not() {
        let now = Utc::now();
        let made = Uuid::now_v7();
        assert!(made >= first_id_of(now));
        assert!(made < first_id_of(now + Duration::from_secs(1)));
    }
}
