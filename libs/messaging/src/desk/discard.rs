//! Giving a dead letter up, and what was done with those that are no more.

use openorder_types::{CallError, Fault, Rejection, Timestamp};
use sqlx::{PgExecutor, QueryBuilder, Row, postgres::PgRow};
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
    database::fault,
};

/// What is given up, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// Of the dead letter.
    pub sequence: i64,
    /// Who asked: subject of the caller, kept with the history.
    pub requested_by: String,
    /// Why, 1 to 500 characters.
    pub reason: String,
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
                    from parked_message where sequence = $1";

impl Desk {
    /// Gives a dead letter up: it leaves with its history kept, and what waits behind it flows on.
    /// Asking again for one that was discarded gives the same entry.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` `REASON_INVALID`; `NOT_FOUND` `DEAD_LETTER_UNKNOWN`; `FAILED_PRECONDITION`
    /// `DEAD_LETTER_IN_REPLAY` while a replay has it in hand; an outage of the database.
    pub async fn discard(&self, discard: &Discard) -> Result<HistoryEntry, CallError> {
        check_reason(&discard.reason)?;
        let mut unit = self.begin().await?;
        let now = unit.now();
        // Under the lock of the row: whoever works on its key is waited for.
        let found: Option<(i16, Option<Uuid>)> =
            sqlx::query_as("select state, replay_job_id from parked_message where sequence = $1 for update")
                .bind(discard.sequence)
                .fetch_optional(unit.connection())
                .await
                .map_err(fault)?;
        match found {
            // Also one that a replay has not released yet: it is left out of it.
            Some((2, _)) => {}
            Some((_, Some(job_id))) => return Err(in_replay(job_id).into()),
            Some((_, None)) => return Err(unknown(discard.sequence).into()),
            None => return self.discarded_before(discard.sequence).await,
        }
        sqlx::query(KEEP)
            .bind(discard.sequence)
            .bind(now)
            .bind(&discard.requested_by)
            .bind(&discard.reason)
            .execute(unit.connection())
            .await
            .map_err(fault)?;
        sqlx::query("update replay_item set outcome = 6, finished_at = $2 where sequence = $1 and outcome = 1")
            .bind(discard.sequence)
            .bind(now)
            .execute(unit.connection())
            .await
            .map_err(fault)?;
        due::remove(unit.connection(), &[discard.sequence], now).await?;
        let entry = self.entry(unit.connection(), discard.sequence).await?;
        unit.commit().await?;
        tracing::info!(sequence = discard.sequence, by = discard.requested_by, "dead letter discarded");
        entry.ok_or(CallError::Internal)
    }

    async fn discarded_before(&self, sequence: i64) -> Result<HistoryEntry, CallError> {
        let entry = self.entry(self.pool(), sequence).await?;
        match entry {
            Some(entry) if entry.resolution == Resolution::Discarded => Ok(entry),
            _ => Err(unknown(sequence).into()),
        }
    }

    async fn entry(&self, executor: impl PgExecutor<'_>, sequence: i64) -> Result<Option<HistoryEntry>, Fault> {
        let row = sqlx::query("select * from dead_letter_history where sequence = $1")
            .bind(sequence)
            .fetch_optional(executor)
            .await
            .map_err(fault)?;
        row.as_ref().map(history_entry).transpose()
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
        let rows = query.build().fetch_all(self.pool()).await.map_err(fault)?;
        let entries = rows.iter().map(history_entry).collect::<Result<_, _>>()?;
        Ok(Page::of(entries, limit, |entry: &HistoryEntry| entry.sequence))
    }
}

fn unknown(sequence: i64) -> Rejection {
    Rejection::not_found("DEAD_LETTER_UNKNOWN", "there is no dead letter of this sequence").with("sequence", sequence)
}

fn in_replay(job_id: Uuid) -> Rejection {
    let message = "a replay has this message in hand; wait until it is through";
    Rejection::failed_precondition("DEAD_LETTER_IN_REPLAY", message).with("job_id", job_id)
}

fn history_entry(row: &PgRow) -> Result<HistoryEntry, Fault> {
    let resolution: String = row.try_get("resolution").map_err(fault)?;
    let headers = stored::headers(row.try_get("headers").map_err(fault)?)?;
    let attempts = attempts(row.try_get("attempts").map_err(fault)?)?;
    let read = || {
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
    };
    read().map_err(fault)
}
