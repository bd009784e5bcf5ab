//! A rebuild that an operator asked for.

use openorder_types::{Timestamp, numbered};
use uuid::Uuid;

numbered! {
    /// Where a rebuild stands; numbered as `openorder.analytics.v1.RebuildState`.
    pub enum RebuildState {
        Counting = 1 "COUNTING",
        Ranking = 2 "RANKING",
        Done = 3 "DONE",
        Failed = 4 "FAILED",
        Cancelled = 5 "CANCELLED",
    }
}

impl RebuildState {
    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Why a rebuild is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The order service's log begins too late.
    EventsPruned,
    /// The order service does not give its log away.
    LogRefused,
}

impl Failure {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventsPruned => "EVENTS_PRUNED",
            Self::LogRefused => "LOG_REFUSED",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// UUID version 7.
    pub rebuild_id: Uuid,
    pub from_events: bool,
    pub state: RebuildState,
    /// The sums in the making; none where only the ranking is written.
    pub generation: Option<i64>,
    /// Up to where the order service's log is read.
    pub log_position: i64,
    /// The newest id among the events that were read.
    pub newest_id: Uuid,
    pub events_read: i64,
    pub events_unreadable: i64,
    pub products_ranked: i64,
    pub requested_by: String,
    pub reason: String,
    pub waiting_for: String,
    pub failure_reason: String,
    pub start_time: Timestamp,
    pub update_time: Timestamp,
    pub end_time: Option<Timestamp>,
}
