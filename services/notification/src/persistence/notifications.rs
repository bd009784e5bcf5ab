//! Table `notification`.

use openorder_types::{Fault, Timestamp, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Channel, Kind, Notification, Recipient, Status};

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub struct Filter {
    /// About this order.
    pub order_id: Option<Uuid>,
    /// For this user.
    pub user_id: Option<String>,
    /// Older than this notification: the last of the page before.
    pub before: Option<Uuid>,
}

/// Writes new notifications; returns the ids of those that did not stand there under their order, kind and channel.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn insert(connection: &mut PgConnection, new: &[Notification]) -> Result<Vec<Uuid>, Fault> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = new.iter().map(|one| one.notification_id).collect();
    let orders: Vec<Uuid> = new.iter().map(|one| one.order_id).collect();
    let users: Vec<&str> = new.iter().map(|one| one.user_id.as_str()).collect();
    let kinds: Vec<i16> = new.iter().map(|one| one.kind as i16).collect();
    let channels: Vec<i16> = new.iter().map(|one| one.channel as i16).collect();
    let statuses: Vec<i16> = new.iter().map(|one| one.status as i16).collect();
    let recipients: Vec<&str> = new.iter().map(|one| address(one.recipient.as_ref())).collect();
    let subjects: Vec<&str> = new.iter().map(|one| one.subject.as_str()).collect();
    let bodies: Vec<&str> = new.iter().map(|one| one.body.as_str()).collect();
    let attempts: Vec<i32> = new.iter().map(|one| one.attempts).collect();
    let reasons: Vec<&str> = new.iter().map(|one| one.failure_reason.as_str()).collect();
    let traces: Vec<&str> = new.iter().map(|one| one.traceparent.as_str()).collect();
    let event_versions: Vec<i64> = new.iter().map(|one| one.event_version).collect();
    let created: Vec<Timestamp> = new.iter().map(|one| one.create_time).collect();
    let sent: Vec<Option<Timestamp>> = new.iter().map(|one| one.send_time).collect();
    let due: Vec<Option<Timestamp>> = new.iter().map(|one| one.next_attempt_at).collect();
    Ok(sqlx::query_scalar(
            "insert into notification \
             (notification_id, order_id, user_id, kind, channel, status, recipient, subject, body, round, attempts, \
              round_attempts, failure_reason, traceparent, version, event_version, create_time, request_time, send_time, \
              next_attempt_at) \
             select i, o, u, k, c, s, r, j, b, 1, a, a, f, t, 1, e, z, z, w, d \
             from (select unnest($1::uuid[]) as i, unnest($2::uuid[]) as o, unnest($3::text[]) as u, \
                          unnest($4::smallint[]) as k, unnest($5::smallint[]) as c, unnest($6::smallint[]) as s, \
                          unnest($7::text[]) as r, unnest($8::text[]) as j, unnest($9::text[]) as b, \
                          unnest($10::integer[]) as a, unnest($11::text[]) as f, unnest($12::text[]) as t, \
                          unnest($13::bigint[]) as e, unnest($14::timestamptz[]) as z, unnest($15::timestamptz[]) as w, \
                          unnest($16::timestamptz[]) as d) as n \
             on conflict on constraint notification_natural_key do nothing returning notification_id",
        )
        .bind(ids)
        .bind(orders)
        .bind(users)
        .bind(kinds)
        .bind(channels)
        .bind(statuses)
        .bind(recipients)
        .bind(subjects)
        .bind(bodies)
        .bind(attempts)
        .bind(reasons)
        .bind(traces)
        .bind(event_versions)
        .bind(created)
        .bind(sent)
        .bind(due)
        .fetch_all(connection)
        .await?)
}

