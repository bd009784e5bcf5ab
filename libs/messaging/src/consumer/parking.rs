//! Parked messages: a message that failed waits here with its attempts, and later messages of its key behind it,
//! in order. All other keys flow.
//!
//! Who works on a key holds the lock of its first row, and no other. Only a row with a time is looked at, so a
//! thousand messages behind a dead one cost nothing; a row without one is given its time by whoever takes the row
//! before it away. That is safe because a row goes in without a time only under a share of the first row's lock: the
//! first row cannot leave before the new one can be seen. Where the lock is taken (the first row is being retried
//! at this moment), the new row gets a time instead of waiting: a retry never holds up the other keys of a batch.
//!
//! Keys are compared by their SHA-256, which has an index: Kafka's keys may be as long as its messages.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use openorder_runtime::compiled_here;
use openorder_types::{Fault, Timestamp};
use sqlx::{PgConnection, PgExecutor, Row};

use crate::{
    Received,
    consumer::{
        failure::{Failure, Verdict},
        stored::{self, Key, RecordTime},
    },
};

/// When a message is looked at that could not be put behind the first of its key, because that one is being retried.
const BEHIND_BUSY_DELAY: Duration = Duration::from_millis(500);

/// A message to be parked.
pub(crate) struct Park<'a> {
    pub(crate) message: &'a Received,
    pub(crate) recorded: RecordTime,
    /// Its first failure and what that comes to; `None` where it waits behind another one of its key.
    pub(crate) failed: Option<(&'a Failure, Verdict)>,
}

/// Which of the messages' keys have something parked.
#[compiled_here]
pub(crate) async fn parked_keys(connection: &mut PgConnection, messages: &[&Received]) -> Result<HashSet<Key>, Fault> {
    // Nearly always nothing is parked at all: then no key has to be looked up.
    let any = sqlx::query("select from parked_message order by sequence limit 1");
    if messages.is_empty() || any.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(HashSet::new());
    }
    let first = first_of_keys(connection, messages).await?;
    Ok(first.into_keys().collect())
}

/// The first parked message of each key that has one.
async fn first_of_keys(connection: &mut PgConnection, messages: &[&Received]) -> Result<HashMap<Key, i64>, Fault> {
    if messages.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: HashSet<Key> = messages.iter().map(|message| stored::key(message)).collect();
    let (topics, keys): (Vec<String>, Vec<Vec<u8>>) = keys.into_iter().unzip();
    let rows = sqlx::query(
        "select w.topic, w.key, p.sequence from unnest($1::text[], $2::bytea[]) as w (topic, key) \
         cross join lateral (select sequence from parked_message p where p.topic = w.topic and p.key_hash = sha256(w.key) \
                             order by sequence limit 1) p",
    )
    .bind(topics)
    .bind(keys)
    .fetch_all(connection)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?));
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}

