//! Table `api_key`. Its rows are changed under the lock of their users, but for the time of the last use.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Fault, Timestamp, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};

use crate::domain::{ApiKey, Salt, UserName};

static API_KEY: LazyLock<Table<ApiKey>> = LazyLock::new(|| {
    Table::new("api_key", "api_key_id")
        .text("api_key_id", |key: &ApiKey| &key.api_key_id)
        .text("user_id", |key| key.user_id.as_str())
        .text("display_name", |key| key.display_name.as_str())
        .column("salt", |key| key.salt.bytes().to_vec())
        .column("secret_hash", |key| key.secret_hash.to_vec())
        .column("create_time", |key| key.create_time)
        .column("expire_time", |key| key.expire_time)
        // Written by `note_use` alone.
        .column("last_use_time", |key| key.last_use_time)
        .changing()
        .column("revoke_time", |key| key.revoke_time)
});

/// Whose these keys are.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_api_key_owners(connection: &mut PgConnection, ids: &[&str]) -> Result<Vec<String>, Fault> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query_scalar("select user_id from api_key where api_key_id = any ($1)");
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    Ok(query.bind(ids).fetch_all(connection).await?)
}

/// These keys, and those of these users that were not revoked.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_api_keys(
    executor: impl PgExecutor<'_>,
    ids: &[&str],
    user_ids: Vec<String>,
) -> Result<Vec<ApiKey>, Fault> {
    if ids.is_empty() && user_ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = API_KEY
        .select("from api_key where api_key_id = any ($1) or (user_id = any ($2) and revoke_time is null)")
        .bind(ids.iter().map(|id| (*id).to_owned()).collect::<Vec<String>>())
        .bind(user_ids)
        .fetch_all(executor)
        .await?;
    rows.iter().map(api_key).collect()
}

/// The keys of a user, the newest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn list_api_keys(executor: impl PgExecutor<'_>, user_id: &UserId, limit: i64) -> Result<Vec<ApiKey>, Fault> {
    let rows = API_KEY
        .select("from api_key where user_id = $1 order by create_time desc, api_key_id limit $2")
        .bind(user_id.as_str().to_owned())
        .bind(limit)
        .fetch_all(executor)
        .await?;
    rows.iter().map(api_key).collect()
}

/// Writes that a key was used, unless it was used after `unless_after` already.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn note_use(
    executor: impl PgExecutor<'_>,
    api_key_id: &str,
    now: Timestamp,
    unless_after: Timestamp,
) -> Result<(), Fault> {
    let text = "update api_key set last_use_time = $2 where api_key_id = $1 \
                and (last_use_time is null or last_use_time <= $3)";
    sqlx::query(text).bind(api_key_id.to_owned()).bind(now).bind(unless_after).execute(executor).await?;
    Ok(())
}

/// Writes new keys, which must not exist, and changed ones.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn save_api_keys(connection: &mut PgConnection, new: &[&ApiKey], changed: &[&ApiKey]) -> Result<(), Fault> {
    API_KEY.update(&mut *connection, changed).await?;
    API_KEY.insert(connection, new).await
}

fn api_key(row: &PgRow) -> Result<ApiKey, Fault> {
    let (user_id, name): (&str, &str) = (row.try_get("user_id")?, row.try_get("display_name")?);
    let (salt, secret_hash): (&[u8], &[u8]) = (row.try_get("salt")?, row.try_get("secret_hash")?);
    Ok(ApiKey {
        api_key_id: row.try_get("api_key_id")?,
        user_id: UserId::parse(user_id).map_err(Fault::permanent)?,
        display_name: UserName::parse(name).map_err(Fault::permanent)?,
        salt: Salt::new(salt.try_into().map_err(Fault::permanent)?),
        secret_hash: secret_hash.try_into().map_err(Fault::permanent)?,
        create_time: row.try_get("create_time")?,
        expire_time: row.try_get("expire_time")?,
        last_use_time: row.try_get("last_use_time")?,
        revoke_time: row.try_get("revoke_time")?,
    })
}
