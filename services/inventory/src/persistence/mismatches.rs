//! Tables `reservation_mismatch` and `reconciler`: what was found by comparing reservations with orders, and how far
//! the comparison has come.

use std::time::Duration;

use openorder_types::{Fault, Timestamp};
use sqlx::{PgExecutor, Row};
use uuid::Uuid;

use crate::{
    domain::{MismatchKind, Reservation},
    persistence::reservations::{RESERVATION, reservation},
};

/// A reservation that contradicts its order.
#[derive(Debug)]
pub struct Mismatch {
    /// The reservation as last committed.
    pub reservation: Reservation,
    /// What is wrong.
    pub kind: MismatchKind,
    /// Number of the order's status when it was last compared.
    pub order_status: i16,
    /// When it was first found.
    pub detect_time: Timestamp,
}

/// A part of the reservations, by the order of their ids.
#[derive(Debug)]
pub struct ReservationsToCompare {
    /// Where the next part begins; none, at the beginning again.
    pub last: Option<Uuid>,
    /// Those that may contradict their orders: held ones, and those that no order asked to release.
    pub candidates: Vec<Uuid>,
}

/// Takes the next round for this instance if it is due: `Some` of where it begins.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn claim_round(
    executor: impl PgExecutor<'_>,
    now: Timestamp,
    interval: Duration,
) -> Result<Option<Option<Uuid>>, Fault> {
    Ok(sqlx::query_scalar("update reconciler set next_at = $2 where next_at <= $1 returning after_id")
        .bind(now)
        .bind(now + interval)
        .fetch_optional(executor)
        .await?)
}

/// The next round begins after `last`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn end_round(executor: impl PgExecutor<'_>, last: Option<Uuid>) -> Result<(), Fault> {
    sqlx::query("update reconciler set after_id = $1").bind(last).execute(executor).await?;
    Ok(())
}

/// Looks through at most `limit` reservations after `after` for those that last changed before `before` and may
/// contradict their orders. The bound is on what is read, not on what is found.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn part(
    executor: impl PgExecutor<'_>,
    after: Option<Uuid>,
    before: Timestamp,
    limit: i64,
) -> Result<ReservationsToCompare, Fault> {
    let row = sqlx::query(
        "with part as (select order_id, state, reason, update_time from reservation \
                       where $1::uuid is null or order_id > $1 order by order_id limit $3) \
         select case when (select count(*) from part) = $3 \
                     then (select order_id from part order by order_id desc limit 1) end, \
                array (select order_id from part where update_time < $2 and \
                       (state = 1 or state = 3 and reason in ('EXPIRED', 'REQUESTED', 'RECONCILED')))",
    )
    .bind(after)
    .bind(before)
    .bind(limit)
    .fetch_one(executor)
    .await?;
    Ok(ReservationsToCompare { last: row.try_get(0)?, candidates: row.try_get(1)? })
}

/// Notes these contradictions; one that is known keeps the time when it was found. Returns the new ones.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn note(
    executor: impl PgExecutor<'_>,
    found: &[(Uuid, MismatchKind, i16)],
    now: Timestamp,
) -> Result<Vec<Uuid>, Fault> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let orders: Vec<Uuid> = found.iter().map(|(order_id, _, _)| *order_id).collect();
    let kinds: Vec<i16> = found.iter().map(|(_, kind, _)| kind.number()).collect();
    let statuses: Vec<i16> = found.iter().map(|(_, _, status)| *status).collect();
    let rows = sqlx::query(
        "with known as (select order_id, kind from reservation_mismatch where order_id = any ($1)), \
              noted as (insert into reservation_mismatch as m (order_id, kind, order_status, detect_time) \
                        select *, $4 from unnest($1::uuid[], $2::smallint[], $3::smallint[]) \
                        on conflict (order_id) do update set kind = excluded.kind, order_status = excluded.order_status, \
                            detect_time = case when m.kind = excluded.kind then m.detect_time else excluded.detect_time end \
                        returning order_id, kind) \
         select order_id from noted where (order_id, kind) not in (select order_id, kind from known)",
    )
    .bind(orders)
    .bind(kinds)
    .bind(statuses)
    .bind(now)
    .fetch_all(executor)
    .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Forgets what was put right.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn resolve(executor: impl PgExecutor<'_>, orders: &[Uuid]) -> Result<(), Fault> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from reservation_mismatch where order_id = any ($1)").bind(orders).execute(executor).await?;
    Ok(())
}

/// The oldest known mismatches, at most `limit` orders.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn known(executor: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Uuid>, Fault> {
    Ok(sqlx::query_scalar("select order_id from reservation_mismatch order by detect_time, order_id limit $1")
        .bind(limit)
        .fetch_all(executor)
        .await?)
}

/// How many there are of each kind.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn count(executor: impl PgExecutor<'_>) -> Result<Vec<(MismatchKind, i64)>, Fault> {
    let rows = sqlx::query("select kind, count(*) from reservation_mismatch group by kind").fetch_all(executor).await?;
    let counted: Vec<(i16, i64)> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?;
    let count = |kind: MismatchKind| counted.iter().find(|(number, _)| *number == kind.number()).map_or(0, |row| row.1);
    Ok(MismatchKind::ALL.iter().map(|kind| (*kind, count(*kind))).collect())
}

/// Of the oldest orders first, at most `limit`, after that of the page before.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(executor: impl PgExecutor<'_>, after: Option<Uuid>, limit: i64) -> Result<Vec<Mismatch>, Fault> {
    let rows = RESERVATION
        .select(
            ", kind, order_status, detect_time \
         from reservation_mismatch join reservation using (order_id) \
         where $1::uuid is null or order_id > $1 order by order_id limit $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(executor)
        .await?;
    let found = rows.iter().map(|row| {
        Ok(Mismatch {
            reservation: reservation(row)?,
            kind: MismatchKind::from_stored(row.try_get("kind")?)?,
            order_status: row.try_get("order_status")?,
            detect_time: row.try_get("detect_time")?,
        })
    });
    found.collect()
}
