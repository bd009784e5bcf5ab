//! Building all documents anew, beside those in use.

use openorder_types::{Rejection, Timestamp};
use uuid::Uuid;

use crate::domain::rejection;

/// One of the two sets of documents: one is in use, and the other one is empty or being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Half {
    A,
    B,
}

impl Half {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its number where it is stored.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    /// Out of its number.
    #[must_use]
    pub const fn of(number: i16) -> Self {
        if number == 0 { Self::A } else { Self::B }
    }
}

/// Which half is in use, and whether the other one is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halves {
    pub current: Half,
    pub is_building: bool,
}

impl Halves {
    /// Where events are written, in the one order for all transactions.
    pub fn written(&self) -> impl Iterator<Item = Half> {
        [Half::A, Half::B].into_iter().filter(|half| *half == self.current || self.is_building)
    }
}

openorder_types::numbered! {
    /// How far a rebuild is.
    pub enum RebuildState {
        /// The half that is not in use is emptied.
        Preparing = 1 "PREPARING",
        /// The logs are read, and events go to both halves.
        Reading = 2 "READING",
        /// What the logs do not have any more is taken over.
        TakingOver = 3 "TAKING_OVER",
        /// One half is in use, and the other one is emptied.
        Cleaning = 4 "CLEANING",
        /// Final.
        Completed = 5 "COMPLETED",
        /// Final.
        Cancelled = 6 "CANCELLED",
        /// Final.
        Failed = 7 "FAILED",
    }
}

impl RebuildState {
    /// Whether nothing is left to do.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

/// One building anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    pub rebuild_id: Uuid,
    pub state: RebuildState,
    /// The half that is built.
    pub target: Half,
    /// In whose name the logs are read.
    pub requested_by: String,
    pub reason: String,
    pub create_time: Timestamp,
    pub end_time: Option<Timestamp>,
    /// What it ends in once the half that is not in use is empty.
    pub ending: RebuildState,
    /// What it waits for, or why it failed; else empty.
    pub detail: String,
    pub taken_over_count: i64,
    /// The last of the old documents that was looked at.
    pub taken_over_to: Option<Uuid>,
}

/// How far the log of one service is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    pub service: String,
    /// Everything up to this position is read.
    pub position: i64,
    pub events_total: i64,
    pub events_read: i64,
    pub events_skipped: i64,
    pub is_counted: bool,
    pub is_read: bool,
    /// Older events are pruned.
    pub kept_from: Option<Timestamp>,
}

impl Rebuild {
    /// A rebuild of the half that is not in use.
    ///
    /// # Errors
    /// `REBUILD_UNDER_WAY` while there is another one.
    pub fn begin(
        new: (Uuid, Timestamp),
        halves: Halves,
        running: Option<&Self>,
        requested_by: &str,
        reason: &str,
    ) -> Result<Self, Rejection> {
        if let Some(running) = running {
            return Err(rejection::rebuild_under_way(running.rebuild_id));
        }
        let (rebuild_id, create_time) = new;
        Ok(Self {
            rebuild_id,
            state: RebuildState::Preparing,
            target: halves.current.other(),
            requested_by: requested_by.to_owned(),
            reason: reason.to_owned(),
            create_time,
            end_time: None,
            ending: RebuildState::Completed,
            detail: String::new(),
            taken_over_count: 0,
            taken_over_to: None,
        })
    }

    /// Called off, or failed: what it has built is not used. Whether it was under way: once the new documents are in use, or
    /// it has ended otherwise, it stays as it is.
    pub fn give_up(&mut self, ending: RebuildState, detail: String) -> bool {
        let is_under_way = !self.state.is_final() && self.state != RebuildState::Cleaning;
        if is_under_way {
            (self.state, self.ending, self.detail) = (RebuildState::Cleaning, ending, detail);
        }
        is_under_way
    }

    /// The new documents are in use.
    pub fn switched(&mut self) {
        (self.state, self.ending, self.detail) = (RebuildState::Cleaning, RebuildState::Completed, String::new());
    }

    /// The half that is not in use is empty again.
    pub fn cleaned(&mut self, now: Timestamp) {
        (self.state, self.end_time) = (self.ending, Some(now));
    }

    /// What follows when all logs are read: where some are pruned, the old documents are looked at.
    pub fn all_read(&mut self, sources: &[Source]) -> bool {
        let is_whole = sources.iter().all(|source| source.kept_from.is_none());
        if !is_whole {
            self.state = RebuildState::TakingOver;
        }
        is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rebuild() -> Rebuild {
        let halves = Halves { current: Half::B, is_building: false };
        Rebuild::begin((Uuid::nil(), Timestamp::UNIX_EPOCH), halves, None, "root", "why").unwrap()
    }

    #[test]
    fn one_is_under_way_at_a_time_and_builds_what_is_not_in_use() {
        let first = rebuild();
        assert_eq!((first.target, first.state), (Half::A, RebuildState::Preparing));
        let halves = Halves { current: Half::B, is_building: true };
        let second = Rebuild::begin((Uuid::nil(), Timestamp::UNIX_EPOCH), halves, Some(&first), "root", "why");
        assert_eq!(second.unwrap_err().reason, "REBUILD_UNDER_WAY");
        assert_eq!(halves.written().collect::<Vec<_>>(), [Half::A, Half::B]);
        assert_eq!(Halves { is_building: false, ..halves }.written().collect::<Vec<_>>(), [Half::B]);
    }

    #[test]
    fn what_is_in_use_is_not_called_off() {
        let mut cancelled = rebuild();
        assert!(cancelled.give_up(RebuildState::Cancelled, String::new()));
        assert!(!cancelled.give_up(RebuildState::Failed, String::new()));
        cancelled.cleaned(Timestamp::UNIX_EPOCH);
        assert_eq!((cancelled.state, cancelled.end_time), (RebuildState::Cancelled, Some(Timestamp::UNIX_EPOCH)));
        let mut completed = rebuild();
        completed.switched();
        assert!(!completed.give_up(RebuildState::Cancelled, String::new()));
        completed.cleaned(Timestamp::UNIX_EPOCH);
        assert!(completed.state == RebuildState::Completed && completed.state.is_final());
    }

    #[test]
    fn old_documents_are_looked_at_where_logs_are_pruned() {
        let pruned = Source { kept_from: Some(Timestamp::UNIX_EPOCH), ..Source::default() };
        let mut rebuild = rebuild();
        assert!(rebuild.all_read(&[Source::default()]));
        assert_eq!(rebuild.state, RebuildState::Preparing);
        assert!(!rebuild.all_read(&[Source::default(), pruned]));
        assert_eq!(rebuild.state, RebuildState::TakingOver);
    }
}
