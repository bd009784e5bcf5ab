//! Table `server_key`.

use openorder_types::{Fault, Timestamp};
use sqlx::{PgExecutor, PgPool, Row, postgres::PgRow};

use crate::credentials::{Purpose, SealedKey};

/// All keys.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn read_server_keys(pool: &PgPool) -> Result<Vec<SealedKey>, Fault> {
    let rows = sqlx::query("select key_id, purpose, sealed, create_time, activate_time from server_key");
    rows.fetch_all(pool).await?.iter().map(key).collect()
}

/// Adds a key, unless it is there already.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn add_server_key(executor: impl PgExecutor<'_>, key: &SealedKey) -> Result<(), Fault> {
    sqlx::query(
        "insert into server_key (key_id, purpose, sealed, create_time, activate_time) values ($1, $2, $3, $4, $5) \
         on conflict do nothing",
    )
    .bind(key.key_id.clone())
    .bind(key.purpose.number())
    .bind(key.sealed.clone())
    .bind(key.create_time)
    .bind(key.activate_time)
    .execute(executor)
    .await?;
    Ok(())
}

/// Adds a signing key for the one that signs last, unless another instance has added one since. Whether it was added.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn add_signing_key_after(pool: &PgPool, key: &SealedKey, last: Option<Timestamp>) -> Result<bool, Fault> {
    let added = sqlx::query(
        "insert into server_key (key_id, purpose, sealed, create_time, activate_time) \
         select $1, 1, $2, $3, $4 where not exists \
             (select 1 from server_key where purpose = 1 and ($5::timestamptz is null or create_time > $5))",
    )
    .bind(key.key_id.clone())
    .bind(key.sealed.clone())
    .bind(key.create_time)
    .bind(key.activate_time)
    .bind(last)
    .execute(pool)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Forgets a signing key whose tokens have all ended.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn delete_signing_key(pool: &PgPool, key_id: &str) -> Result<(), Fault> {
    let text = "delete from server_key where key_id = $1 and purpose = 1";
    sqlx::query(text).bind(key_id.to_owned()).execute(pool).await?;
    Ok(())
}

/// Writes a key as it is sealed now.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn seal_anew(pool: &PgPool, key_id: &str, sealed: Vec<u8>) -> Result<(), Fault> {
    let text = "update server_key set sealed = $2 where key_id = $1";
    sqlx::query(text).bind(key_id.to_owned()).bind(sealed).execute(pool).await?;
    Ok(())
}

fn key(row: &PgRow) -> Result<SealedKey, Fault> {
    Ok(SealedKey {
        key_id: row.try_get("key_id")?,
        purpose: Purpose::from_stored(row.try_get("purpose")?)?,
        sealed: row.try_get("sealed")?,
        create_time: row.try_get("create_time")?,
        activate_time: row.try_get("activate_time")?,
    })
}
