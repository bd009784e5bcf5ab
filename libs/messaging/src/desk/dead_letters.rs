//! Looking at what failed.

use openorder_telemetry::TraceContext;
use openorder_types::Fault;
use sqlx::{Postgres, QueryBuilder, Row, postgres::PgRow};

use super::{
    Attempt, Cause, Counts, DeadLetter, DeadLetterDetail, Desk, Filter, Page, ParkedMessage, filter::Time, limit,
};
use crate::consumer::stored;

/// Columns of a list, of the table with the alias `p`. The trace's parent stands in the headers, in hexadecimal. Key and
/// type are as long as somebody else liked, and cut: a page of them has to fit into an answer.
const LISTED: &str = "p.sequence, p.topic, substring(p.key for 1024) as key, p.partition, p.\"offset\", p.event_id, \
                      left(p.event_type, 256) as event_type, p.attempts, \
                      p.next_attempt_at, p.error_class, p.error_reason, p.error_text, p.recorded_at, p.parked_at, \
                      p.dead_at, p.replay_job_id, \
                      (select value ->> 1 from jsonb_array_elements(p.headers) value \
                       where value ->> 0 = 'traceparent' limit 1) as traceparent";
/// What only dead letters have.
const DEAD_LISTED: &str = ", octet_length(p.payload)::bigint as payload_bytes, \
                          (select count(*) from parked_message later where later.topic = p.topic and later.key_hash = p.key_hash \
                             and later.sequence > p.sequence) as waiting_behind";

impl Desk {
    /// Dead letters, oldest first, at most `page_size` after the sequence `after`.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn dead_letters(
        &self,
        filter: &Filter,
        after: Option<i64>,
        page_size: u32,
    ) -> Result<Page<DeadLetter>, Fault> {
        let limit = limit(page_size);
        let mut query =
            QueryBuilder::new(format!("select {LISTED}{DEAD_LISTED} from parked_message p where p.state = 2"));
        filter.push_to(&mut query, Time::Dead);
        push_page(&mut query, after, limit);
        let rows = query.build().fetch_all(self.pool()).await?;
        let letters = rows.iter().map(dead_letter).collect::<Result<_, _>>()?;
        Ok(Page::of(letters, limit, |letter: &DeadLetter| letter.sequence))
    }

    /// One dead letter with payload, headers and attempts; `None` when there is none of that sequence.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn dead_letter(&self, sequence: i64) -> Result<Option<DeadLetterDetail>, Fault> {
        let mut query = QueryBuilder::new(format!(
            "select {LISTED}{DEAD_LISTED}, p.payload, p.headers, attempts_of(p.sequence) as attempts_made \
             from parked_message p where p.state = 2 and p.sequence = "
        ));
        query.push_bind(sequence);
        let Some(row) = query.build().fetch_optional(self.pool()).await? else { return Ok(None) };
        let dead_letter = dead_letter(&row)?;
        let payload = row.try_get("payload")?;
        let headers = stored::headers(row.try_get("headers")?)?;
        let attempts = attempts(row.try_get("attempts_made")?)?;
        Ok(Some(DeadLetterDetail { dead_letter, payload, headers, attempts }))
    }

    /// Dead letters by their cause, most frequent first, at most `page_size` causes.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn causes(&self, filter: &Filter, page_size: u32) -> Result<Vec<Cause>, Fault> {
        let mut query = QueryBuilder::new(
            "select topic, left(event_type, 256) as event_type, error_class, error_reason, (array_agg(error_text order by dead_at desc))[1] as error_text, \
                    count(*) as count, count(distinct key_hash) as keys, min(dead_at) as first_at, max(dead_at) as last_at \
             from parked_message p where p.state = 2",
        );
        filter.push_to(&mut query, Time::Dead);
        query.push(" group by topic, left(event_type, 256), error_class, error_reason order by count desc, topic, 2, error_reason limit ");
        query.push_bind(limit(page_size));
        let rows = query.build().fetch_all(self.pool()).await?;
        Ok(rows.iter().map(cause).collect::<Result<_, _>>()?)
    }

    /// Parked messages (not the dead ones), oldest first, at most `page_size` after the sequence `after`.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn parked(
        &self,
        filter: &Filter,
        after: Option<i64>,
        page_size: u32,
    ) -> Result<Page<ParkedMessage>, Fault> {
        let limit = limit(page_size);
        let mut query = QueryBuilder::new(format!("select {LISTED} from parked_message p where p.state = 1"));
        filter.push_to(&mut query, Time::Parked);
        push_page(&mut query, after, limit);
        let rows = query.build().fetch_all(self.pool()).await?;
        let parked = rows.iter().map(parked).collect::<Result<_, _>>()?;
        Ok(Page::of(parked, limit, |parked: &ParkedMessage| parked.sequence))
    }

    /// How many messages are parked and dead.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn counts(&self) -> Result<Counts, Fault> {
        let row = sqlx::query(
            "select count(*) filter (where state = 1) as parked, \
                    count(*) filter (where state = 1 and next_attempt_at is null) as waiting, \
                    count(*) filter (where state = 2) as dead, \
                    count(*) filter (where state = 2 and published_at is null) as unpublished, \
                    min(parked_at) filter (where state = 1) as oldest_parked_at, \
                    min(dead_at) filter (where state = 2) as oldest_dead_at from parked_message",
        )
        .fetch_one(self.pool())
        .await?;
        Ok(Counts {
            parked: row.try_get("parked")?,
            waiting: row.try_get("waiting")?,
            dead: row.try_get("dead")?,
            unpublished: row.try_get("unpublished")?,
            oldest_parked_at: row.try_get("oldest_parked_at")?,
            oldest_dead_at: row.try_get("oldest_dead_at")?,
        })
    }
}

