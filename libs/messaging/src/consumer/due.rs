//! Parked messages whose time has come: looked at, taken by the lock of the first row of their key, and given back.

use std::collections::HashSet;

use chrono::Utc;
use openorder_runtime::compiled_here;
use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, PgExecutor, PgPool, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    ConsumerSettings, Received,
    consumer::{
        failure::{Failure, Verdict},
        stored::{self, Key, RecordTime},
    },
    database::POSTGRES,
};

/// A parked message that is tried again.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) sequence: i64,
    pub(crate) attempts: i32,
    pub(crate) replay_job_id: Option<Uuid>,
    pub(crate) message: Received,
    pub(crate) recorded: RecordTime,
}

impl Due {
    /// Whether it failed before, and does not only wait behind another one.
    pub(crate) const fn has_failed(&self) -> bool {
        self.attempts > 0 || self.replay_job_id.is_some()
    }
}

/// Gives the first messages of keys whose time has come and that no other instance works on, and what waits behind
/// them, at most `limit` in all, in order. None of them is locked any more: [`take`] does that.
#[compiled_here]
pub(crate) async fn look(pool: &PgPool, limit: i64) -> Result<Vec<Due>, Fault> {
    let mut transaction = pool.begin().await.map_err(|error| Fault::outage(POSTGRES, error))?;
    let due = due(&mut transaction, Utc::now(), limit).await?;
    transaction.rollback().await?;
    Ok(due)
}

