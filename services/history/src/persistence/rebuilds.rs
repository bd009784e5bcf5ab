//! Tables `rebuild` and `rebuild_source`.

use openorder_types::Fault;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Half, Rebuild, RebuildState, Source};

/// Adds a rebuild that begins, with the logs that it reads.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn add_rebuild(connection: &mut PgConnection, rebuild: &Rebuild, services: &[&str]) -> Result<(), Fault> {
    sqlx::query(
        "insert into rebuild (rebuild_id, state, target, requested_by, reason, create_time, ending, detail, \
                              taken_over_count) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(rebuild.rebuild_id)
    .bind(rebuild.state.number())
    .bind(rebuild.target.number())
    .bind(&rebuild.requested_by)
    .bind(&rebuild.reason)
    .bind(rebuild.create_time)
    .bind(rebuild.ending.number())
    .bind(&rebuild.detail)
    .bind(rebuild.taken_over_count)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "insert into rebuild_source (rebuild_id, number, service) \
         select $1, number, service from unnest($2::text[]) with ordinality as s (service, number)",
    )
    .bind(rebuild.rebuild_id)
    .bind(services)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes how far a rebuild is.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn save_rebuild(connection: &mut PgConnection, rebuild: &Rebuild) -> Result<(), Fault> {
    sqlx::query(
        "update rebuild set state = $2, end_time = $3, ending = $4, detail = $5, taken_over_count = $6, \
                            taken_over_to = $7 where rebuild_id = $1",
    )
    .bind(rebuild.rebuild_id)
    .bind(rebuild.state.number())
    .bind(rebuild.end_time)
    .bind(rebuild.ending.number())
    .bind(&rebuild.detail)
    .bind(rebuild.taken_over_count)
    .bind(rebuild.taken_over_to)
    .execute(connection)
    .await?;
    Ok(())
}

/// The rebuild that is not at its end.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn running_rebuild(connection: &mut PgConnection) -> Result<Option<Rebuild>, Fault> {
    let row = sqlx::query("select * from rebuild where state < 5").fetch_optional(connection).await?;
    row.as_ref().map(rebuild).transpose()
}

/// The rebuild of this id, or the latest one.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_rebuild(connection: &mut PgConnection, id: Option<Uuid>) -> Result<Option<Rebuild>, Fault> {
    let row =
        sqlx::query("select * from rebuild where $1::uuid is null or rebuild_id = $1 order by rebuild_id desc limit 1")
            .bind(id)
            .fetch_optional(connection)
            .await?;
    row.as_ref().map(rebuild).transpose()
}

/// The logs of a rebuild, in their order.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn sources_of(connection: &mut PgConnection, rebuild_id: Uuid) -> Result<Vec<Source>, Fault> {
    let rows = sqlx::query("select * from rebuild_source where rebuild_id = $1 order by number")
        .bind(rebuild_id)
        .fetch_all(connection)
        .await?;
    rows.iter().map(source).collect()
}

/// Writes how far a log is read.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn save_source(connection: &mut PgConnection, rebuild_id: Uuid, source: &Source) -> Result<(), Fault> {
    sqlx::query(
        "update rebuild_source set position = $3, events_total = $4, events_read = $5, events_skipped = $6, \
                                   is_counted = $7, is_read = $8, kept_from = $9 where rebuild_id = $1 and service = $2",
    )
    .bind(rebuild_id)
    .bind(&source.service)
    .bind(source.position)
    .bind(source.events_total)
    .bind(source.events_read)
    .bind(source.events_skipped)
    .bind(source.is_counted)
    .bind(source.is_read)
    .bind(source.kept_from)
    .execute(connection)
    .await?;
    Ok(())
}

fn rebuild(row: &PgRow) -> Result<Rebuild, Fault> {
    Ok(Rebuild {
        rebuild_id: row.try_get("rebuild_id")?,
        state: RebuildState::from_stored(row.try_get("state")?)?,
        target: Half::of(row.try_get("target")?),
        requested_by: row.try_get("requested_by")?,
        reason: row.try_get("reason")?,
        create_time: row.try_get("create_time")?,
        end_time: row.try_get("end_time")?,
        ending: RebuildState::from_stored(row.try_get("ending")?)?,
        detail: row.try_get("detail")?,
        taken_over_count: row.try_get("taken_over_count")?,
        taken_over_to: row.try_get("taken_over_to")?,
    })
}

fn source(row: &PgRow) -> Result<Source, Fault> {
    Ok(Source {
        service: row.try_get("service")?,
        position: row.try_get("position")?,
        events_total: row.try_get("events_total")?,
        events_read: row.try_get("events_read")?,
        events_skipped: row.try_get("events_skipped")?,
        is_counted: row.try_get("is_counted")?,
        is_read: row.try_get("is_read")?,
        kept_from: row.try_get("kept_from")?,
    })
}
