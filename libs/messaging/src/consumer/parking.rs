//! Parked messages: a message that failed waits here with its attempts, and later messages of its key behind it,
//! in order. All other keys flow.

use std::{collections::HashSet, time::Duration};

use openorder_types::{Fault, Timestamp};
use rand::Rng;
use sqlx::{PgConnection, PgExecutor, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{ConsumerSettings, RawHeaders, Received, consumer::receive, database::fault};

/// What a key is, across restarts and instances.
pub(crate) type Key = (String, Vec<u8>);

/// Whether a parked message is tried again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Tried again at its time.
    Parked = 1,
    /// Its key waits for an operator.
    Stopped = 2,
}

/// A message to be parked.
pub(crate) struct Park<'a> {
    pub(crate) message: &'a Received,
    pub(crate) state: State,
    pub(crate) attempts: i32,
    pub(crate) next_attempt_at: Timestamp,
    pub(crate) error: String,
}

/// A parked message that is due, the first of its key.
pub(crate) struct Due {
    pub(crate) sequence: i64,
    pub(crate) attempts: i32,
    pub(crate) message: Received,
}

/// The key of a message; one without a key is a key of its own.
pub(crate) fn key(message: &Received) -> Key {
    let key = if message.key.is_empty() {
        format!("\0{}/{}", message.partition, message.offset).into_bytes()
    } else {
        message.key.clone()
    };
    (message.topic.clone(), key)
}

/// Which of the messages' keys have something parked.
pub(crate) async fn parked_keys(connection: &mut PgConnection, messages: &[&Received]) -> Result<HashSet<Key>, Fault> {
    if messages.is_empty() {
        return Ok(HashSet::new());
    }
    let keys: HashSet<Key> = messages.iter().map(|message| key(message)).collect();
    let (topics, keys): (Vec<String>, Vec<Vec<u8>>) = keys.into_iter().unzip();
    let rows = sqlx::query(
        "select w.topic, w.key from unnest($1::text[], $2::bytea[]) as w (topic, key) \
         where exists (select from parked_message p where p.topic = w.topic and p.key = w.key)",
    )
    .bind(topics)
    .bind(keys)
    .fetch_all(connection)
    .await
    .map_err(fault)?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(fault)?, row.try_get(1).map_err(fault)?))).collect()
}

pub(crate) async fn park(connection: &mut PgConnection, parks: &[Park<'_>], now: Timestamp) -> Result<(), Fault> {
    for parked in parks {
        let message = parked.message;
        let (topic, key) = key(message);
        let headers: Vec<(&str, String)> = message.headers.iter().map(|(name, value)| (name, hex(value))).collect();
        let headers = serde_json::to_value(headers).map_err(Fault::permanent)?;
        sqlx::query(
            "insert into parked_message (topic, key, partition, \"offset\", event_id, event_type, payload, headers, \
                                         state, attempts, next_attempt_at, last_error, parked_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(topic)
        .bind(key)
        .bind(message.partition)
        .bind(message.offset)
        .bind(message.event_id)
        .bind(&message.event_type)
        .bind(&message.payload)
        .bind(headers)
        .bind(parked.state as i16)
        .bind(parked.attempts)
        .bind(parked.next_attempt_at)
        .bind(&parked.error)
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(fault)?;
    }
    Ok(())
}

/// How many messages are parked and stopped: for the bound and the metrics.
pub(crate) async fn counts(executor: impl PgExecutor<'_>) -> Result<(i64, i64), Fault> {
    let row = sqlx::query(
        "select count(*) filter (where state = 1) as parked, count(*) filter (where state = 2) as stopped from parked_message",
    )
    .fetch_one(executor)
    .await
    .map_err(fault)?;
    Ok((row.try_get("parked").map_err(fault)?, row.try_get("stopped").map_err(fault)?))
}

/// Locks and returns the first parked message whose time has come and that no other instance holds.
pub(crate) async fn next_due(connection: &mut PgConnection, now: Timestamp) -> Result<Option<Due>, Fault> {
    let row = sqlx::query(
        "select sequence, topic, key, partition, \"offset\", event_id, payload, headers, attempts \
         from parked_message p \
         where state = 1 and next_attempt_at <= $1 \
           and not exists (select from parked_message earlier \
                           where earlier.topic = p.topic and earlier.key = p.key and earlier.sequence < p.sequence) \
         order by next_attempt_at limit 1 for update skip locked",
    )
    .bind(now)
    .fetch_optional(connection)
    .await
    .map_err(fault)?;
    row.as_ref().map(due).transpose()
}

fn due(row: &PgRow) -> Result<Due, Fault> {
    let headers: serde_json::Value = row.try_get("headers").map_err(fault)?;
    let headers: Vec<(String, String)> = serde_json::from_value(headers).map_err(Fault::permanent)?;
    let headers = headers.iter().fold(RawHeaders::default(), |mut all, (name, value)| {
        all.push(name, &unhex(value));
        all
    });
    let topic: String = row.try_get("topic").map_err(fault)?;
    let key: Vec<u8> = row.try_get("key").map_err(fault)?;
    let payload: Vec<u8> = row.try_get("payload").map_err(fault)?;
    let (partition, offset) = (row.try_get("partition").map_err(fault)?, row.try_get("offset").map_err(fault)?);
    let mut message = receive::from_parts(&topic, partition, offset, Some(&key), Some(&payload), headers);
    message.event_id = row.try_get::<Uuid, _>("event_id").map_err(fault)?;
    Ok(Due {
        sequence: row.try_get("sequence").map_err(fault)?,
        attempts: row.try_get("attempts").map_err(fault)?,
        message,
    })
}

/// A parked message that was handled leaves in the transaction of its effects.
pub(crate) async fn unpark(connection: &mut PgConnection, sequence: i64) -> Result<(), Fault> {
    sqlx::query("delete from parked_message where sequence = $1")
        .bind(sequence)
        .execute(connection)
        .await
        .map_err(fault)?;
    Ok(())
}

/// Notes a failed attempt.
pub(crate) async fn note_failure(
    executor: impl PgExecutor<'_>,
    sequence: i64,
    attempts: i32,
    state: State,
    next_attempt_at: Timestamp,
    error: &str,
) -> Result<(), Fault> {
    sqlx::query(
        "update parked_message set attempts = $2, state = $3, next_attempt_at = $4, last_error = $5 where sequence = $1",
    )
    .bind(sequence)
    .bind(attempts)
    .bind(state as i16)
    .bind(next_attempt_at)
    .bind(error)
    .execute(executor)
    .await
    .map_err(fault)?;
    Ok(())
}

/// When the next attempt is due, after `attempts` failed ones: exponential, capped, with full jitter.
pub(crate) fn next_attempt_at(settings: &ConsumerSettings, attempts: i32, now: Timestamp) -> Timestamp {
    let exponent = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(32);
    let ceiling = settings
        .retry_delay_base_ms
        .saturating_mul(1_u64.checked_shl(exponent).unwrap_or(u64::MAX))
        .min(settings.retry_delay_max_ms);
    now + Duration::from_millis(rand::rng().random_range(0..=ceiling))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_survive_parking_whatever_their_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unhex(&hex(&bytes)), bytes);
        }

        #[test]
        fn the_wait_never_exceeds_its_cap(attempts in 0..i32::MAX) {
            let settings = ConsumerSettings::default();
            let now = chrono::Utc::now();
            let wait = next_attempt_at(&settings, attempts, now) - now;
            prop_assert!(wait.num_milliseconds() >= 0);
            prop_assert!(wait.num_milliseconds().unsigned_abs() <= settings.retry_delay_max_ms);
        }
    }
}
