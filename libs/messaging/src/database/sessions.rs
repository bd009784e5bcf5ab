//! What is between this process and PostgreSQL. Time limits, advisory locks and prepared statements belong to a session:
//! a pooler that hands each transaction to another session loses them, at some time later and without a clear word.

use sqlx::{Connection, PgConnection, PgPool, Row, postgres::PgRow};

use super::OpenError;

/// Whether sessions begin with the settings that the options of this connection and of this pool name. A pooler may leave
/// them out: then each session has to be given them.
///
/// # Errors
/// [`OpenError::Pooler`] where a session is not a connection's own; the error of the first statement that fails.
pub(super) async fn keep_settings(
    mut one: PgConnection,
    pool: &PgPool,
    statement_timeout_ms: u64,
) -> Result<bool, OpenError> {
    let (of_one, timeout) = state(&mut one).await?;
    // A pooler of transactions gives the session that was free last, and that one's connection is still there.
    let (of_other, _) = state(&mut *pool.acquire().await?).await?;
    one.close().await?;
    if of_one == of_other {
        return Err(OpenError::Pooler);
    }
    Ok(i64::try_from(statement_timeout_ms).is_ok_and(|reported| reported == timeout))
}

/// Process of the session, and its time limit of a statement in milliseconds.
async fn state(connection: &mut PgConnection) -> Result<(i32, i64), sqlx::Error> {
    let sql = "select pg_backend_pid(), setting::bigint from pg_settings where name = 'statement_timeout'";
    let row: PgRow = sqlx::raw_sql(sql).fetch_one(connection).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Whether this is how a pooler refuses the settings of a session (PgBouncer: `unsupported startup parameter: options`).
pub(super) fn is_refusal_of_pooler(error: &sqlx::Error) -> bool {
    let database = error.as_database_error();
    database.is_some_and(|error| error.message().contains("unsupported startup parameter"))
}