async fn due(connection: &mut PgConnection, now: Timestamp, limit: i64) -> Result<Vec<Due>, Fault> {
    let first = sqlx::query(
        "select sequence, topic, key, attempts from parked_message p \
         where next_attempt_at <= $1 and state = 1 \
           and not exists (select from parked_message earlier \
                           where earlier.topic = p.topic and earlier.key_hash = p.key_hash and earlier.sequence < p.sequence) \
         order by next_attempt_at limit $2 for update skip locked",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    if first.is_empty() {
        return Ok(Vec::new());
    }
    let (mut topics, mut keys, mut sequences, mut attempts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in &first {
        attempts.push(row.try_get::<i32, _>(3)?);
        sequences.push(row.try_get::<i64, _>(0)?);
        topics.push(row.try_get::<String, _>(1)?);
        keys.push(row.try_get::<Vec<u8>, _>(2)?);
    }
    // A statement of its own, after the locks: what went in behind a first row before it was locked can be seen.
    // One that failed before is tried alone: what waits behind it follows when it is through.
    let rows = sqlx::query(
        "select p.* from unnest($1::text[], $2::bytea[], $3::bigint[], $4::int[]) as f (topic, key, sequence, attempts) \
         cross join lateral (select * from parked_message p \
                             where p.topic = f.topic and p.key_hash = sha256(f.key) and p.sequence >= f.sequence \
                             order by sequence limit case when f.attempts = 0 then $5 else 1 end) p \
         order by p.sequence limit $5",
    )
    .bind(topics)
    .bind(keys)
    .bind(sequences)
    .bind(attempts)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let mut stopped: HashSet<Key> = HashSet::new();
    let mut due = Vec::with_capacity(rows.len());
    for row in &rows {
        let one = read(row)?;
        let key = stored::key(&one.message);
        if row.try_get::<i16, _>("state")? != 1 {
            stopped.insert(key);
        } else if !stopped.contains(&key) {
            due.push(one);
        }
    }
    Ok(due)
}

/// Locks the messages of `part`, which were looked at before in this order. A key whose first message is not there any
/// more, was tried meanwhile, or is in another's hands, is left out: its time comes again.
#[compiled_here]
pub(crate) async fn take(connection: &mut PgConnection, part: &[Due]) -> Result<Vec<Due>, Fault> {
    let sequences: Vec<i64> = part.iter().map(|due| due.sequence).collect();
    let attempts: Vec<i32> = part.iter().map(|due| due.attempts).collect();
    let locked: Vec<i64> = sqlx::query_scalar(
        "select sequence from parked_message p \
         where sequence = any($1) and state = 1 \
           and attempts = (select f.attempts from unnest($1::bigint[], $2::int[]) as f (sequence, attempts) \
                           where f.sequence = p.sequence) \
           and not exists (select from parked_message earlier \
                           where earlier.topic = p.topic and earlier.key_hash = p.key_hash and earlier.sequence < p.sequence \
                             and earlier.sequence <> all($1)) \
         order by sequence for update skip locked",
    )
    .bind(sequences)
    .bind(attempts)
    .fetch_all(connection)
    .await?;
    let locked: HashSet<i64> = locked.into_iter().collect();
    let mut stopped: HashSet<Key> = HashSet::new();
    let mut kept = Vec::with_capacity(part.len());
    for due in part {
        let key = stored::key(&due.message);
        if !locked.contains(&due.sequence) {
            stopped.insert(key);
        } else if !stopped.contains(&key) {
            kept.push(due.clone());
        }
    }
    Ok(kept)
}

fn read(row: &PgRow) -> Result<Due, Fault> {
    Ok(Due {
        sequence: row.try_get("sequence")?,
        attempts: row.try_get("attempts")?,
        replay_job_id: row.try_get("replay_job_id")?,
        message: stored::message(row)?,
        recorded: stored::record_time(row)?,
    })
}

/// Handled messages leave, in the transaction of their effects, and what waits behind them is due.
#[compiled_here]
pub(crate) async fn remove(connection: &mut PgConnection, handled: &[i64], now: Timestamp) -> Result<(), Fault> {
    if handled.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query("delete from parked_message where sequence = any($1) returning topic, key")
        .bind(handled)
        .fetch_all(&mut *connection)
        .await?;
    let mut keys: HashSet<Key> = HashSet::with_capacity(rows.len());
    for row in &rows {
        keys.insert((row.try_get(0)?, row.try_get(1)?));
    }
    let (topics, keys): (Vec<String>, Vec<Vec<u8>>) = keys.into_iter().unzip();
    sqlx::query(
        "update parked_message set next_attempt_at = $3 \
         where state = 1 and sequence in (\
           select (select min(sequence) from parked_message p where p.topic = k.topic and p.key_hash = sha256(k.key)) \
           from unnest($1::text[], $2::bytea[]) as k (topic, key))",
    )
    .bind(topics)
    .bind(keys)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that a message failed again. `false` when it is not there any more as it was: another instance was faster.
#[compiled_here]
pub(crate) async fn note_failure(
    connection: &mut PgConnection,
    due: &Due,
    failure: &Failure,
    verdict: Verdict,
    settings: &ConsumerSettings,
    now: Timestamp,
) -> Result<bool, Fault> {
    let (state, next, dead): (i16, _, _) = match verdict {
        Verdict::Park(at) | Verdict::Postpone(at) => (1, Some(at), None),
        Verdict::Dead => (2, None, Some(now)),
    };
    let changed = sqlx::query(
        "update parked_message set attempts = attempts + $9, state = $3, next_attempt_at = $4, dead_at = coalesce($5, dead_at), \
                                   published_at = null, error_class = $6, error_reason = $7, error_text = $8, \
                                   replay_job_id = case when $3 = 2 then null else replay_job_id end \
         where sequence = $1 and attempts = $2 and state = 1",
    )
    .bind(due.sequence)
    .bind(due.attempts)
    .bind(state)
    .bind(next)
    .bind(dead)
    .bind(failure.class.as_str())
    .bind(failure.reason)
    .bind(&failure.text)
    .bind(i32::from(verdict.counts()))
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    // Those that could not be put behind it while it was tried have no time of their own to look at.
    sqlx::query(
        "update parked_message p set next_attempt_at = null from parked_message first \
         where first.sequence = $1 and p.topic = first.topic and p.key_hash = first.key_hash \
           and p.sequence > first.sequence \
           and p.next_attempt_at is not null",
    )
    .bind(due.sequence)
    .execute(&mut *connection)
    .await?;
    if verdict.counts() {
        record_attempt(&mut *connection, due.sequence, failure, settings.attempts_recorded_max, now).await?;
    }
    Ok(true)
}

/// Records an attempt under the next number of its message; the oldest ones beyond the bound leave.
async fn record_attempt(
    connection: &mut PgConnection,
    sequence: i64,
    failure: &Failure,
    recorded_max: i32,
    now: Timestamp,
) -> Result<(), Fault> {
    let number: i32 = sqlx::query_scalar(
        "insert into parked_attempt (sequence, number, attempted_at, error_class, error_reason, error_text) \
         select $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5 from parked_attempt where sequence = $1 \
         returning number",
    )
    .bind(sequence)
    .bind(now)
    .bind(failure.class.as_str())
    .bind(failure.reason)
    .bind(&failure.text)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query("delete from parked_attempt where sequence = $1 and number <= $2")
        .bind(sequence)
        .bind(number.saturating_sub(recorded_max))
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes in their replays which of these messages were handled, and keeps them in the history; before they leave.
#[compiled_here]
pub(crate) async fn note_replayed(connection: &mut PgConnection, handled: &[i64], now: Timestamp) -> Result<(), Fault> {
    sqlx::query(
        "update replay_item i set outcome = 3, finished_at = $2 from parked_message p \
         where p.sequence = any($1) and i.job_id = p.replay_job_id and i.sequence = p.sequence and i.outcome = 2",
    )
    .bind(handled)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    keep_history(connection, handled, now).await
}

async fn keep_history(executor: impl PgExecutor<'_>, handled: &[i64], now: Timestamp) -> Result<(), Fault> {
    sqlx::query(
        "insert into dead_letter_history (sequence, topic, key, partition, \"offset\", recorded_at, event_id, event_type, \
                                          payload, headers, error_class, error_reason, error_text, attempts, dead_at, \
                                          resolution, resolved_at, resolved_by, reason) \
         select p.sequence, p.topic, p.key, p.partition, p.\"offset\", p.recorded_at, p.event_id, p.event_type, p.payload, \
                p.headers, p.error_class, p.error_reason, p.error_text, attempts_of(p.sequence), p.dead_at, \
                'replayed', $2, j.requested_by, j.reason \
         from parked_message p join replay_job j on j.job_id = p.replay_job_id where p.sequence = any($1) \
         on conflict (sequence) do nothing",
    )
    .bind(handled)
    .bind(now)
    .execute(executor)
    .await?;
    Ok(())
}

/// Notes in its replay that a message is dead again.
#[compiled_here]
pub(crate) async fn note_failed_again(
    connection: &mut PgConnection,
    due: &Due,
    failure: &Failure,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(job_id) = due.replay_job_id else { return Ok(()) };
    sqlx::query(
        "update replay_item set outcome = 4, finished_at = $3, error_reason = $4, error_text = $5 \
         where job_id = $1 and sequence = $2 and outcome = 2",
    )
    .bind(job_id)
    .bind(due.sequence)
    .bind(now)
    .bind(failure.reason)
    .bind(&failure.text)
    .execute(connection)
    .await?;
    Ok(())
}
