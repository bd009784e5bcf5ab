//! Table `notification`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Fault, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{Channel, Kind, Notification, Recipient, Status};

static NOTIFICATION: LazyLock<Table<Notification>> = LazyLock::new(|| {
    Table::new("notification", "notification_id")
        .column("notification_id", |one: &Notification| one.notification_id)
        .column("order_id", |one| one.order_id)
        .text("user_id", |one| one.user_id.as_str())
        .column("kind", |one| one.kind.number())
        .column("channel", |one| one.channel.number())
        .text("recipient", |one| one.recipient.as_ref().map_or("", Recipient::as_str))
        .text("subject", |one| &one.subject)
        .text("body", |one| &one.body)
        .text("traceparent", |one| &one.traceparent)
        .column("create_time", |one| one.create_time)
        .changing()
        .column("status", |one| one.status.number())
        .column("round", |one| one.round)
        .column("attempts", |one| one.attempts)
        .column("round_attempts", |one| one.round_attempts)
        .text("failure_reason", |one| &one.failure_reason)
        .column("version", |one| one.version)
        .column("event_version", |one| one.event_version)
        .column("request_time", |one| one.request_time)
        .column("send_time", |one| one.send_time)
        .column("next_attempt_at", |one| one.next_attempt_at)
        .inserted_by(|_, insert| {
            format!("{insert} on conflict on constraint notification_natural_key do nothing returning notification_id")
        })
});

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
    let new: Vec<&Notification> = new.iter().collect();
    let rows = NOTIFICATION.insert_query(&new)?.fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get("notification_id")?)).collect()
}

/// Writes changed notifications, which must be locked.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn update(connection: &mut PgConnection, changed: &[&Notification]) -> Result<(), Fault> {
    NOTIFICATION.update(connection, changed).await
}

/// Forgets where these users were reached, in what is at its end. Locked in the order of all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn forget_recipients(connection: &mut PgConnection, user_ids: Vec<String>) -> Result<(), Fault> {
    if user_ids.is_empty() {
        return Ok(());
    }
    let text = "with found as (select notification_id from notification where user_id = any ($1) and status <> $2 \
                and recipient <> '' order by notification_id for update) \
                update notification set recipient = '' from found \
                where notification.notification_id = found.notification_id";
    sqlx::query(text).bind(user_ids).bind(Status::Requested.number()).execute(connection).await?;
    Ok(())
}

/// Locks these notifications, in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Notification>, Fault> {
    let rows = NOTIFICATION
        .select("from notification where notification_id = any ($1) order by notification_id for update")
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
    let rows = NOTIFICATION
        .select(
            "from notification \
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

fn notification(row: &PgRow) -> Result<Notification, Fault> {
    let user: String = row.try_get("user_id")?;
    let channel = Channel::from_stored(row.try_get("channel")?)?;
    let recipient: String = row.try_get("recipient")?;
    Ok(Notification {
        notification_id: row.try_get("notification_id")?,
        order_id: row.try_get("order_id")?,
        user_id: UserId::parse(&user).map_err(Fault::permanent)?,
        kind: Kind::from_stored(row.try_get("kind")?)?,
        channel,
        status: Status::from_stored(row.try_get("status")?)?,
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
