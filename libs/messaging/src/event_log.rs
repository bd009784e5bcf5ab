//! The event log: event store and outbox in one append-only table.
//!
//! Identity values are given before commit, so a reader that goes by `position > last` would skip a transaction
//! that commits late. Appends are therefore serialised: a position is drawn only while the append lock is held, which
//! is until the commit. Group commit makes that cheap.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use openorder_runtime::compiled_here;
use openorder_telemetry::TraceContext;
use openorder_types::{AggregateId, Fault, Timestamp};
use sqlx::{
    PgConnection, PgExecutor, Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::QueryScalar,
};
use uuid::Uuid;

use crate::{LoggedEvent, locks::AdvisoryLock, unit_of_work::PendingEvent};

/// Events of one transaction have its time; a transaction that began earlier may commit later, by this much at most.
pub(crate) const COMMIT_LATE_MAX: Duration = Duration::from_secs(120);

/// Appends the events, which then have the positions from the returned one on. None where these are not without a gap,
/// as they are unless somebody else draws positions without the lock. The transaction has to commit next: it holds that.
#[compiled_here]
pub(crate) async fn append(
    connection: &mut PgConnection,
    events: &[PendingEvent],
    now: Timestamp,
) -> Result<Option<i64>, Fault> {
    Ok(insertion(events, now).fetch_one(connection).await?)
}

/// The statement that appends the events, with all its values.
pub(crate) fn insertion(
    events: &[PendingEvent],
    now: Timestamp,
) -> QueryScalar<'_, Postgres, Option<i64>, PgArguments> {
    let count = events.len();
    let (mut ids, mut types, mut topics) =
        (Vec::with_capacity(count), Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut keys, mut aggregates) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (mut kinds, mut versions) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut payloads = Vec::with_capacity(count);
    let (mut traces, mut states) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for pending in events {
        let (event, trace) = (&pending.event, pending.trace());
        ids.push(pending.event_id);
        types.push(event.event_type);
        topics.push(event.topic);
        keys.push(event.key.as_ref().filter(|key| **key != event.aggregate_id));
        aggregates.push(&event.aggregate_id);
        kinds.push(event.aggregate_type);
        versions.push(event.aggregate_version);
        payloads.push(&*event.payload);
        traces.push(trace.is_valid().then(|| trace.to_bytes()));
        states.push(trace.has_tracestate().then(|| trace.tracestate()));
    }
    // The rows are made of what taking the lock gives, so the first position is drawn after it is held; then they are
    // drawn one after the other, by nobody else, in the order of the arrays.
    sqlx::query_scalar(
            "with held as materialized (select pg_advisory_xact_lock($12)), \
             appended as (\
               insert into event_log (event_id, event_type, topic, key, aggregate_id, aggregate_version, payload, \
                                      trace_context, tracestate, occurred_at, aggregate_type) \
               select unnest($1::uuid[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), \
                      unnest($6::bigint[]), unnest($7::bytea[]), unnest($8::bytea[]), unnest($9::text[]), $10, \
                      unnest($11::text[]) \
               from held \
               returning position) \
             select case when max(position) - min(position) = count(*) - 1 then min(position) end from appended",
        )
        .bind(ids)
        .bind(types)
        .bind(topics)
        .bind(keys)
        .bind(aggregates)
        .bind(versions)
        .bind(payloads)
        .bind(traces)
        .bind(states)
        .bind(now)
        .bind(kinds)
        .bind(AdvisoryLock::Append.number())
}

/// Reads a row of the columns that the queries below name, by their places: names would be looked up for each row.
pub(crate) fn logged(row: &PgRow) -> Result<LoggedEvent, sqlx::Error> {
    let aggregate_id: AggregateId = row.try_get::<&str, _>(5)?.into();
    let key: Option<&str> = row.try_get(4)?;
    let trace: Option<&[u8]> = row.try_get(8)?;
    let state: Option<&str> = row.try_get(9)?;
    Ok(LoggedEvent {
        position: row.try_get(0)?,
        event_id: row.try_get::<Uuid, _>(1)?,
        event_type: Cow::Owned(row.try_get(2)?),
        topic: Cow::Owned(row.try_get(3)?),
        key: key.map_or_else(|| aggregate_id.clone(), AggregateId::from),
        aggregate_id,
        aggregate_version: row.try_get(6)?,
        payload: Bytes::copy_from_slice(row.try_get(7)?),
        trace: trace.and_then(|trace| TraceContext::from_bytes(trace, state)).unwrap_or_default(),
        occurred_at: row.try_get(10)?,
    })
}

/// The events after `position`, oldest first, at most `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn read_after(executor: impl PgExecutor<'_>, position: i64, limit: i64) -> Result<Vec<LoggedEvent>, Fault> {
    let rows = sqlx::query(
        "select position, event_id, event_type, topic, key, aggregate_id, aggregate_version, payload, trace_context, \
                tracestate, occurred_at \
         from event_log where position > $1 order by position limit $2",
    )
    .bind(position)
    .bind(limit)
    .fetch_all(executor)
    .await?;
    Ok(rows.iter().map(logged).collect::<Result<_, _>>()?)
}

/// The history of one aggregate, in the order of its events, from behind this position of the log on, at most
/// `limit`.
///
/// # Errors
/// [`Fault`] of the database.
pub async fn history(
    executor: impl PgExecutor<'_>,
    aggregate_id: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<LoggedEvent>, Fault> {
    let rows = sqlx::query(
        "select position, event_id, event_type, topic, key, aggregate_id, aggregate_version, payload, trace_context, \
                tracestate, occurred_at \
         from event_log where aggregate_id = $1 and position > $2 order by position limit $3",
    )
    .bind(aggregate_id)
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await?;
    Ok(rows.iter().map(logged).collect::<Result<_, _>>()?)
}

/// A position that has no event of this time or later before it, by halving: positions are in the order of time, nearly.
pub(crate) async fn last_before(connection: &mut PgConnection, time: Timestamp) -> Result<i64, Fault> {
    let (mut low, mut high): (i64, i64) =
        sqlx::query_as("select coalesce(min(position), 1) - 1, coalesce(max(position), 0) from event_log")
            .fetch_one(&mut *connection)
            .await?;
    while low < high {
        let middle = low + (high - low) / 2;
        let next: Option<(i64, Timestamp)> =
            sqlx::query_as("select position, occurred_at from event_log where position > $1 order by position limit 1")
                .bind(middle)
                .fetch_optional(&mut *connection)
                .await?;
        match next {
            Some((position, at)) if at < time => low = position,
            _ => high = middle,
        }
    }
    Ok(low)
}
