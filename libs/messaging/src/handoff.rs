//! What this process has just committed, on its way to the relay without a detour over the database.
//!
//! The relay goes by position. What is handed to it here is only taken where it follows its position without a gap:
//! then nothing of the log is between, whoever wrote it. Whatever does not fit (another instance wrote, a transaction
//! rolled back, there was no room) is read from the log as ever, and the relay is told to.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::LoggedEvent;

/// Events of committed transactions, held for the relay of this process while it leads.
#[derive(Default)]
pub(crate) struct Handoff {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Events held at most; 0 while no relay of this process leads.
    room: usize,
    count: usize,
    /// What each transaction appended, by the position of its first event.
    runs: BTreeMap<i64, Vec<LoggedEvent>>,
    /// Whether something was committed that is not among the runs.
    left_out: bool,
}

/// What the relay is given.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// What follows its position.
    Events(Vec<LoggedEvent>),
    /// Nothing: all that this process has committed is published.
    Nothing,
    /// What follows is not here: the log has it.
    InLog,
}

impl Handoff {
    /// Begins to hold events, at most so many; ends when the guard is dropped.
    pub(crate) fn open(&self, room: usize) -> Open<'_> {
        self.state().room = room;
        Open { handoff: self }
    }

    /// Whether anybody takes what is put here.
    pub(crate) fn is_open(&self) -> bool {
        self.state().room > 0
    }

    /// Hands on what one transaction appended, after its commit; positions follow each other without a gap. Given
    /// nothing, the relay knows only that there was a commit.
    pub(crate) fn put(&self, events: Vec<LoggedEvent>) {
        let first = events.first().map(|event| event.position);
        let mut state = self.state();
        match first {
            Some(first) if state.count + events.len() <= state.room => {
                state.count += events.len();
                state.runs.insert(first, events);
            }
            _ => state.left_out = true,
        }
    }

    /// The events that follow `position`, about `limit` of them.
    pub(crate) fn take_after(&self, position: i64, limit: usize) -> Taken {
        let mut state = self.state();
        let mut taken: Vec<LoggedEvent> = Vec::new();
        let mut position = position;
        while taken.len() < limit {
            let Some(entry) = state.runs.first_entry() else { break };
            if *entry.key() > position + 1 {
                break;
            }
            let mut run = entry.remove();
            state.count -= run.len();
            // What was read from the log meanwhile.
            run.retain(|event| event.position > position);
            position = run.last().map_or(position, |event| event.position);
            if taken.is_empty() { taken = run } else { taken.append(&mut run) }
        }
        if !taken.is_empty() {
            return Taken::Events(taken);
        }
        // The log is read after this: what was left out by now is in it.
        let left_out = std::mem::take(&mut state.left_out);
        if left_out || !state.runs.is_empty() || state.room == 0 { Taken::InLog } else { Taken::Nothing }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, events are held.
pub(crate) struct Open<'a> {
    handoff: &'a Handoff,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        *self.handoff.state() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chrono::Utc;
    use openorder_telemetry::TraceContext;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn run(positions: std::ops::Range<i64>) -> Vec<LoggedEvent> {
        positions
            .map(|position| LoggedEvent {
                position,
                event_id: Uuid::nil(),
                event_type: "t".into(),
                topic: "t".into(),
                key: "k".into(),
                aggregate_id: "k".into(),
                aggregate_version: 1,
                payload: Bytes::new(),
                trace: TraceContext::NONE,
                occurred_at: Utc::now(),
            })
            .collect()
    }

    fn positions(events: &[LoggedEvent]) -> Vec<i64> {
        events.iter().map(|event| event.position).collect()
    }

    impl Taken {
        fn positions(&self) -> Vec<i64> {
            if let Self::Events(events) = self { positions(events) } else { panic!("{self:?}") }
        }
    }

    #[test]
    fn only_what_follows_without_a_gap_is_given() {
        let handoff = Handoff::default();
        let _open = handoff.open(100);
        handoff.put(run(5..8));
        handoff.put(run(1..3));
        assert_eq!(handoff.take_after(0, 100).positions(), [1, 2]);
        assert_eq!(handoff.take_after(2, 100), Taken::InLog, "3 and 4 are another's");
        assert_eq!(handoff.take_after(5, 100).positions(), [6, 7], "5 was read from the log");
        assert_eq!(handoff.take_after(7, 100), Taken::Nothing);
    }

    #[test]
    fn nothing_is_held_for_nobody_or_beyond_the_room() {
        let handoff = Handoff::default();
        handoff.put(run(1..3));
        let open = handoff.open(3);
        assert_eq!(handoff.take_after(0, 100), Taken::InLog, "nobody was there");
        assert_eq!(handoff.take_after(0, 100), Taken::Nothing, "the log was read");
        handoff.put(run(1..3));
        handoff.put(run(3..6));
        assert_eq!(handoff.take_after(0, 100).positions(), [1, 2]);
        assert_eq!(handoff.take_after(2, 100), Taken::InLog, "there was no room for 3 to 5");
        handoff.put(run(3..6));
        drop(open);
        let _open = handoff.open(3);
        assert_eq!(handoff.take_after(2, 100), Taken::Nothing, "what one relay did not take is not the next one's");
        assert!(handoff.is_open());
    }

    #[test]
    fn a_commit_whose_positions_are_not_known_sends_the_relay_to_the_log_once_and_no_room_does_so_each_time() {
        let handoff = Handoff::default();
        let open = handoff.open(10);
        handoff.put(run(1..3));
        handoff.put(Vec::new());
        assert_eq!(handoff.take_after(0, 100).positions(), [1, 2]);
        assert_eq!(handoff.take_after(2, 100), Taken::InLog);
        assert_eq!(handoff.take_after(2, 100), Taken::Nothing);
        drop(open);
        let _open = handoff.open(0);
        assert_eq!(handoff.take_after(2, 100), Taken::InLog);
        assert_eq!(handoff.take_after(2, 100), Taken::InLog);
    }

    proptest! {
        /// Whatever order the transactions are told in, and whichever of them are another instance's, a relay that
        /// reads the log where it is given nothing has every event once and in order.
        #[test]
        fn with_the_log_behind_it_every_event_comes_once_in_order(
            lengths in proptest::collection::vec((1..5_i64, any::<bool>(), any::<u8>()), 0..20),
            limit in 1..8_usize,
        ) {
            let handoff = Handoff::default();
            let _open = handoff.open(1_000);
            let mut next = 1;
            let mut own = Vec::new();
            for (length, is_own, order) in lengths {
                if is_own {
                    own.push((order, next..next + length));
                }
                next += length;
            }
            own.sort_by_key(|(order, _)| *order);
            let mut seen = Vec::new();
            let mut position = 0;
            let mut own = own.into_iter();
            while position < next - 1 {
                if let Some((_, range)) = own.next() {
                    handoff.put(run(range));
                }
                let events = match handoff.take_after(position, limit) {
                    Taken::Events(events) => events,
                    Taken::Nothing | Taken::InLog => run(position + 1..next.min(position + 3)),
                };
                seen.extend(positions(&events));
                position = seen.last().copied().unwrap_or(position);
            }
            prop_assert_eq!(seen, (1..next).collect::<Vec<_>>());
        }
    }
}
