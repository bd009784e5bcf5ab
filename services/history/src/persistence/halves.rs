//! Table `view_set`: which documents are in use, and which are written.

use openorder_types::Fault;
use sqlx::{Connection, PgConnection, PgPool, Row};

use crate::domain::{Half, Halves};

/// Advisory lock of working on a rebuild.
const REBUILD_LOCK: i64 = 0x6f70_656e_0602;

/// The number is that of the halves' advisory lock, 0x6f70_656e_0601. Two statements in one message: the second one sees what
/// was committed before the lock was had.
const HOLD: &str = "select pg_advisory_xact_lock_shared(122528528729601); select current, is_building from view_set";
const HOLD_ALONE: &str = "select pg_advisory_xact_lock(122528528729601); select current, is_building from view_set";

/// Which halves are written; they stay so until the end of the transaction.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn hold_halves(connection: &mut PgConnection) -> Result<Halves, Fault> {
    held(connection, HOLD).await
}

/// As [`hold_halves`], while no other transaction writes documents: for who is about to change which are written.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn hold_halves_alone(connection: &mut PgConnection) -> Result<Halves, Fault> {
    held(connection, HOLD_ALONE).await
}

async fn held(connection: &mut PgConnection, sql: &'static str) -> Result<Halves, Fault> {
    let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
    let row = rows.last().ok_or_else(|| Fault::permanent("view_set has no row"))?;
    Ok(Halves { current: Half::of(row.try_get("current")?), is_building: row.try_get("is_building")? })
}

/// The half that is in use.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn current_half(connection: &mut PgConnection) -> Result<Half, Fault> {
    let number: i16 = sqlx::query_scalar("select current from view_set").fetch_one(connection).await?;
    Ok(Half::of(number))
}

/// From now on the half that is not in use is written too. To be said by who holds the halves alone.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn begin_building(connection: &mut PgConnection) -> Result<(), Fault> {
    sqlx::query("update view_set set is_building = true").execute(connection).await?;
    Ok(())
}

/// From now on only the half that is in use is written. To be said by who holds the halves alone.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn stop_building(connection: &mut PgConnection) -> Result<(), Fault> {
    sqlx::query("update view_set set is_building = false").execute(connection).await?;
    Ok(())
}

/// From now on this half is in use, and it alone is written. To be said by who holds the halves alone.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn switch_to(connection: &mut PgConnection, half: Half) -> Result<(), Fault> {
    sqlx::query("update view_set set current = $1, is_building = false")
        .bind(half.number())
        .execute(connection)
        .await?;
    Ok(())
}

/// Empties a half that is neither in use nor written.
///
/// # Errors
/// [`Fault`] of the database; retryable while somebody reads it for long.
pub async fn empty(pool: &PgPool, half: Half) -> Result<(), Fault> {
    // A connection of its own: its limits are no others'. Whoever reads the half keeps it waiting, and whoever comes to read it
    // then waits as long.
    let mut connection = pool.acquire().await?.detach();
    let sql = match half {
        Half::A => "set lock_timeout = '2s'; truncate order_view_a",
        Half::B => "set lock_timeout = '2s'; truncate order_view_b",
    };
    let emptied = sqlx::raw_sql(sql).execute(&mut connection).await;
    connection.close().await?;
    emptied.map(drop).map_err(|error| Fault::retryable(format!("a half cannot be emptied: {error}")))
}

/// Whether nobody else works on a rebuild; it stays so as long as the session lives.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn try_to_rebuild_alone(session: &mut PgConnection) -> Result<bool, Fault> {
    let alone = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(REBUILD_LOCK).fetch_one(session).await?;
    Ok(alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_name_the_lock() {
        const HALVES_LOCK: i64 = 0x6f70_656e_0601;
        for sql in [HOLD, HOLD_ALONE] {
            assert!(sql.contains(&format!("({HALVES_LOCK})")), "{sql}");
        }
    }
}
