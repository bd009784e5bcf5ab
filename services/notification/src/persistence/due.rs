//! Table `notification`, as the delivery worker sees it: what is due.

use openorder_messaging::fault;
use openorder_types::{EmailAddress, Fault, Timestamp};
use sqlx::{PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{domain::Kind, persistence::notifications::kind};

/// A notification whose turn it is, as far as its delivery needs it.
#[derive(Debug, Clone)]
pub struct Due {
    /// Which one.
    pub notification_id: Uuid,
    /// The order that it is about.
    pub order_id: Uuid,
    /// What it is about.
    pub kind: Kind,
    /// Where it goes.
    pub recipient: EmailAddress,
    /// Its subject line.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// Which round.
    pub round: i32,
    /// Attempts in this round so far.
    pub round_attempts: i32,
    /// W3C trace context of the work that made it.
    pub traceparent: String,
}

/// Takes notifications whose turn it is, and puts their next attempt to `lease_until`: who takes them has until then.
/// Of one order the oldest one goes first, and the next one not before it has come to its end.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn take_due(
    executor: impl PgExecutor<'_>,
    now: Timestamp,
    lease_until: Timestamp,
    limit: i64,
) -> Result<Vec<Due>, Fault> {
    let rows = sqlx::query(
        "update notification set next_attempt_at = $2 where notification_id in ( \
             select candidate.notification_id from notification candidate \
             where candidate.status = 1 and candidate.next_attempt_at <= $1 and not exists ( \
                 select from notification earlier where earlier.order_id = candidate.order_id \
                    and earlier.status = 1 and earlier.notification_id < candidate.notification_id) \
             order by candidate.next_attempt_at limit $3 for update of candidate skip locked) \
         returning notification_id, order_id, kind, recipient, subject, body, round, round_attempts, traceparent",
    )
    .bind(now)
    .bind(lease_until)
    .bind(limit)
    .fetch_all(executor)
    .await
    .map_err(fault)?;
    rows.iter().map(due).collect()
}

/// Gives notifications back untried: they are due again at `due_at`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn give_back(executor: impl PgExecutor<'_>, ids: &[Uuid], due_at: Timestamp) -> Result<(), Fault> {
    sqlx::query("update notification set next_attempt_at = $2 where notification_id = any ($1) and status = 1")
        .bind(ids)
        .bind(due_at)
        .execute(executor)
        .await
        .map_err(fault)?;
    Ok(())
}

fn due(row: &PgRow) -> Result<Due, Fault> {
    let recipient: String = row.try_get("recipient").map_err(fault)?;
    Ok(Due {
        notification_id: row.try_get("notification_id").map_err(fault)?,
        order_id: row.try_get("order_id").map_err(fault)?,
        kind: kind(row)?,
        recipient: EmailAddress::parse(&recipient).map_err(Fault::permanent)?,
        subject: row.try_get("subject").map_err(fault)?,
        body: row.try_get("body").map_err(fault)?,
        round: row.try_get("round").map_err(fault)?,
        round_attempts: row.try_get("round_attempts").map_err(fault)?,
        traceparent: row.try_get("traceparent").map_err(fault)?,
    })
}
