//! Table `saga_timer`: the deadlines of a batch of orders in one row, looked at when they are due.
//!
//! The hot path only inserts, one row a batch. When a row is due its orders are looked at: of those whose saga has
//! settled, nearly all, nothing is left to do; an order whose step is younger gets a new timer for that step's
//! deadline; of the others the deadline has passed. Then the row is forgotten.

use std::{collections::BTreeMap, time::Duration};

use openorder_telemetry::TraceContext;
use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{persistence::body, saga::Step};

/// Deadlines taken for this instance.
#[derive(Debug)]
pub struct DueTimer {
    timer_id: i64,
    /// The orders whose deadline it is.
    pub orders: Vec<Uuid>,
}

/// Sets the deadlines of these orders.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn arm(connection: &mut PgConnection, timers: &[(Uuid, Timestamp)]) -> Result<(), Fault> {
    let mut by_time: BTreeMap<Timestamp, Vec<Uuid>> = BTreeMap::new();
    for (order_id, due) in timers {
        by_time.entry(*due).or_default().push(*order_id);
    }
    // The orders of a batch begin at the same time and have one deadline; only compensations have more.
    for (due, orders) in by_time {
        sqlx::query("insert into saga_timer (due_at, order_ids) values ($1, $2)")
            .bind(due)
            .bind(orders)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
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
        "update saga_timer set due_at = $2 where timer_id = any (array (\
             select timer_id from saga_timer where due_at <= $1 order by due_at limit $3 for update skip locked)) \
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

/// A saga that still waits for something.
#[derive(Debug)]
pub struct OpenSaga {
    pub order_id: Uuid,
    pub step: Step,
    /// When it got there, or asked the last time.
    pub step_time: Timestamp,
    /// How long a caller may take to pay the order; none in automatic mode.
    pub payment_window: Option<Duration>,
    /// The trace of the call that made the order.
    pub trace: TraceContext,
}

/// Those of the orders whose saga still waits for something.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn open_sagas(executor: impl PgExecutor<'_>, orders: &[Uuid]) -> Result<Vec<OpenSaga>, Fault> {
    let open = [Step::Reserving, Step::Paying, Step::Modifying, Step::Compensating].map(Step::number);
    let rows = sqlx::query(
        "select order_id, saga_step, saga_step_time, body, trace_context from customer_order \
         where order_id = any ($1) and saga_step = any ($2) order by order_id",
    )
    .bind(orders)
    .bind(open.as_slice())
    .fetch_all(executor)
    .await?;
    rows.iter().map(open_saga).collect()
}

fn open_saga(row: &PgRow) -> Result<OpenSaga, Fault> {
    let (trace, payment_window) = match row.try_get("body")? {
        Some(bytes) => {
            let body = body::decode(bytes)?;
            (body.trace, body.payment_window)
        }
        None => {
            let former: Option<&[u8]> = row.try_get("trace_context")?;
            (former.and_then(|bytes| TraceContext::from_bytes(bytes, None)).unwrap_or_default(), None)
        }
    };
    Ok(OpenSaga {
        order_id: row.try_get("order_id")?,
        step: Step::from_stored(row.try_get("saga_step")?)?,
        step_time: row.try_get("saga_step_time")?,
        payment_window,
        trace,
    })
}

/// Forgets timers whose orders were looked at.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn forget(executor: impl PgExecutor<'_>, timers: &[DueTimer]) -> Result<(), Fault> {
    let ids: Vec<i64> = timers.iter().map(|timer| timer.timer_id).collect();
    sqlx::query("delete from saga_timer where timer_id = any ($1)").bind(ids).execute(executor).await?;
    Ok(())
}
