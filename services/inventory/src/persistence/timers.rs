//! Table `reservation_timer`: when the reservations of a batch run out of time, in one row, looked at when it is due.

use std::time::Duration;

use openorder_types::{Fault, Timestamp};
use sqlx::{PgExecutor, Row};
use uuid::Uuid;

/// A timer taken for this instance.
#[derive(Debug)]
pub struct DueTimer {
    timer_id: i64,
    /// The orders whose reservations were made together.
    pub orders: Vec<Uuid>,
}

/// Takes due timers for this instance for the time of `lease`; another instance takes others. If this one dies, they
/// are due again after the lease.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn claim_due(
    executor: impl PgExecutor<'_>,
    now: Timestamp,
    lease: Duration,
    limit: i64,
) -> Result<Vec<DueTimer>, Fault> {
    let rows = sqlx::query(
        "update reservation_timer set due_at = $2 where timer_id = any (array (\
             select timer_id from reservation_timer where due_at <= $1 order by due_at limit $3 \
             for update skip locked)) \
         returning timer_id, order_ids",
    )
    .bind(now)
    .bind(now + lease)
    .bind(limit)
    .fetch_all(executor)
    .await?;
    let timers =
        rows.iter().map(|row| Ok(DueTimer { timer_id: row.try_get("timer_id")?, orders: row.try_get("order_ids")? }));
    timers.collect()
}

/// Those of the orders whose stock is held and has run out of time, with when it had.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn expired(
    executor: impl PgExecutor<'_>,
    orders: &[Uuid],
    now: Timestamp,
) -> Result<Vec<(Uuid, Timestamp)>, Fault> {
    Ok(sqlx::query_as(
        "select order_id, expire_at from reservation where order_id = any ($1) and state = 1 and expire_at <= $2",
    )
    .bind(orders)
    .bind(now)
    .fetch_all(executor)
    .await?)
}

/// Has a timer come back at `due` for these orders alone; for none, forgets it.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn put_off(
    executor: impl PgExecutor<'_>,
    timer: &DueTimer,
    orders: &[Uuid],
    due: Timestamp,
) -> Result<(), Fault> {
    let query = if orders.is_empty() {
        sqlx::query("delete from reservation_timer where timer_id = $1").bind(timer.timer_id)
    } else {
        sqlx::query("update reservation_timer set order_ids = $2, due_at = $3 where timer_id = $1")
            .bind(timer.timer_id)
            .bind(orders)
            .bind(due)
    };
    query.execute(executor).await?;
    Ok(())
}
