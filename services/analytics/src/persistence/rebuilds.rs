//! Table `rebuild`.

use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Failure, Rebuild, RebuildState};

macro_rules! columns {
    () => {
        "rebuild_id, from_events, state, generation, log_position, newest_id, events_read, events_unreadable, \
         products_ranked, requested_by, reason, waiting_for, failure_reason, start_time, update_time, end_time"
    };
}

/// The rebuild that has not come to its end.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn rebuild_under_way(executor: impl PgExecutor<'_>) -> Result<Option<Rebuild>, Fault> {
    let sql = concat!("select ", columns!(), " from rebuild where state in (1, 2)");
    let row = sqlx::query(sql).fetch_optional(executor).await?;
    row.as_ref().map(rebuild).transpose()
}

/// The rebuild that counts orders anew.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn running_count(executor: impl PgExecutor<'_>) -> Result<Option<Rebuild>, Fault> {
    let sql = concat!("select ", columns!(), " from rebuild where state = 1");
    let row = sqlx::query(sql).fetch_optional(executor).await?;
    row.as_ref().map(rebuild).transpose()
}

/// One rebuild.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn find_rebuild(executor: impl PgExecutor<'_>, rebuild_id: Uuid) -> Result<Option<Rebuild>, Fault> {
    let sql = concat!("select ", columns!(), " from rebuild where rebuild_id = $1");
    let row = sqlx::query(sql).bind(rebuild_id).fetch_optional(executor).await?;
    row.as_ref().map(rebuild).transpose()
}

/// The rebuild that was asked for last.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn last_rebuild(executor: impl PgExecutor<'_>) -> Result<Option<Rebuild>, Fault> {
    let sql = concat!("select ", columns!(), " from rebuild order by rebuild_id desc limit 1");
    let row = sqlx::query(sql).fetch_optional(executor).await?;
    row.as_ref().map(rebuild).transpose()
}

/// Writes a rebuild that begins: with sums in the making where it counts, else with a new epoch of the ranking.
///
/// # Errors
/// [`Fault`] of the database; retryable when another one began meanwhile.
pub(crate) async fn begin_rebuild(connection: &mut PgConnection, rebuild: &Rebuild) -> Result<(), Fault> {
    let (mut generation, mut epoch): (Option<i64>, Option<i64>) = (None, None);
    match rebuild.state {
        RebuildState::Counting => {
            let sql = "insert into generation (state) values (2) returning generation";
            generation = Some(sqlx::query_scalar(sql).fetch_one(&mut *connection).await?);
        }
        _ => epoch = Some(next_epoch(&mut *connection).await?),
    }
    sqlx::query(
        "insert into rebuild (rebuild_id, from_events, state, generation, epoch, requested_by, reason, start_time, \
                              update_time, end_time) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)",
    )
    .bind(rebuild.rebuild_id)
    .bind(rebuild.from_events)
    .bind(rebuild.state.number())
    .bind(generation)
    .bind(epoch)
    .bind(&rebuild.requested_by)
    .bind(&rebuild.reason)
    .bind(rebuild.start_time)
    .bind(rebuild.end_time)
    .execute(connection)
    .await?;
    Ok(())
}

async fn next_epoch(connection: &mut PgConnection) -> Result<i64, Fault> {
    let sql = "update ranking set epoch = epoch + 1 returning epoch";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

/// Calls a rebuild off that is locked; its sums in the making are deleted later.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn cancel_rebuild(
    connection: &mut PgConnection,
    rebuild_id: Uuid,
    now: Timestamp,
) -> Result<(), Fault> {
    end(&mut *connection, rebuild_id, RebuildState::Cancelled, "", now).await?;
    Ok(())
}

/// Gives a rebuild up that counts; its sums in the making are deleted later.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn give_up(
    connection: &mut PgConnection,
    rebuild_id: Uuid,
    failure: Failure,
    now: Timestamp,
) -> Result<(), Fault> {
    end(connection, rebuild_id, RebuildState::Failed, failure.as_str(), now).await
}

/// Ends a rebuild without what it was for; one that has ended already stays as it is.
async fn end(
    connection: &mut PgConnection,
    rebuild_id: Uuid,
    state: RebuildState,
    failure_reason: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query(
        "with ended as (\
           update rebuild set state = $2, failure_reason = $3, waiting_for = '', update_time = $4, end_time = $4 \
           where rebuild_id = $1 and state in (1, 2) returning generation) \
         update generation set state = 3 where state = 2 and generation = (select generation from ended)",
    )
    .bind(rebuild_id)
    .bind(state.number())
    .bind(failure_reason)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// How far the counting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) log_position: i64,
    pub(crate) newest_id: Uuid,
    pub(crate) events_read: i64,
    pub(crate) events_unreadable: i64,
}

