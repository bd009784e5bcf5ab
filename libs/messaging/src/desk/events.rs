//! Reading the service's event log by time, aggregate and type.

use openorder_types::{Fault, Rejection, Timestamp};
use sqlx::QueryBuilder;

use super::{Desk, Page, limit};
use crate::{
    LoggedEvent,
    event_log::{self, COMMIT_LATE_MAX},
};

/// Which events of the log are meant: all conditions that are set have to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Decided at this time or later.
    pub from: Option<Timestamp>,
    /// Decided before this time.
    pub until: Option<Timestamp>,
    /// Topics without the deployment's prefix; empty for all.
    pub topics: Vec<String>,
    /// CloudEvents types; empty for all.
    pub event_types: Vec<String>,
    /// CloudEvents subject; one aggregate's events.
    pub aggregate_id: Option<String>,
}

/// Columns in the order that the log reads them.
const COLUMNS: &str = "position, event_id, event_type, topic, key, aggregate_id, aggregate_version, payload, \
                       trace_context, tracestate, occurred_at";
/// Rows of the log that one call looks at, so that a rare event does not make it read all.
const SCAN_MAX: i64 = 50_000;
/// How often it is written down at most that somebody reads the log, seconds.
const READING_NOTED_SECONDS: f64 = 10.0;

impl Desk {
    /// Events of this service's log in commit order, at most `page_size` after the position `after`. A page may hold
    /// fewer than asked, even none, and still have a next one: a call looks at a bounded part of the log. Refused with
    /// `EVENTS_PRUNED` where some of what is asked for may have been pruned.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn events(
        &self,
        filter: &EventFilter,
        after: Option<i64>,
        page_size: u32,
    ) -> Result<Result<Page<LoggedEvent>, Rejection>, Fault> {
        if let Some(pruned) = self.pruned(filter, after).await? {
            return Ok(Err(pruned));
        }
        let limit = limit(page_size);
        let begin = match (after, filter.from) {
            (Some(after), _) => after,
            (None, Some(from)) => {
                let mut connection = self.pool().acquire().await?;
                event_log::last_before(&mut connection, from - COMMIT_LATE_MAX).await?
            }
            (None, None) => 0,
        };
        // Of one aggregate there are few, by an index of their own.
        let end = if filter.aggregate_id.is_some() { i64::MAX } else { begin.saturating_add(SCAN_MAX) };
        let mut query = QueryBuilder::new(format!("select {COLUMNS} from event_log where position > "));
        query.push_bind(begin).push(" and position <= ").push_bind(end);
        if let Some(aggregate_id) = &filter.aggregate_id {
            query.push(" and aggregate_id = ").push_bind(aggregate_id.clone());
        }
        if !filter.topics.is_empty() {
            query.push(" and topic = any(").push_bind(filter.topics.clone()).push(")");
        }
        if !filter.event_types.is_empty() {
            query.push(" and event_type = any(").push_bind(filter.event_types.clone()).push(")");
        }
        if let Some(from) = filter.from {
            query.push(" and occurred_at >= ").push_bind(from);
        }
        if let Some(until) = filter.until {
            query.push(" and occurred_at < ").push_bind(until);
        }
        query.push(" order by position limit ").push_bind(limit + 1);
        let rows = query.build().fetch_all(self.pool()).await?;
        let events = rows.iter().map(event_log::logged).collect::<Result<Vec<_>, _>>()?;
        let mut page = Page::of(events, limit, |event: &LoggedEvent| event.position);
        if page.next.is_none() && end < i64::MAX && self.goes_on(end, filter.until).await? {
            page.next = Some(end);
        }
        Ok(Ok(page))
    }

    /// Says that the log is read, so that nothing is pruned meanwhile, and why it is not all there that is asked for.
    async fn pruned(&self, filter: &EventFilter, after: Option<i64>) -> Result<Option<Rejection>, Fault> {
        let sql = "update event_log_floor set read_at = now() where read_at < now() - make_interval(secs => $1)";
        sqlx::query(sql).bind(READING_NOTED_SECONDS).execute(self.pool()).await?;
        // Only now: the floor does not move any more.
        let (position, kept_from): (i64, Option<Timestamp>) =
            sqlx::query_as("select position, kept_from from event_log_floor").fetch_one(self.pool()).await?;
        let Some(kept_from) = kept_from else { return Ok(None) };
        let is_there = match (after, filter.from) {
            (Some(after), _) => after >= position,
            (None, Some(from)) => from >= kept_from,
            (None, None) => false,
        };
        if is_there {
            return Ok(None);
        }
        if let Some(aggregate_id) = &filter.aggregate_id {
            // From its first event on, in each topic.
            let sql = "select bool_and(first = 1) from (select min(aggregate_version) as first from event_log \
                       where aggregate_id = $1 and position > $2 group by topic, aggregate_type) as kept";
            let is_whole: Option<bool> =
                sqlx::query_scalar(sql).bind(aggregate_id).bind(position).fetch_one(self.pool()).await?;
            if is_whole == Some(true) {
                return Ok(None);
            }
        }
        let text = format!(
            "the log of {} is pruned up to position {position}: all events since {} are there",
            self.group(),
            kept_from.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
        );
        // Whoever takes what is there begins behind the floor.
        let kept_from = kept_from.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let pruned = Rejection::failed_precondition("EVENTS_PRUNED", text);
        Ok(Some(pruned.with("floor_position", position).with("kept_from", kept_from)))
    }

    /// Whether the log has events after `position` that may still be before `until`.
    async fn goes_on(&self, position: i64, until: Option<Timestamp>) -> Result<bool, Fault> {
        let next: Option<Timestamp> =
            sqlx::query_scalar("select occurred_at from event_log where position > $1 order by position limit 1")
                .bind(position)
                .fetch_optional(self.pool())
                .await?;
        Ok(next.is_some_and(|next| until.is_none_or(|until| next < until + COMMIT_LATE_MAX)))
    }
}
