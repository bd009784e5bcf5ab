//! Tables `ranking` and `ranking_change`: what has to be written to Redis, and by whom.

use std::time::Duration;

use chrono::NaiveDate;
use openorder_types::{Fault, Sku, Timestamp};
use sqlx::{PgConnection, PgExecutor, PgPool, Row};
use uuid::Uuid;

/// An instance's turn to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Grows from turn to turn.
    pub(crate) fence: i64,
    pub(crate) epoch: i64,
    /// When it began: what was committed before is seen in it.
    pub(crate) began: Timestamp,
    /// The day of UTC, by the database's clock.
    pub(crate) today: NaiveDate,
}

/// The id that stands in the names of the ranking's keys.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn ranking_id(executor: impl PgExecutor<'_>) -> Result<Uuid, Fault> {
    Ok(sqlx::query_scalar("select ranking_id from ranking").fetch_one(executor).await?)
}

/// Takes, or keeps, the turn to write the ranking for the time of `lease`; none while another instance has it.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn take_turn(
    executor: impl PgExecutor<'_>,
    holder: Uuid,
    lease: Duration,
) -> Result<Option<Turn>, Fault> {
    let row = sqlx::query(
        "update ranking set holder = $1, held_until = now() + make_interval(secs => $2), fence = fence + 1 \
         where holder = $1 or held_until < now() \
         returning fence, epoch, now() as began, (now() at time zone 'UTC')::date as today",
    )
    .bind(holder)
    .bind(lease.as_secs_f64())
    .fetch_optional(executor)
    .await?;
    let turn = row.map(|row| {
        Ok(Turn {
            fence: row.try_get("fence")?,
            epoch: row.try_get("epoch")?,
            began: row.try_get("began")?,
            today: row.try_get("today")?,
        })
    });
    turn.transpose()
}

/// Notes that these products have to be written, in the transaction that changes their sums.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn add_changes(connection: &mut PgConnection, skus: &[&Sku]) -> Result<(), Fault> {
    let skus: Vec<&str> = skus.iter().map(|sku| sku.as_str()).collect();
    sqlx::query("insert into ranking_change (skus) values ($1)").bind(skus).execute(connection).await?;
    Ok(())
}

/// What has to be written, at most `limit` batches of it.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn changes(executor: impl PgExecutor<'_>, limit: i64) -> Result<(Vec<i64>, Vec<String>), Fault> {
    let rows = sqlx::query("select change_id, skus from ranking_change order by change_id limit $1")
        .bind(limit)
        .fetch_all(executor)
        .await?;
    let (mut ids, mut skus) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        ids.push(row.try_get("change_id")?);
        skus.extend(row.try_get::<Vec<String>, _>("skus")?);
    }
    skus.sort_unstable();
    skus.dedup();
    Ok((ids, skus))
}

/// Forgets what was written.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn forget_changes(executor: impl PgExecutor<'_>, ids: &[i64]) -> Result<(), Fault> {
    sqlx::query("delete from ranking_change where change_id = any ($1)").bind(ids).execute(executor).await?;
    Ok(())
}

/// With more changes than these, forgets them all and has the ranking filled anew; whether it did. A Redis that is away
/// for long has the table grow no further.
///
/// # Errors
/// [`Fault`] of the database.
pub(crate) async fn bound_changes(pool: &PgPool, changes_max: i64) -> Result<bool, Fault> {
    let count: i64 = sqlx::query_scalar("select count(*) from (select from ranking_change limit $1) as counted")
        .bind(changes_max.saturating_add(1))
        .fetch_one(pool)
        .await?;
    if count <= changes_max {
        return Ok(false);
    }
    let mut transaction = pool.begin().await?;
    // The epoch first: whoever fills for the new one looks at sums that have all that is forgotten here.
    sqlx::query("update ranking set epoch = epoch + 1").execute(&mut *transaction).await?;
    sqlx::query("delete from ranking_change").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(true)
}
