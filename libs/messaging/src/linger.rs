//! How long a stage waits for more before its next batch.

use std::time::Duration;

/// The wait goes by the batch before: what a batch costs besides its messages is then spent half as often, and a
/// message waits at most twice as long. Both grow with the load, and where little comes nothing waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linger {
    /// A batch of fewer is followed by no wait.
    pub(crate) batch_min: usize,
    /// A batch of so many is followed by none either: there is a backlog.
    pub(crate) batch_max: usize,
    /// The shortest wait while many come, in milliseconds: below, cheaper batches would only become more batches.
    pub(crate) min_ms: u64,
    /// The longest wait, in milliseconds; 0 for none ever.
    pub(crate) max_ms: u64,
}

impl Linger {
    /// The wait that follows a batch of `count`, which took so long.
    pub(crate) fn after(&self, count: usize, took: Duration) -> Duration {
        if count < self.batch_min || count >= self.batch_max {
            return Duration::ZERO;
        }
        took.max(Duration::from_millis(self.min_ms)).min(Duration::from_millis(self.max_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Linger = Linger { batch_min: 4, batch_max: 1_000, min_ms: 0, max_ms: 60 };

    #[test]
    fn the_next_batch_waits_as_long_as_the_last_one_took_up_to_the_limit() {
        let took = Duration::from_millis;
        assert_eq!(LINGER.after(100, took(7)), took(7));
        assert_eq!(LINGER.after(100, took(70)), took(60));
        assert_eq!(Linger { max_ms: 0, ..LINGER }.after(100, took(7)), Duration::ZERO);
    }

    #[test]
    fn while_many_come_a_quick_batch_is_followed_by_the_shortest_wait_within_the_limit() {
        let (linger, took) = (Linger { min_ms: 15, ..LINGER }, Duration::from_millis);
        assert_eq!(linger.after(100, took(2)), took(15));
        assert_eq!(linger.after(100, took(20)), took(20));
        assert_eq!(Linger { max_ms: 10, ..linger }.after(100, took(2)), took(10));
        assert_eq!(linger.after(3, took(2)), Duration::ZERO);
    }

    #[test]
    fn a_lone_message_and_a_backlog_do_not_wait() {
        let took = Duration::from_millis(7);
        assert_eq!(LINGER.after(3, took), Duration::ZERO);
        assert_eq!(LINGER.after(4, took), took);
        assert_eq!(LINGER.after(999, took), took);
        assert_eq!(LINGER.after(1_000, took), Duration::ZERO);
    }
}
