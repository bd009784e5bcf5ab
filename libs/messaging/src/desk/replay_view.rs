//! What an operator says and sees of a replay.

use openorder_types::Timestamp;
use uuid::Uuid;

use super::Filter;

/// What is to be replayed, by whom, why and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRequest {
    /// The caller's own id: the same one again gives the same job, also after a restart.
    pub request_id: String,
    /// Who asked: subject of the caller.
    pub requested_by: String,
    /// Why, 1 to 500 characters.
    pub reason: String,
    /// Which dead letters; those in another open replay are left out.
    pub filter: Filter,
    /// Dead letters released per second, 1 to 10000.
    pub rate_per_second: u32,
    /// Dead letters frozen at most, oldest first, 1 to 100000.
    pub items_max: u32,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// Items are being released, or released ones are not through yet.
    Running,
    /// Every item has its outcome.
    Completed,
    /// Stopped by an operator; what was released by then still ran.
    Cancelled,
}

/// A replay with the count of its items by outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayJob {
    /// UUID v7.
    pub job_id: Uuid,
    /// The caller's own id.
    pub request_id: String,
    /// Who asked.
    pub requested_by: String,
    /// Why.
    pub reason: String,
    /// Which dead letters were asked for.
    pub filter: Filter,
    /// Dead letters released per second.
    pub rate_per_second: u32,
    /// How far it is.
    pub state: ReplayState,
    /// Items in all; fixed when the job was made.
    pub items: u32,
    /// Not released yet.
    pub waiting: u32,
    /// Released to the retries and not through yet.
    pub released: u32,
    /// Handled.
    pub succeeded: u32,
    /// Dead again.
    pub failed: u32,
    /// Left out because the job was cancelled, or the dead letter was discarded first.
    pub left_out: u32,
    /// When it was frozen.
    pub created_at: Timestamp,
    /// When the last item got its outcome, or it was cancelled.
    pub finished_at: Option<Timestamp>,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemOutcome {
    /// Not released yet.
    Waiting,
    /// With the retries.
    Released,
    /// Handled.
    Succeeded,
    /// Dead again.
    FailedAgain,
    /// The job was cancelled first.
    Cancelled,
    /// The dead letter was discarded first.
    Discarded,
}

/// One dead letter of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayItem {
    /// Of the dead letter.
    pub sequence: i64,
    /// CloudEvents id.
    pub event_id: Uuid,
    /// Topic without the deployment's prefix.
    pub topic: String,
    /// Kafka key.
    pub key: Vec<u8>,
    /// CloudEvents type.
    pub event_type: String,
    /// What became of it.
    pub outcome: ItemOutcome,
    /// When it was released.
    pub released_at: Option<Timestamp>,
    /// When it got its outcome.
    pub finished_at: Option<Timestamp>,
    /// Stable reason why it failed again; empty otherwise.
    pub error_reason: String,
    /// Text of that failure.
    pub error_text: String,
}

/// What a replay of a filter would touch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplayCount {
    /// Dead letters that it would freeze.
    pub items: i64,
    /// Keys that they belong to.
    pub keys: i64,
    /// Messages that wait behind them and would follow.
    pub waiting_behind: i64,
    /// Dead letters of the filter that another open replay has.
    pub in_other_replays: i64,
}
