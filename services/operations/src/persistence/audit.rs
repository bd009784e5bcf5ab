//! Tables `audit_entry` and `audit_outcome`: the trail. Only inserts; the database refuses all else.

use std::time::Duration;

use chrono::Utc;
use openorder_types::{Fault, Timestamp, numbered};
use serde_json::Value;
use sqlx::{PgExecutor, PgPool, Row, postgres::PgRow};
use uuid::Uuid;

numbered! {
    /// How an act ended, or that it did not.
    pub(crate) enum State {
        /// At work.
        Started = 1 "STARTED",
        /// Done.
        Succeeded = 2 "SUCCEEDED",
        /// Refused; nothing was changed.
        Refused = 3 "REFUSED",
        /// It failed on its way.
        Failed = 4 "FAILED",
        /// Nobody works on it, and it has no outcome. Never stored.
        Unfinished = 5 "UNFINISHED",
    }
}

/// An act that is about to begin.
pub(crate) struct NewEntry<'a> {
    pub(crate) audit_entry_id: Uuid,
    pub(crate) method: &'static str,
    pub(crate) caller: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) arguments: &'a Value,
    pub(crate) trace_id: &'a str,
}

/// An entry with its outcome, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) audit_entry_id: Uuid,
    pub(crate) method: String,
    pub(crate) caller: String,
    pub(crate) reason: String,
    pub(crate) request_id: String,
    pub(crate) arguments: Value,
    pub(crate) trace_id: String,
    pub(crate) started_at: Timestamp,
    pub(crate) state: State,
    pub(crate) outcome: Option<Value>,
    pub(crate) ended_at: Option<Timestamp>,
}

/// Conditions of a list; all must hold.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) caller: Option<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) from: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) state: Option<State>,
    /// Older than this entry.
    pub(crate) before: Option<Uuid>,
    pub(crate) limit: i64,
}

/// Writes an entry.
pub(crate) async fn begin(executor: impl PgExecutor<'_>, new: &NewEntry<'_>) -> Result<(), Fault> {
    sqlx::query(
        "insert into audit_entry (audit_entry_id, method, caller, reason, request_id, arguments, trace_id, started_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new.audit_entry_id)
    .bind(new.method)
    .bind(new.caller)
    .bind(new.reason)
    .bind(new.request_id)
    .bind(new.arguments)
    .bind(new.trace_id)
    .bind(Utc::now())
    .execute(executor)
    .await?;
    Ok(())
}

/// Writes how an act ended; the first outcome stands.
pub(crate) async fn complete(
    executor: impl PgExecutor<'_>,
    entry: Uuid,
    state: State,
    outcome: &Value,
) -> Result<(), Fault> {
    sqlx::query(
        "insert into audit_outcome (audit_entry_id, state, outcome, ended_at) values ($1, $2, $3, $4) \
         on conflict do nothing",
    )
    .bind(entry)
    .bind(state.number())
    .bind(outcome)
    .bind(Utc::now())
    .execute(executor)
    .await?;
    Ok(())
}

/// An entry is at work while its act names it and was alive a moment ago.
const STATES: &str = "with trail as (select e.audit_entry_id, e.method, e.caller, e.reason, e.request_id, e.arguments, \
                             e.trace_id, e.started_at, o.outcome, o.ended_at, \
                             coalesce(o.state, case when a.alive_at >= $1 then 1 else 5 end)::int as state \
                      from audit_entry e left join audit_outcome o using (audit_entry_id) \
                                         left join act a using (audit_entry_id)) ";

/// Entries, the newest first.
pub(crate) async fn list(pool: &PgPool, filter: &Filter, alive_within: Duration) -> Result<Vec<Entry>, Fault> {
    let sql = format!(
        "{STATES} select audit_entry_id, method, caller, reason, request_id, arguments, trace_id, started_at, state, \
                         outcome, ended_at \
         from trail \
         where ($2::text is null or caller = $2) and (cardinality($3::text[]) = 0 or method = any ($3)) \
           and ($4::text is null or request_id = $4) and ($5::timestamptz is null or started_at >= $5) \
           and ($6::timestamptz is null or started_at < $6) and ($7::int is null or state = $7) \
           and ($8::uuid is null or audit_entry_id < $8) \
         order by audit_entry_id desc limit $9"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(Utc::now() - alive_within)
        .bind(&filter.caller)
        .bind(&filter.methods)
        .bind(&filter.request_id)
        .bind(filter.from)
        .bind(filter.until)
        .bind(filter.state.map(|state| i32::from(state.number())))
        .bind(filter.before)
        .bind(filter.limit)
        .fetch_all(pool)
        .await?;
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

fn read(row: &PgRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        audit_entry_id: row.try_get(0)?,
        method: row.try_get(1)?,
        caller: row.try_get(2)?,
        reason: row.try_get(3)?,
        request_id: row.try_get(4)?,
        arguments: row.try_get(5)?,
        trace_id: row.try_get(6)?,
        started_at: row.try_get(7)?,
        state: State::from_number(row.try_get::<i32, _>(8)?).unwrap_or(State::Unfinished),
        outcome: row.try_get(9)?,
        ended_at: row.try_get(10)?,
    })
}

/// How many acts began, have no outcome under any entry, and are worked on by nobody.
pub(crate) async fn unfinished(pool: &PgPool, alive_within: Duration) -> Result<i64, Fault> {
    Ok(sqlx::query_scalar("select count(*) from act where outcome is null and alive_at < $1")
        .bind(Utc::now() - alive_within)
        .fetch_one(pool)
        .await?)
}
