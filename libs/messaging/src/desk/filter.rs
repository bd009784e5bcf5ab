//! Which messages are meant.

use openorder_types::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder};

/// Which dead letters or parked messages are meant: all conditions that are set have to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Exactly these, by their sequence; empty for any. At most [`crate::desk::Desk::PAGE_MAX`].
    pub sequences: Vec<i64>,
    /// Topic without the deployment's prefix.
    pub topic: Option<String>,
    /// CloudEvents type.
    pub event_type: Option<String>,
    /// Stable reason of the last failure, such as `MALFORMED`.
    pub reason: Option<String>,
    /// Kafka key.
    pub key: Option<Vec<u8>>,
    /// Dead (or, in a list of parked messages, parked) at this time or later.
    pub from: Option<Timestamp>,
    /// Dead (or parked) before this time.
    pub until: Option<Timestamp>,
}

/// One page of a list, in the order of its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What to ask for as `after` to get the next page; `None` on the last one.
    pub next: Option<i64>,
}

impl<T> Page<T> {
    /// Makes a page of up to `limit` out of `limit + 1` rows.
    pub(super) fn of(mut items: Vec<T>, limit: i64, position: impl Fn(&T) -> i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(position) } else { None };
        Self { items, next }
    }
}

/// Column that a filter's times are about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Time {
    Dead,
    Parked,
    Resolved,
}

impl Filter {
    /// Adds `and …` for every condition that is set, on the table with the alias `p`.
    pub(super) fn push_to(&self, query: &mut QueryBuilder<Postgres>, time: Time) {
        let column = match time {
            Time::Dead => "p.dead_at",
            Time::Parked => "p.parked_at",
            Time::Resolved => "p.resolved_at",
        };
        if !self.sequences.is_empty() {
            query.push(" and p.sequence = any(").push_bind(self.sequences.clone()).push(")");
        }
        if let Some(topic) = &self.topic {
            query.push(" and p.topic = ").push_bind(topic.clone());
        }
        if let Some(event_type) = &self.event_type {
            query.push(" and p.event_type = ").push_bind(event_type.clone());
        }
        if let Some(reason) = &self.reason {
            query.push(" and p.error_reason = ").push_bind(reason.clone());
        }
        if let Some(key) = &self.key {
            // By its hash, as the index has it.
            query.push(" and p.key_hash = sha256(").push_bind(key.clone()).push(")");
        }
        if let Some(from) = self.from {
            query.push(format_args!(" and {column} >= ")).push_bind(from);
        }
        if let Some(until) = self.until {
            query.push(format_args!(" and {column} < ")).push_bind(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_the_next_one_only_when_there_is_more() {
        let page = Page::of(vec![1, 2, 3], 2, |item| *item);
        assert_eq!((page.items, page.next), (vec![1, 2], Some(2)));
        let last = Page::of(vec![1, 2], 2, |item| *item);
        assert_eq!((last.items, last.next), (vec![1, 2], None));
    }

    #[test]
    fn an_empty_filter_is_no_condition_and_a_full_one_is_all_of_them() {
        let mut query = QueryBuilder::new("where true");
        Filter::default().push_to(&mut query, Time::Dead);
        assert_eq!(query.sql(), "where true");
        let filter = Filter {
            sequences: vec![1],
            topic: Some("t".to_owned()),
            event_type: Some("e".to_owned()),
            reason: Some("R".to_owned()),
            key: Some(b"k".to_vec()),
            from: Some(chrono::Utc::now()),
            until: Some(chrono::Utc::now()),
        };
        filter.push_to(&mut query, Time::Resolved);
        assert_eq!(query.sql().as_str().matches(" and ").count(), 7);
    }
}
