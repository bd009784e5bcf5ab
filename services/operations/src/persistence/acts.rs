//! Table `act`: intents by their request id.

use chrono::Utc;
use openorder_types::Fault;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor, PgPool, Row, postgres::PgRow};
use uuid::Uuid;

/// An intent that is about to be acted upon.
pub(crate) struct NewAct<'a> {
    pub(crate) caller: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) method: &'static str,
    pub(crate) fingerprint: &'a [u8],
    pub(crate) audit_entry_id: Uuid,
}

/// An intent as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) caller: String,
    pub(crate) request_id: String,
    pub(crate) method: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) frozen: Option<Value>,
    pub(crate) progress: Option<Value>,
    pub(crate) outcome: Option<Value>,
    pub(crate) audit_entry_id: Uuid,
    /// Whether this call made it.
    pub(crate) is_new: bool,
}

const COLUMNS: &str = "caller, request_id, method, fingerprint, frozen, progress, outcome, audit_entry_id";

fn read(row: &PgRow, is_new: bool) -> Result<Act, sqlx::Error> {
    Ok(Act {
        caller: row.try_get(0)?,
        request_id: row.try_get(1)?,
        method: row.try_get(2)?,
        fingerprint: row.try_get(3)?,
        frozen: row.try_get(4)?,
        progress: row.try_get(5)?,
        outcome: row.try_get(6)?,
        audit_entry_id: row.try_get(7)?,
        is_new,
    })
}

/// Makes the intent, or finds the one that the caller's request id stands for already. A call with the same id waits
/// until the transaction has ended.
pub(crate) async fn claim(transaction: &mut PgConnection, new: &NewAct<'_>) -> Result<Act, Fault> {
    let made = sqlx::query(
        "insert into act (caller, request_id, method, fingerprint, audit_entry_id, alive_at) \
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
    )
    .bind(new.caller)
    .bind(new.request_id)
    .bind(new.method)
    .bind(new.fingerprint)
    .bind(new.audit_entry_id)
    .bind(Utc::now())
    .execute(&mut *transaction)
    .await?;
    let row =
        sqlx::query(sqlx::AssertSqlSafe(format!("select {COLUMNS} from act where caller = $1 and request_id = $2")))
            .bind(new.caller)
            .bind(new.request_id)
            .fetch_one(transaction)
            .await?;
    Ok(read(&row, made.rows_affected() == 1)?)
}

/// The intents of a request id, whoever's they are, of one method.
pub(crate) async fn request(executor: impl PgExecutor<'_>, request_id: &str, method: &str) -> Result<Vec<Act>, Fault> {
    let sql = format!("select {COLUMNS} from act where request_id = $1 and method = $2 order by alive_at desc");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(request_id).bind(method).fetch_all(executor).await?;
    Ok(rows.iter().map(|row| read(row, false)).collect::<Result<_, _>>()?)
}

/// Forgets an intent that was refused: only results are remembered.
pub(crate) async fn forget(executor: impl PgExecutor<'_>, act: &Act) -> Result<(), Fault> {
    sqlx::query("delete from act where caller = $1 and request_id = $2 and frozen is null")
        .bind(&act.caller)
        .bind(&act.request_id)
        .execute(executor)
        .await?;
    Ok(())
}

/// Fixes the set of an act.
pub(crate) async fn set_frozen(pool: &PgPool, act: &Act, frozen: &Value) -> Result<(), Fault> {
    let sql = "update act set frozen = $3, alive_at = $4 where caller = $1 and request_id = $2";
    set(pool, sql, act, frozen).await
}

/// Notes how far an act came.
pub(crate) async fn set_progress(pool: &PgPool, act: &Act, progress: &Value) -> Result<(), Fault> {
    let sql = "update act set progress = $3, alive_at = $4 where caller = $1 and request_id = $2";
    set(pool, sql, act, progress).await
}

/// Notes how an act ended.
pub(crate) async fn set_outcome(executor: impl PgExecutor<'_>, act: &Act, outcome: &Value) -> Result<(), Fault> {
    let sql = "update act set outcome = $3, alive_at = $4 where caller = $1 and request_id = $2";
    set(executor, sql, act, outcome).await
}

async fn set(executor: impl PgExecutor<'_>, sql: &'static str, act: &Act, value: &Value) -> Result<(), Fault> {
    sqlx::query(sql).bind(&act.caller).bind(&act.request_id).bind(value).bind(Utc::now()).execute(executor).await?;
    Ok(())
}

/// Says that somebody works on the act, and under which entry of the trail.
pub(crate) async fn keep_alive(executor: impl PgExecutor<'_>, act: &Act, audit_entry_id: Uuid) -> Result<(), Fault> {
    sqlx::query("update act set alive_at = $3, audit_entry_id = $4 where caller = $1 and request_id = $2")
        .bind(&act.caller)
        .bind(&act.request_id)
        .bind(Utc::now())
        .bind(audit_entry_id)
        .execute(executor)
        .await?;
    Ok(())
}