impl Progress {
    pub(crate) fn of(rebuild: &Rebuild) -> Self {
        Self {
            log_position: rebuild.log_position,
            newest_id: rebuild.newest_id,
            events_read: rebuild.events_read,
            events_unreadable: rebuild.events_unreadable,
        }
    }
}

/// Locks a rebuild that counts, if it is still where `known` says: else somebody else has gone on with it, or ended it.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn lock_counting(connection: &mut PgConnection, known: &Rebuild) -> Result<bool, Fault> {
    let found: Option<bool> = sqlx::query_scalar(
        "select true from rebuild where rebuild_id = $1 and state = 1 and log_position = $2 and events_read = $3 \
         for update",
    )
    .bind(known.rebuild_id)
    .bind(known.log_position)
    .bind(known.events_read)
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

/// Writes how far a rebuild is that is locked.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn note_progress(
    connection: &mut PgConnection,
    rebuild_id: Uuid,
    progress: &Progress,
    now: Timestamp,
) -> Result<(), Fault> {
    sqlx::query(
        "update rebuild set log_position = $2, newest_id = $3, events_read = $4, events_unreadable = $5, \
                            waiting_for = '', update_time = $6 \
         where rebuild_id = $1",
    )
    .bind(rebuild_id)
    .bind(progress.log_position)
    .bind(progress.newest_id)
    .bind(progress.events_read)
    .bind(progress.events_unreadable)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Has the sums of a rebuild count from now on, and the ranking filled with them; nobody counts meanwhile. With
/// `is_ranked`, the rebuild goes on until the ranking is written.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn switch_over(
    connection: &mut PgConnection,
    rebuild: &Rebuild,
    progress: &Progress,
    is_ranked: bool,
    now: Timestamp,
) -> Result<(), Fault> {
    // One after the other: one set of sums counts at any time.
    sqlx::query("update generation set state = 3 where state = 1").execute(&mut *connection).await?;
    sqlx::query("update generation set state = 1, base_position = $2, base_newest_id = $3 where generation = $1")
        .bind(rebuild.generation)
        .bind(progress.log_position)
        .bind(progress.newest_id)
        .execute(&mut *connection)
        .await?;
    let epoch = next_epoch(&mut *connection).await?;
    let (state, end_time) = if is_ranked { (RebuildState::Ranking, None) } else { (RebuildState::Done, Some(now)) };
    sqlx::query("update rebuild set state = $2, epoch = $3, update_time = $4, end_time = $5 where rebuild_id = $1")
        .bind(rebuild.rebuild_id)
        .bind(state.number())
        .bind(epoch)
        .bind(now)
        .bind(end_time)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes what the rebuild under way waits for; empty when it goes on.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn note_waiting(
    executor: impl PgExecutor<'_>,
    state: RebuildState,
    waiting_for: &str,
) -> Result<(), Fault> {
    sqlx::query("update rebuild set waiting_for = $2 where state = $1 and waiting_for <> $2")
        .bind(state.number())
        .bind(waiting_for)
        .execute(executor)
        .await?;
    Ok(())
}

/// Notes how many products a rebuild has written to the ranking of this epoch.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn note_ranked(executor: impl PgExecutor<'_>, epoch: i64, products: i64) -> Result<(), Fault> {
    sqlx::query(
        "update rebuild set products_ranked = $2, waiting_for = '', update_time = now() where state = 2 and epoch <= $1",
    )
    .bind(epoch)
    .bind(products)
    .execute(executor)
    .await?;
    Ok(())
}

/// The ranking of this epoch is whole: whatever rebuild waited for it is done.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn finish_ranking(executor: impl PgExecutor<'_>, epoch: i64) -> Result<(), Fault> {
    sqlx::query(
        "update rebuild set state = 3, waiting_for = '', update_time = now(), end_time = now() \
         where state = 2 and epoch <= $1",
    )
    .bind(epoch)
    .execute(executor)
    .await?;
    Ok(())
}

fn rebuild(row: &PgRow) -> Result<Rebuild, Fault> {
    Ok(Rebuild {
        rebuild_id: row.try_get("rebuild_id")?,
        from_events: row.try_get("from_events")?,
        state: RebuildState::from_stored(row.try_get("state")?)?,
        generation: row.try_get("generation")?,
        log_position: row.try_get("log_position")?,
        newest_id: row.try_get("newest_id")?,
        events_read: row.try_get("events_read")?,
        events_unreadable: row.try_get("events_unreadable")?,
        products_ranked: row.try_get("products_ranked")?,
        requested_by: row.try_get("requested_by")?,
        reason: row.try_get("reason")?,
        waiting_for: row.try_get("waiting_for")?,
        failure_reason: row.try_get("failure_reason")?,
        start_time: row.try_get("start_time")?,
        update_time: row.try_get("update_time")?,
        end_time: row.try_get("end_time")?,
    })
}
