//! Reading the service's event log by time, aggregate and type.

use std::time::Duration;

use openorder_types::{Fault, Timestamp};
use sqlx::QueryBuilder;

use super::{Desk, Page, limit};
use crate::{LoggedEvent, event_log};

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
/// Events of one transaction have its time; a transaction that began earlier may commit later, by this much at most.
const COMMIT_LATE_MAX: Duration = Duration::from_secs(120);

impl Desk {
    /// Events of this service's log in commit order, at most `page_size` after the position `after`. A page may hold
    /// fewer than asked, even none, and still have a next one: a call looks at a bounded part of the log.
    ///
    /// # Errors
    /// [`Fault`] of the database.
    pub async fn events(
        &self,
        filter: &EventFilter,
        after: Option<i64>,
        page_size: u32,
    ) -> Result<Page<LoggedEvent>, Fault> {
        let limit = limit(page_size);
        let begin = match (after, filter.from) {
            (Some(after), _) => after,
            (None, Some(from)) => self.last_before(from - COMMIT_LATE_MAX).await?,
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
        Ok(page)
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

    /// A position that has no event of this time or later before it, by halving: positions are in the order of time,
    /// nearly.
    async fn last_before(&self, time: Timestamp) -> Result<i64, Fault> {
        let (mut low, mut high): (i64, i64) =
            sqlx::query_as("select coalesce(min(position), 1) - 1, coalesce(max(position), 0) from event_log")
                .fetch_one(self.pool())
                .await?;
        while low < high {
            let middle = low + (high - low) / 2;
            let next: Option<(i64, Timestamp)> = sqlx::query_as(
                "select position, occurred_at from event_log where position > $1 order by position limit 1",
            )
            .bind(middle)
            .fetch_optional(self.pool())
            .await?;
            match next {
                Some((position, at)) if at < time => low = position,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}