/// Writes changed notifications, which must be locked.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn update(connection: &mut PgConnection, changed: &[&Notification]) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = changed.iter().map(|one| one.notification_id).collect();
    let statuses: Vec<i16> = changed.iter().map(|one| one.status as i16).collect();
    let rounds: Vec<i32> = changed.iter().map(|one| one.round).collect();
    let attempts: Vec<i32> = changed.iter().map(|one| one.attempts).collect();
    let round_attempts: Vec<i32> = changed.iter().map(|one| one.round_attempts).collect();
    let reasons: Vec<&str> = changed.iter().map(|one| one.failure_reason.as_str()).collect();
    let versions: Vec<i64> = changed.iter().map(|one| one.version).collect();
    let event_versions: Vec<i64> = changed.iter().map(|one| one.event_version).collect();
    let sent: Vec<Option<Timestamp>> = changed.iter().map(|one| one.send_time).collect();
    let due: Vec<Option<Timestamp>> = changed.iter().map(|one| one.next_attempt_at).collect();
    let requested: Vec<Timestamp> = changed.iter().map(|one| one.request_time).collect();
    sqlx::query(
        "update notification set status = n.s, round = n.r, attempts = n.a, round_attempts = n.ra, \
                failure_reason = n.f, version = n.v, event_version = n.e, send_time = n.w, next_attempt_at = n.d, \
                request_time = n.q \
         from (select unnest($1::uuid[]) as i, unnest($2::smallint[]) as s, unnest($3::integer[]) as r, \
                      unnest($4::integer[]) as a, unnest($5::integer[]) as ra, unnest($6::text[]) as f, \
                      unnest($7::bigint[]) as v, unnest($8::bigint[]) as e, unnest($9::timestamptz[]) as w, \
                      unnest($10::timestamptz[]) as d, unnest($11::timestamptz[]) as q) as n \
         where notification_id = n.i",
    )
    .bind(ids)
    .bind(statuses)
    .bind(rounds)
    .bind(attempts)
    .bind(round_attempts)
    .bind(reasons)
    .bind(versions)
    .bind(event_versions)
    .bind(sent)
    .bind(due)
    .bind(requested)
    .execute(connection)
    .await?;
    Ok(())
}

/// Locks these notifications, in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Notification>, Fault> {
    let rows =
        sqlx::query("select * from notification where notification_id = any ($1) order by notification_id for update")
            .bind(ids)
            .fetch_all(connection)
            .await?;
    rows.iter().map(notification).collect()
}

/// The newest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list(executor: impl PgExecutor<'_>, filter: &Filter, limit: i64) -> Result<Vec<Notification>, Fault> {
    let rows = sqlx::query(
        "select * from notification \
         where ($1::uuid is null or order_id = $1) and ($2::text is null or user_id = $2) \
           and ($3::uuid is null or notification_id < $3) \
         order by notification_id desc limit $4",
    )
    .bind(filter.order_id)
    .bind(filter.user_id.as_deref())
    .bind(filter.before)
    .bind(limit)
    .fetch_all(executor)
    .await?;
    rows.iter().map(notification).collect()
}

fn address(recipient: Option<&Recipient>) -> &str {
    recipient.map(Recipient::as_str).unwrap_or_default()
}

pub(super) fn kind(row: &PgRow) -> Result<Kind, Fault> {
    let number: i16 = row.try_get("kind")?;
    Kind::from_number(number).ok_or_else(|| Fault::permanent("unknown kind of notification"))
}

fn channel(row: &PgRow) -> Result<Channel, Fault> {
    let number: i16 = row.try_get("channel")?;
    Channel::from_number(number).ok_or_else(|| Fault::permanent("unknown channel"))
}

fn notification(row: &PgRow) -> Result<Notification, Fault> {
    let user: String = row.try_get("user_id")?;
    let channel = channel(row)?;
    let status: i16 = row.try_get("status")?;
    let recipient: String = row.try_get("recipient")?;
    Ok(Notification {
        notification_id: row.try_get("notification_id")?,
        order_id: row.try_get("order_id")?,
        user_id: UserId::parse(&user).map_err(Fault::permanent)?,
        kind: kind(row)?,
        channel,
        status: Status::from_number(status).ok_or_else(|| Fault::permanent("unknown status of a notification"))?,
        recipient: Recipient::parse(channel, &recipient).ok(),
        subject: row.try_get("subject")?,
        body: row.try_get("body")?,
        round: row.try_get("round")?,
        attempts: row.try_get("attempts")?,
        round_attempts: row.try_get("round_attempts")?,
        failure_reason: row.try_get("failure_reason")?,
        traceparent: row.try_get("traceparent")?,
        version: row.try_get("version")?,
        event_version: row.try_get("event_version")?,
        create_time: row.try_get("create_time")?,
        request_time: row.try_get("request_time")?,
        send_time: row.try_get("send_time")?,
        next_attempt_at: row.try_get("next_attempt_at")?,
    })
}
