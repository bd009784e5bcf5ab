//! Table `notification`, as the delivery worker sees it: what is due.

use openorder_types::{Fault, Timestamp};
use sqlx::{PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Channel, Kind, Recipient};

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
    pub recipient: Recipient,
    /// Its subject line; empty where the channel has none.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// Which round.
    pub round: i32,
    /// Attempts in this round so far.
    pub round_attempts: i32,
    /// When the round began.
    pub request_time: Timestamp,
    /// W3C trace context of the work that made it.
    pub traceparent: String,
}

/// Takes notifications of a channel whose turn it is, and puts their next attempt to `lease_until`: who takes them has
/// until then. Of one order the oldest one of the channel goes first, and the next one not before it has come to its
/// end.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn take_due(
    executor: impl PgExecutor<'_>,
    channel: Channel,
    now: Timestamp,
    lease_until: Timestamp,
    limit: i64,
) -> Result<Vec<Due>, Fault> {
    let rows = sqlx::query(
        "update notification set next_attempt_at = $2 where notification_id in ( \
             select candidate.notification_id from notification candidate \
             where candidate.status = 1 and candidate.channel = $4 and candidate.next_attempt_at <= $1 \
               and not exists ( \
                 select from notification earlier where earlier.order_id = candidate.order_id \
                    and earlier.channel = $4 and earlier.status = 1 \
                    and earlier.notification_id < candidate.notification_id) \
             order by candidate.next_attempt_at limit $3 for update of candidate skip locked) \
         returning notification_id, order_id, kind, recipient, subject, body, round, round_attempts, \
                   request_time, traceparent",
    )
    .bind(now)
    .bind(lease_until)
    .bind(limit)
    .bind(channel.number())
    .fetch_all(executor)
    .await?;
    rows.iter().map(|row| due(row, channel)).collect()
}

/// Gives notifications back: each is due again at its time.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn give_back(executor: impl PgExecutor<'_>, untried: &[(Uuid, Timestamp)]) -> Result<(), Fault> {
    if untried.is_empty() {
        return Ok(());
    }
    let (ids, due): (Vec<Uuid>, Vec<Timestamp>) = untried.iter().copied().unzip();
    sqlx::query(
        "update notification set next_attempt_at = n.due_at \
         from unnest($1::uuid[], $2::timestamptz[]) as n (id, due_at) \
         where notification_id = n.id and status = 1",
    )
    .bind(ids)
    .bind(due)
    .execute(executor)
    .await?;
    Ok(())
}

/// How many notifications of a channel wait to be sent, counted up to `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn count_waiting(executor: impl PgExecutor<'_>, channel: Channel, limit: i64) -> Result<i64, Fault> {
    Ok(sqlx::query_scalar(
        "select count(*) from (select from notification where status = 1 and channel = $1 limit $2) as waiting",
    )
    .bind(channel.number())
    .bind(limit)
    .fetch_one(executor)
    .await?)
}

fn due(row: &PgRow, channel: Channel) -> Result<Due, Fault> {
    let recipient: String = row.try_get("recipient")?;
    Ok(Due {
        notification_id: row.try_get("notification_id")?,
        order_id: row.try_get("order_id")?,
        kind: Kind::from_stored(row.try_get("kind")?)?,
        recipient: Recipient::parse(channel, &recipient).map_err(Fault::permanent)?,
        subject: row.try_get("subject")?,
        body: row.try_get("body")?,
        round: row.try_get("round")?,
        round_attempts: row.try_get("round_attempts")?,
        request_time: row.try_get("request_time")?,
        traceparent: row.try_get("traceparent")?,
    })
}