/// Parks messages in their order.
#[compiled_here]
pub(crate) async fn park(connection: &mut PgConnection, parks: &[Park<'_>], now: Timestamp) -> Result<(), Fault> {
    if parks.is_empty() {
        return Ok(());
    }
    let messages: Vec<&Received> = parks.iter().map(|park| park.message).collect();
    let first = first_of_keys(connection, &messages).await?;
    let held = hold(connection, first.values().copied().collect()).await?;
    let mut rows = Rows::default();
    // Keys whose first row goes in here: nobody can take it away before this transaction ends.
    let mut begun: HashSet<Key> = HashSet::new();
    for park in parks {
        let key = stored::key(park.message);
        let place = match first.get(&key) {
            Some(sequence) if held.contains(sequence) => Place::Behind,
            Some(_) => Place::At(now + BEHIND_BUSY_DELAY),
            None if begun.contains(&key) => Place::Behind,
            None => Place::At(now),
        };
        begun.insert(key.clone());
        rows.push(park, key, place, now)?;
    }
    rows.insert(connection, now).await
}

/// Takes a share of the lock of these rows, of those that are free. They cannot leave before this transaction ends.
async fn hold(connection: &mut PgConnection, sequences: Vec<i64>) -> Result<HashSet<i64>, Fault> {
    if sequences.is_empty() {
        return Ok(HashSet::new());
    }
    let held: Vec<i64> = sqlx::query_scalar(
        "select sequence from parked_message where sequence = any($1) order by sequence for key share skip locked",
    )
    .bind(sequences)
    .fetch_all(connection)
    .await?;
    Ok(held.into_iter().collect())
}

enum Place {
    /// The one before it gives it its time.
    Behind,
    At(Timestamp),
}

/// Columns of the rows to insert.
#[derive(Default)]
struct Rows<'a> {
    topics: Vec<String>,
    keys: Vec<Vec<u8>>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
    recorded: Vec<Timestamp>,
    recorded_by_broker: Vec<bool>,
    ids: Vec<uuid::Uuid>,
    types: Vec<String>,
    payloads: Vec<&'a [u8]>,
    headers: Vec<serde_json::Value>,
    states: Vec<i16>,
    attempts: Vec<i32>,
    next: Vec<Option<Timestamp>>,
    dead: Vec<Option<Timestamp>>,
    failures: Vec<Option<&'a Failure>>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, park: &Park<'a>, key: Key, place: Place, now: Timestamp) -> Result<(), Fault> {
        let message = park.message;
        self.topics.push(key.0);
        self.keys.push(key.1);
        self.partitions.push(message.partition);
        self.offsets.push(message.offset);
        self.recorded.push(park.recorded.at);
        self.recorded_by_broker.push(park.recorded.by_broker);
        self.ids.push(message.event_id);
        // Whatever stood in the header: PostgreSQL keeps no NUL in a text.
        self.types.push(message.event_type.replace('\0', ""));
        self.payloads.push(&message.payload);
        self.headers.push(stored::headers_json(&message.headers)?);
        let (state, next, dead) = match (&park.failed, place) {
            (Some((_, Verdict::Dead)), _) => (2, None, Some(now)),
            (_, Place::Behind) => (1, None, None),
            (Some((_, Verdict::Park(at) | Verdict::Postpone(at))), Place::At(_)) => (1, Some(*at), None),
            (None, Place::At(at)) => (1, Some(at), None),
        };
        self.states.push(state);
        self.next.push(next);
        self.dead.push(dead);
        self.attempts.push(i32::from(park.failed.is_some_and(|(_, verdict)| verdict.counts())));
        self.failures.push(park.failed.as_ref().map(|(failure, _)| *failure));
        Ok(())
    }

    async fn insert(self, connection: &mut PgConnection, now: Timestamp) -> Result<(), Fault> {
        let class = |failure: &Option<&Failure>| failure.map_or("", |failure| failure.class.as_str());
        let reason = |failure: &Option<&Failure>| failure.map_or("", |failure| failure.reason);
        let text = |failure: &Option<&'a Failure>| failure.map_or("", |failure| failure.text.as_str());
        // The first failure of a message is its first attempt on record.
        sqlx::query(
            "with parked as (\
               insert into parked_message (topic, key, partition, \"offset\", recorded_at, event_id, event_type, payload, \
                                           headers, state, attempts, next_attempt_at, dead_at, error_class, error_reason, \
                                           error_text, parked_at, recorded_by_broker) \
               select topic, key, partition, \"offset\", recorded_at, event_id, event_type, payload, headers, state, \
                      attempts, next_attempt_at, dead_at, error_class, error_reason, error_text, $17, \
                      recorded_by_broker \
               from unnest($1::text[], $2::bytea[], $3::int[], $4::bigint[], $5::timestamptz[], $6::uuid[], $7::text[], \
                           $8::bytea[], $9::jsonb[], $10::smallint[], $11::int[], $12::timestamptz[], \
                           $13::timestamptz[], $14::text[], $15::text[], $16::text[], $18::bool[]) with ordinality \
                    as n (topic, key, partition, \"offset\", recorded_at, event_id, event_type, payload, headers, state, \
                          attempts, next_attempt_at, dead_at, error_class, error_reason, error_text, recorded_by_broker, \
                          place) \
               order by place \
               returning sequence, attempts, error_class, error_reason, error_text) \
             insert into parked_attempt (sequence, number, attempted_at, error_class, error_reason, error_text) \
             select sequence, 1, $17, error_class, error_reason, error_text from parked where attempts = 1",
        )
        .bind(self.topics)
        .bind(self.keys)
        .bind(self.partitions)
        .bind(self.offsets)
        .bind(self.recorded)
        .bind(self.ids)
        .bind(self.types)
        .bind(self.payloads)
        .bind(self.headers)
        .bind(self.states)
        .bind(self.attempts)
        .bind(self.next)
        .bind(self.dead)
        .bind(self.failures.iter().map(class).collect::<Vec<_>>())
        .bind(self.failures.iter().map(reason).collect::<Vec<_>>())
        .bind(self.failures.iter().map(text).collect::<Vec<_>>())
        .bind(now)
        .bind(self.recorded_by_broker)
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// How many messages are parked and dead: for the metrics.
pub(crate) async fn counts(executor: impl PgExecutor<'_>) -> Result<(i64, i64), Fault> {
    let row = sqlx::query(
        "select count(*) filter (where state = 1) as parked, count(*) filter (where state = 2) as dead from parked_message",
    )
    .fetch_one(executor)
    .await?;
    Ok((row.try_get("parked")?, row.try_get("dead")?))
}

/// What the messages in the table wait for: for its bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// To be tried again, by themselves or behind one that is.
    pub(crate) retried: i64,
    /// Dead, or behind a dead one: for an operator.
    pub(crate) stopped: i64,
}

/// Counts what waits for what.
pub(crate) async fn waiting(executor: impl PgExecutor<'_>) -> Result<Waiting, Fault> {
    let row = sqlx::query(
        "with dead as (select topic, key_hash, min(sequence) as first from parked_message where state = 2 \
                       group by topic, key_hash) \
         select count(*) filter (where dead.first is null or p.sequence < dead.first) as retried, \
                count(*) filter (where p.sequence >= dead.first) as stopped \
         from parked_message p left join dead on dead.topic = p.topic and dead.key_hash = p.key_hash",
    )
    .fetch_one(executor)
    .await?;
    Ok(Waiting { retried: row.try_get("retried")?, stopped: row.try_get("stopped")? })
}

/// Which of the messages' keys have a dead message in the table.
#[compiled_here]
pub(crate) async fn stopped_keys(connection: &mut PgConnection, messages: &[&Received]) -> Result<HashSet<Key>, Fault> {
    let keys: HashSet<Key> = messages.iter().map(|message| stored::key(message)).collect();
    let (topics, keys): (Vec<String>, Vec<Vec<u8>>) = keys.into_iter().unzip();
    let rows = sqlx::query(
        "select w.topic, w.key from unnest($1::text[], $2::bytea[]) as w (topic, key) \
         where exists (select from parked_message p \
                       where p.topic = w.topic and p.key_hash = sha256(w.key) and p.state = 2)",
    )
    .bind(topics)
    .bind(keys)
    .fetch_all(connection)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
}