/// The rows after `after` in their order, one more than the page holds: it tells whether there is a next one.
pub(super) fn push_page(query: &mut QueryBuilder<Postgres>, after: Option<i64>, limit: i64) {
    if let Some(after) = after {
        query.push(" and p.sequence > ").push_bind(after);
    }
    query.push(" order by p.sequence limit ").push_bind(limit + 1);
}

/// The Kafka key of a row.
pub(super) fn key(row: &PgRow) -> Result<Vec<u8>, sqlx::Error> {
    Ok(stored::kafka_key(row.try_get("key")?, row.try_get("partition")?, row.try_get("offset")?))
}

fn trace_id(row: &PgRow) -> Result<String, sqlx::Error> {
    let hexadecimal: Option<String> = row.try_get("traceparent")?;
    let parent = hexadecimal.map(|text| stored::unhex(&text)).unwrap_or_default();
    let context = std::str::from_utf8(&parent).ok().and_then(|parent| TraceContext::parse(parent, None));
    Ok(context.map(|context| context.trace_id()).unwrap_or_default())
}

fn dead_letter(row: &PgRow) -> Result<DeadLetter, sqlx::Error> {
    Ok(DeadLetter {
        sequence: row.try_get("sequence")?,
        topic: row.try_get("topic")?,
        key: key(row)?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        trace_id: trace_id(row)?,
        payload_bytes: row.try_get("payload_bytes")?,
        attempts: row.try_get("attempts")?,
        error_class: row.try_get("error_class")?,
        error_reason: row.try_get("error_reason")?,
        error_text: row.try_get("error_text")?,
        recorded_at: row.try_get("recorded_at")?,
        parked_at: row.try_get("parked_at")?,
        dead_at: row.try_get("dead_at")?,
        waiting_behind: row.try_get("waiting_behind")?,
        replay_job_id: row.try_get("replay_job_id")?,
    })
}

fn parked(row: &PgRow) -> Result<ParkedMessage, sqlx::Error> {
    Ok(ParkedMessage {
        sequence: row.try_get("sequence")?,
        topic: row.try_get("topic")?,
        key: key(row)?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        trace_id: trace_id(row)?,
        attempts: row.try_get("attempts")?,
        next_attempt_at: row.try_get("next_attempt_at")?,
        error_class: row.try_get("error_class")?,
        error_reason: row.try_get("error_reason")?,
        error_text: row.try_get("error_text")?,
        parked_at: row.try_get("parked_at")?,
        replay_job_id: row.try_get("replay_job_id")?,
    })
}

fn cause(row: &PgRow) -> Result<Cause, sqlx::Error> {
    Ok(Cause {
        topic: row.try_get("topic")?,
        event_type: row.try_get("event_type")?,
        error_class: row.try_get("error_class")?,
        error_reason: row.try_get("error_reason")?,
        error_text: row.try_get("error_text")?,
        count: row.try_get("count")?,
        keys: row.try_get("keys")?,
        first_at: row.try_get("first_at")?,
        last_at: row.try_get("last_at")?,
    })
}

/// Attempts as the function `attempts_of` gives them.
pub(super) fn attempts(stored: serde_json::Value) -> Result<Vec<Attempt>, Fault> {
    serde_json::from_value(stored).map_err(Fault::permanent)
}
