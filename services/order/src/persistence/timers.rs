//! Table `saga_timer`: one deadline an order, looked at when it is due.
//!
//! The hot path only inserts. When a timer is due the order is looked at: if its saga has settled the timer is
//! forgotten, if its step is younger the timer is set to that step's deadline, else the deadline has passed.

use std::time::Duration;

use openorder_messaging::fault;
use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::saga::Step;

/// Sets the deadlines of these orders.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn arm(connection: &mut PgConnection, timers: &[(Uuid, Timestamp)]) -> Result<(), Fault> {
    if timers.is_empty() {
        return Ok(());
    }
    let (orders, due): (Vec<Uuid>, Vec<Timestamp>) = timers.iter().copied().unzip();
    sqlx::query(
        "insert into saga_timer (order_id, due_at) select * from unnest($1::uuid[], $2::timestamptz[]) \
         on conflict (order_id) do update set due_at = excluded.due_at",
    )
    .bind(orders)
    .bind(due)
    .execute(connection)
    .await
    .map_err(fault)?;
    Ok(())
}

/// Forgets the deadlines of these orders.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn clear(connection: &mut PgConnection, orders: &[Uuid]) -> Result<(), Fault> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from saga_timer where order_id = any ($1)")
        .bind(orders)
        .execute(connection)
        .await
        .map_err(fault)?;
    Ok(())
}

/// Forgets due timers of settled sagas, most of all timers, without looking at each order. Returns how many.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn forget_settled(executor: impl PgExecutor<'_>, now: Timestamp, limit: i64) -> Result<u64, Fault> {
    let settled =
        [Step::Completed, Step::Compensated, Step::CompensationFailed, Step::Rejected].map(|step| step as i16);
    let done = sqlx::query(
        "delete from saga_timer where order_id = any (array (\
             select t.order_id from saga_timer t join orders o using (order_id) \
             where t.due_at <= $1 and o.saga_step = any ($2) \
             order by t.due_at limit $3 for update of t skip locked))",
    )
    .bind(now)
    .bind(settled.as_slice())
    .bind(limit)
    .execute(executor)
    .await
    .map_err(fault)?;
    Ok(done.rows_affected())
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
) -> Result<Vec<Uuid>, Fault> {
    sqlx::query_scalar(
        "update saga_timer set due_at = $2 where order_id = any (array (\
             select order_id from saga_timer where due_at <= $1 order by due_at limit $3 for update skip locked)) \
         returning order_id",
    )
    .bind(now)
    .bind(now + lease)
    .bind(limit)
    .fetch_all(executor)
    .await
    .map_err(fault)
}
