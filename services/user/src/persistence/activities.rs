//! Table `user_activity`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Fault, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::{Activity, ActivityType, Roles};

static ACTIVITY: LazyLock<Table<Activity>> = LazyLock::new(|| {
    Table::new("user_activity", "user_id")
        .text("user_id", |activity: &Activity| activity.user_id.as_str())
        .column("number", |activity| activity.number)
        .column("type", |activity| activity.activity_type.number())
        .column("time", |activity| activity.time)
        .text("actor", |activity| &activity.actor)
        .column("session_id", |activity| activity.session_id)
        .column("api_key_id", |activity| activity.api_key_id.clone())
        .column("roles", |activity| activity.roles.map_or(0, Roles::bits))
        .text("peer_hash", |activity| &activity.peer_hash)
});

/// The entries of a user before this number, the newest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list_activities(
    executor: impl PgExecutor<'_>,
    user_id: &UserId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Activity>, Fault> {
    let rows = ACTIVITY
        .select("from user_activity where user_id = $1 and number < $2 order by number desc limit $3")
        .bind(user_id.as_str().to_owned())
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(executor)
        .await?;
    rows.iter().map(activity).collect()
}

/// Adds entries.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn add_activities(connection: &mut PgConnection, activities: &[Activity]) -> Result<(), Fault> {
    ACTIVITY.insert(connection, &activities.iter().collect::<Vec<_>>()).await
}

fn activity(row: &PgRow) -> Result<Activity, Fault> {
    let (user_id, roles): (&str, i16) = (row.try_get("user_id")?, row.try_get("roles")?);
    Ok(Activity {
        user_id: UserId::parse(user_id).map_err(Fault::permanent)?,
        number: row.try_get("number")?,
        activity_type: ActivityType::from_stored(row.try_get("type")?)?,
        time: row.try_get("time")?,
        actor: row.try_get("actor")?,
        session_id: row.try_get("session_id")?,
        api_key_id: row.try_get("api_key_id")?,
        roles: (roles != 0).then(|| Roles::from_stored(roles)).transpose()?,
        peer_hash: row.try_get("peer_hash")?,
    })
}
