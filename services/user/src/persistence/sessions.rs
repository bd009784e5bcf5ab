//! Table `user_session`. Its rows are changed under the lock of their users.

use std::sync::LazyLock;

use openorder_messaging::Table;
use openorder_types::{Fault, UserId};
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::domain::{ClientId, Salt, Session};

static SESSION: LazyLock<Table<Session>> = LazyLock::new(|| {
    Table::new("user_session", "session_id")
        .column("session_id", |session: &Session| session.session_id)
        .text("user_id", |session| session.user_id.as_str())
        .text("client_id", |session| session.client_id.as_str())
        .column("salt", |session| session.salt.bytes().to_vec())
        .column("create_time", |session| session.create_time)
        .column("expire_time", |session| session.expire_time)
        .changing()
        .column("generation", |session| session.generation)
        .column("rotate_time", |session| session.rotate_time)
        .column("refresh_expire_time", |session| session.refresh_expire_time)
        .column("end_time", |session| session.end_time)
});

/// Whose these sessions are.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_session_owners(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<String>, Fault> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query_scalar("select user_id from user_session where session_id = any ($1)");
    Ok(query.bind(ids.to_vec()).fetch_all(connection).await?)
}

/// These sessions, and those of these users that were not ended.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn find_sessions(
    executor: impl PgExecutor<'_>,
    ids: &[Uuid],
    user_ids: Vec<String>,
) -> Result<Vec<Session>, Fault> {
    if ids.is_empty() && user_ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = SESSION
        .select("from user_session where session_id = any ($1) or (user_id = any ($2) and end_time is null)")
        .bind(ids.to_vec())
        .bind(user_ids)
        .fetch_all(executor)
        .await?;
    rows.iter().map(session).collect()
}

/// Writes new sessions, which must not exist, and changed ones.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn save_sessions(connection: &mut PgConnection, new: &[&Session], changed: &[&Session]) -> Result<(), Fault> {
    SESSION.update(&mut *connection, changed).await?;
    SESSION.insert(connection, new).await
}

fn session(row: &PgRow) -> Result<Session, Fault> {
    let (user_id, client_id): (&str, &str) = (row.try_get("user_id")?, row.try_get("client_id")?);
    let salt: &[u8] = row.try_get("salt")?;
    Ok(Session {
        session_id: row.try_get("session_id")?,
        user_id: UserId::parse(user_id).map_err(Fault::permanent)?,
        client_id: ClientId::parse(client_id).map_err(Fault::permanent)?,
        salt: Salt::new(salt.try_into().map_err(Fault::permanent)?),
        create_time: row.try_get("create_time")?,
        expire_time: row.try_get("expire_time")?,
        generation: row.try_get("generation")?,
        rotate_time: row.try_get("rotate_time")?,
        refresh_expire_time: row.try_get("refresh_expire_time")?,
        end_time: row.try_get("end_time")?,
    })
}
