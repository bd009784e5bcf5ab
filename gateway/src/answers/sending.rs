//! What waits to be written in a caller's connection, and since when.
//!
//! The end of a small answer follows its data at once. Such an answer is complete, and a complete one cannot be taken
//! back from the connection: only the connection as a whole can end.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Intervals that pieces are counted by.
const SLOTS: usize = 4;

/// The pieces that wait in one connection, by the interval in which they were given to it.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    pieces: [AtomicUsize; SLOTS],
    interval: AtomicUsize,
}

impl Sending {
    /// Counts a piece that was given to the connection; what is returned is for [`Self::sent`].
    pub(crate) fn begin(&self) -> usize {
        let slot = self.interval.load(Ordering::Relaxed) % SLOTS;
        self.pieces[slot].fetch_add(1, Ordering::Relaxed);
        slot
    }

    /// That piece left the connection.
    pub(crate) fn sent(&self, slot: usize) {
        self.pieces[slot].fetch_sub(1, Ordering::Relaxed);
    }

    /// Begins the next interval: whether a piece has waited for two whole ones.
    pub(crate) fn next_interval(&self) -> bool {
        let interval = self.interval.fetch_add(1, Ordering::Relaxed) + 1;
        // The slot that is counted in next is the oldest one: nothing of it may be left.
        self.pieces[(interval + 1) % SLOTS].load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_that_stays_is_seen_after_two_intervals_and_not_before() {
        let sending = Sending::default();
        for _ in 0..3 {
            let slot = sending.begin();
            assert!(!sending.next_interval() && !sending.next_interval(), "one whole interval at most");
            sending.sent(slot);
            assert!(!sending.next_interval(), "it left in time");
        }
        sending.begin();
        assert!(!sending.next_interval() && !sending.next_interval() && sending.next_interval());
    }
}
