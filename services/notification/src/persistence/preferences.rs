//! Table `preferences`.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Fault, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::{Kind, PhoneNumber, Preferences, PushToken};

static PREFERENCES: LazyLock<Table<Preferences>> = LazyLock::new(|| {
    Table::new("preferences", "user_id")
        .text("user_id", |one: &Preferences| one.user_id.as_str())
        .changing()
        .column("email_enabled", |one| one.email_enabled)
        .column("sms_enabled", |one| one.sms_enabled)
        .column("push_enabled", |one| one.push_enabled)
        .column("muted_kinds", kinds)
        .written_as("string_to_array({}, ',')::smallint[]")
        .text("phone_number", |one| one.phone_number.as_ref().map_or("", PhoneNumber::as_str))
        .text("push_token", |one| one.push_token.as_ref().map_or("", PushToken::as_str))
        .column("version", |one| one.version)
        .column("update_time", |one| one.update_time)
});

/// What these users want, those of them who said so.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find(executor: impl PgExecutor<'_>, users: &[&str]) -> Result<Vec<Preferences>, Fault> {
    let rows = PREFERENCES.select("from preferences where user_id = any ($1)").bind(users).fetch_all(executor).await?;
    rows.iter().map(preferences).collect()
}

/// As [`find`], locked in one order for all transactions.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn lock(connection: &mut PgConnection, users: &[&str]) -> Result<Vec<Preferences>, Fault> {
    let rows = PREFERENCES
        .select("from preferences where user_id = any ($1) order by user_id for update")
        .bind(users)
        .fetch_all(connection)
        .await?;
    rows.iter().map(preferences).collect()
}

/// Writes new preferences, which must not exist, and changed ones, which must be locked.
///
/// # Errors
/// [`Fault`] of the database; retryable when another transaction made one of the new ones first.
pub async fn save(connection: &mut PgConnection, all: &[&Preferences]) -> Result<(), Fault> {
    let (new, changed): (Vec<&Preferences>, Vec<&Preferences>) = all.iter().partition(|one| one.version == 1);
    PREFERENCES.insert(&mut *connection, &new).await?;
    PREFERENCES.update(connection, &changed).await
}

/// An array of arrays of different lengths cannot be unnested, so each goes as text.
fn kinds(preferences: &Preferences) -> String {
    let numbers: Vec<String> = preferences.muted_kinds.iter().map(|kind| kind.number().to_string()).collect();
    numbers.join(",")
}

fn preferences(row: &PgRow) -> Result<Preferences, Fault> {
    let user: String = row.try_get("user_id")?;
    let muted: Vec<i16> = row.try_get("muted_kinds")?;
    let number: String = row.try_get("phone_number")?;
    let token: String = row.try_get("push_token")?;
    Ok(Preferences {
        user_id: UserId::parse(&user).map_err(Fault::permanent)?,
        email_enabled: row.try_get("email_enabled")?,
        sms_enabled: row.try_get("sms_enabled")?,
        push_enabled: row.try_get("push_enabled")?,
        muted_kinds: muted.into_iter().filter_map(Kind::from_number).collect(),
        phone_number: PhoneNumber::parse(&number).ok(),
        push_token: PushToken::parse(&token).ok(),
        version: row.try_get("version")?,
        update_time: Some(row.try_get("update_time")?),
    })
}
