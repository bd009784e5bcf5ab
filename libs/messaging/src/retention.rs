//! Retention of the event log: what is older than `database.event_log_retention_days` is deleted, from its beginning on.
//!
//! First the floor is raised, in one statement: from then on nobody reads what is below it. Then the rows below it are
//! deleted, in batches. The floor is never above
//! - what may have to be published once more: the relay's cursor less `relay.republish_events`;
//! - what the service still needs: the events since the time that it names ([`Backbone::keep_events_since`]);
//! - what a replay reads: while somebody reads the log, the floor stays where it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use openorder_runtime::{Shutdown, every};
use openorder_types::{Fault, Timestamp};
use sqlx::PgConnection;

use crate::{
    Backbone, DatabaseSettings,
    event_log::{self, COMMIT_LATE_MAX},
    locks::AdvisoryLock,
    maintenance::PRUNE_BATCH_ROWS,
};

/// Keeps the log from growing for ever; not started where it is kept for ever.
pub(crate) struct Retention {
    backbone: Arc<Backbone>,
    settings: DatabaseSettings,
    republish_events: i64,
}

impl Retention {
    pub(crate) fn new(backbone: Arc<Backbone>, settings: DatabaseSettings, republish_events: i64) -> Self {
        Self { backbone, settings, republish_events }
    }

    pub(crate) async fn run(self) {
        let shutdown = self.backbone.shutdown().clone();
        let interval = self.settings.probe_interval_ms.saturating_mul(self.settings.prune_every_probes);
        let mut rounds = every(Duration::from_millis(interval), &shutdown).after_a_pause();
        while rounds.next().await {
            if let Err(fault) = self.round(&shutdown).await {
                tracing::warn!(%fault, "pruning of the event log failed; it is tried again");
            }
        }
    }

    async fn round(&self, shutdown: &Shutdown) -> Result<(), Fault> {
        let needed_since = self.backbone.needed_since().await?;
        // A connection of its own, closed at the end: the session holds the lock, and no other instance prunes meanwhile.
        let mut connection = self.backbone.pool().acquire().await?.detach();
        let alone: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(AdvisoryLock::Prune.number())
            .fetch_one(&mut connection)
            .await?;
        if !alone {
            return Ok(());
        }
        let age = chrono::Duration::days(self.settings.event_log_retention_days.into());
        // Of two clocks that differ the one that deletes less.
        let now: Timestamp = sqlx::query_scalar("select now()").fetch_one(&mut connection).await?;
        let cutoff = now.min(Utc::now()) - age;
        self.raise_floor(&mut connection, needed_since.map_or(cutoff, |needed| needed.min(cutoff))).await?;
        delete_below_floor(&mut connection, shutdown).await
    }

    /// Raises the floor to the events of this time, as far as it may be.
    async fn raise_floor(&self, connection: &mut PgConnection, cutoff: Timestamp) -> Result<(), Fault> {
        let older = event_log::last_before(connection, cutoff - COMMIT_LATE_MAX).await?;
        let published: i64 =
            sqlx::query_scalar("select position from relay_cursor").fetch_one(&mut *connection).await?;
        let position = older.min(published - self.republish_events);
        let Some((position, next_at)) = end_of_transaction(connection, position).await? else { return Ok(()) };
        // What committed late stands behind what is younger.
        let kept_from = next_at.map_or(cutoff, |next_at| cutoff.min(next_at + COMMIT_LATE_MAX));
        // Whoever reads a page has said so before it looks at the floor.
        let raised = sqlx::query(
            "update event_log_floor set position = $1, kept_from = $2 \
             where position < $1 and read_at < now() - make_interval(secs => $3)",
        )
        .bind(position)
        .bind(kept_from)
        .bind(Duration::from_millis(self.settings.event_log_reader_lease_ms).as_secs_f64())
        .execute(connection)
        .await?;
        if raised.rows_affected() > 0 {
            tracing::info!(position, %kept_from, "the event log is pruned up to this position");
        }
        Ok(())
    }
}

/// The last position up to this one that ends a transaction, and the time of the event behind it. Events of one
/// transaction stand together and have one time.
async fn end_of_transaction(
    connection: &mut PgConnection,
    position: i64,
) -> Result<Option<(i64, Option<Timestamp>)>, Fault> {
    let next_at: Option<Timestamp> =
        sqlx::query_scalar("select occurred_at from event_log where position > $1 order by position limit 1")
            .bind(position)
            .fetch_optional(&mut *connection)
            .await?;
    let last: Option<i64> = sqlx::query_scalar(
        "select position from event_log where position <= $1 and occurred_at is distinct from $2 \
         order by position desc limit 1",
    )
    .bind(position)
    .bind(next_at)
    .fetch_optional(connection)
    .await?;
    Ok(last.map(|last| (last, next_at)))
}

/// Deletes what is below the floor, and rests as long as it works: upkeep never holds up the work.
async fn delete_below_floor(connection: &mut PgConnection, shutdown: &Shutdown) -> Result<(), Fault> {
    // Each batch begins behind the one before: what that left in the index is not passed over again.
    let sql = "with deleted as ( \
                 delete from event_log where position = any (array (select position from event_log \
                   where position > $1 and position <= (select position from event_log_floor) \
                   order by position limit $2)) \
                 returning position) \
               select count(*), max(position) from deleted";
    let mut last = 0;
    loop {
        let started = Instant::now();
        let (count, deleted): (i64, Option<i64>) =
            sqlx::query_as(sql).bind(last).bind(PRUNE_BATCH_ROWS).fetch_one(&mut *connection).await?;
        last = deleted.unwrap_or(last);
        if count < PRUNE_BATCH_ROWS {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(started.elapsed()) => {}
            () = shutdown.requested() => return Ok(()),
        }
    }
}
