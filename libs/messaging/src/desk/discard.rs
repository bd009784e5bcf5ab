//! Giving a dead letter up, and what was done with those that are no more.

use openorder_types::{CallError, Fault, Timestamp};
use sqlx::{PgConnection, QueryBuilder, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    Attempt, Desk, Filter, Page, check_reason,
    dead_letters::{attempts, key, push_page},
    filter::Time,
    limit,
};
use crate::{
    RawHeaders,
    consumer::{due, stored},
};

/// Which dead letters are given up, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// Their sequences.
    pub sequences: Vec<i64>,
    /// Who asked: subject of the caller, kept with the history.
    pub requested_by: String,
    /// Why, 1 to 500 characters.
    pub reason: String,
}

/// How many of the dead letters were given up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Given up now or before.
    pub discarded: u64,
    /// Left alone: a replay has them in hand.
    pub in_replay: u64,
    /// Left alone: not dead, or no more.
    pub unknown: u64,
}

/// How a dead letter came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Given up by an operator.
    Discarded,
    /// A replay of it succeeded.
    Replayed,
}

/// A dead letter that is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The sequence that it had.
    pub sequence: i64,
    /// Topic without the deployment's prefix.
    pub topic: String,
    /// Kafka key; empty when it had none.
    pub key: Vec<u8>,
    /// Partition that it was read from.
    pub partition: i32,
    /// Offset that it was read from.
    pub offset: i64,
    /// CloudEvents id.
    pub event_id: Uuid,
    /// CloudEvents type.
    pub event_type: String,
    /// Its value.
    pub payload: Vec<u8>,
    /// Its headers.
    pub headers: RawHeaders,
    /// Class of its last failure.
    pub error_class: String,
    /// Stable reason of its last failure.
    pub error_reason: String,
    /// Text of its last failure.
    pub error_text: String,
    /// Its last failed attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// When it was given up by the service.
    pub dead_at: Option<Timestamp>,
    /// What was done.
    pub resolution: Resolution,
    /// When.
    pub resolved_at: Timestamp,
    /// By whom.
    pub resolved_by: String,
    /// Why; the reason of the discard or of the replay.
    pub reason: String,
}

/// What moves a row to the history; the same columns in both tables.
const KEEP: &str = "insert into dead_letter_history (sequence, topic, key, partition, \"offset\", recorded_at, event_id, \
                    event_type, payload, headers, error_class, error_reason, error_text, attempts, dead_at, resolution, \
                    resolved_at, resolved_by, reason) \
                    select sequence, topic, key, partition, \"offset\", recorded_at, event_id, event_type, payload, \
                    headers, error_class, error_reason, error_text, attempts_of(sequence), dead_at, 'discarded', $2, $3, $4 \
                    from parked_message where sequence = any($1)";

impl Desk {
    /// Gives dead letters up in one transaction: they leave with their history kept, and what waits behind them flows
    /// on. One that was discarded before counts as discarded. Nothing of the letters themselves leaves the database:
    /// each may be as large as Kafka lets a record be.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` `REASON_INVALID`; an outage of the database.
    pub async fn discard(&self, discard: &Discard) -> Result<Discarded, CallError> {
        check_reason(&discard.reason)?;
        let mut unit = self.begin().await?;
        let now = unit.now();
        // Under the locks of the rows: whoever works on their keys is waited for.
        let found: Vec<(i64, i16, Option<Uuid>)> = sqlx::query_as(
            "select sequence, state, replay_job_id from parked_message where sequence = any($1) order by sequence for update",
        )
        .bind(&discard.sequences)
        .fetch_all(unit.connection())
        .await?;
        let before = discarded_before(unit.connection(), &discard.sequences).await?;
        // Also one that a replay has not released yet: it is left out of it.
        let dead: Vec<i64> = found.iter().filter(|(_, state, _)| *state == 2).map(|(sequence, ..)| *sequence).collect();
        let in_replay = found.iter().filter(|(_, state, job)| *state != 2 && job.is_some()).count();
        let mut asked = discard.sequences.clone();
        asked.sort_unstable();
        asked.dedup();
        let discarded = Discarded {
            discarded: dead.len() as u64 + before,
            in_replay: in_replay as u64,
            unknown: (asked.len() as u64).saturating_sub(dead.len() as u64 + before + in_replay as u64),
        };
        if dead.is_empty() {
            return Ok(discarded);
        }
        sqlx::query(KEEP)
            .bind(&dead)
            .bind(now)
            .bind(&discard.requested_by)
            .bind(&discard.reason)
            .execute(unit.connection())
            .await?;
        sqlx::query("update replay_item set outcome = 6, finished_at = $2 where sequence = any($1) and outcome = 1")
            .bind(&dead)
            .bind(now)
            .execute(unit.connection())
            .await?;
        due::remove(unit.connection(), &dead, now).await?;
        unit.commit().await?;
        tracing::info!(sequences = ?dead, by = discard.requested_by, "dead letters discarded");
        Ok(discarded)
    }

    /// What was discarded or replayed with success, by sequence; the filter's times are those of the resolution.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn history(
        &self,
        filter: &Filter,
        after: Option<i64>,
        page_size: u32,
    ) -> Result<Page<HistoryEntry>, Fault> {
        let limit = limit(page_size);
        let mut query = QueryBuilder::new("select p.* from dead_letter_history p where true");
        filter.push_to(&mut query, Time::Resolved);
        push_page(&mut query, after, limit);
        let rows = query.build().fetch_all(self.pool()).await?;
        let entries = rows.iter().map(history_entry).collect::<Result<_, _>>()?;
        Ok(Page::of(entries, limit, |entry: &HistoryEntry| entry.sequence))
    }
}

/// How many of the sequences were discarded before.
async fn discarded_before(connection: &mut PgConnection, sequences: &[i64]) -> Result<u64, Fault> {
    let before: i64 = sqlx::query_scalar(
        "select count(*) from dead_letter_history where sequence = any($1) and resolution = 'discarded'",
    )
    .bind(sequences)
    .fetch_one(connection)
    .await?;
    Ok(before.unsigned_abs())
}

fn history_entry(row: &PgRow) -> Result<HistoryEntry, Fault> {
    let resolution: String = row.try_get("resolution")?;
    let headers = stored::headers(row.try_get("headers")?)?;
    let attempts = attempts(row.try_get("attempts")?)?;
    Ok(HistoryEntry {
        sequence: row.try_get("sequence")?,
        topic: row.try_get("topic")?,
        key: key(row)?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        payload: row.try_get("payload")?,
        headers,
        error_class: row.try_get("error_class")?,
        error_reason: row.try_get("error_reason")?,
        error_text: row.try_get("error_text")?,
        attempts,
        dead_at: row.try_get("dead_at")?,
        resolution: if resolution == "replayed" { Resolution::Replayed } else { Resolution::Discarded },
        resolved_at: row.try_get("resolved_at")?,
        resolved_by: row.try_get("resolved_by")?,
        reason: row.try_get("reason")?,
    })
}
