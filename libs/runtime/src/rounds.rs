//! Work that is done in rounds until a stop is requested: what every periodic task has in common.
//!
//! ```ignore
//! let mut rounds = every(interval, &shutdown);
//! while rounds.next().await {
//!     rounds.ended(look().await, "it cannot be looked at; it is later");
//! }
//! ```
//!
//! The body is a loop of its own and no closure: what an async closure borrows cannot be sent to another thread by a
//! function that knows no more of it than its trait.

use std::fmt;
use std::time::Duration;

use tokio::time::sleep;

use crate::shutdown::Shutdown;

/// Between two rounds that follow each other at once: a stop, and other tasks, come in between.
const AT_ONCE: Duration = Duration::from_millis(1);

/// When the next round begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// There may be more to do.
    AtOnce,
    /// After the interval.
    Later,
}

/// The rounds of a task; made by [`every`].
#[derive(Debug)]
pub struct Rounds {
    shutdown: Shutdown,
    interval: Duration,
    pause_max: Duration,
    /// Rounds that failed in a row.
    failures: u32,
    /// Before the next round.
    pause: Duration,
}

/// Rounds with a pause of `interval` between each two, also after one that failed. The first one begins at once.
#[must_use]
pub fn every(interval: Duration, shutdown: &Shutdown) -> Rounds {
    Rounds { shutdown: shutdown.clone(), interval, pause_max: interval, failures: 0, pause: Duration::ZERO }
}

impl Rounds {
    /// The first round begins after an interval.
    #[must_use]
    pub fn after_a_pause(mut self) -> Self {
        self.pause = self.interval;
        self
    }

    /// With each failure in a row the pause doubles, up to `pause_max`. Without this it stays the interval.
    #[must_use]
    pub fn backing_off_to(mut self, pause_max: Duration) -> Self {
        self.pause_max = pause_max;
        self
    }

    /// Waits until the next round begins; `false` once a stop is requested, which also ends the pause.
    pub async fn next(&mut self) -> bool {
        let pause = std::mem::replace(&mut self.pause, self.interval);
        if !pause.is_zero() {
            // Cut off or not: the next line knows.
            let _ = self.shutdown.unless_requested(sleep(pause)).await;
        }
        !self.shutdown.is_requested()
    }

    /// Takes the result of the round. A failure is logged as a warning, `text` with the error as its `fault`. Without this
    /// call the next round begins after the interval.
    pub fn ended<E: fmt::Display>(&mut self, result: Result<Again, E>, text: &str) {
        match result {
            Ok(again) => {
                self.failures = 0;
                self.pause = if again == Again::AtOnce { AT_ONCE } else { self.interval };
            }
            Err(fault) => {
                tracing::warn!(%fault, "{text}");
                self.failures = self.failures.saturating_add(1);
                self.pause = self.pause_after_failures();
            }
        }
    }

    fn pause_after_failures(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(31);
        self.interval.saturating_mul(1 << doublings).min(self.pause_max.max(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    /// Longer than a test may take.
    const NEVER: Duration = Duration::from_secs(3_600);

    fn failed(rounds: &mut Rounds) -> u64 {
        rounds.ended(Err::<Again, _>("no answer"), "failed");
        rounds.pause.as_secs()
    }

    #[test]
    fn the_pause_doubles_with_each_failure_in_a_row_up_to_its_bound() {
        let second = Duration::from_secs(1);
        let mut rounds = every(second, &Shutdown::new()).backing_off_to(5 * second);
        assert_eq!([1, 2, 3, 4, 5].map(|_| failed(&mut rounds)), [1, 2, 4, 5, 5]);
        rounds.ended(Ok::<_, String>(Again::Later), "failed");
        assert_eq!((rounds.pause, failed(&mut rounds)), (second, 1));
        rounds.failures = u32::MAX;
        assert_eq!(failed(&mut rounds), 5);
        let mut steady = every(second, &Shutdown::new());
        assert_eq!([1, 2, 3].map(|_| failed(&mut steady)), [1, 1, 1]);
        // A bound below the interval is none.
        let mut bounded = every(second, &Shutdown::new()).backing_off_to(SHORT);
        assert_eq!([1, 2, 3].map(|_| failed(&mut bounded)), [1, 1, 1]);
    }

    #[tokio::test]
    async fn the_first_round_begins_at_once_or_after_an_interval() {
        let shutdown = Shutdown::new();
        assert!(every(NEVER, &shutdown).next().await);
        let began = Instant::now();
        assert!(every(SHORT, &shutdown).after_a_pause().next().await);
        assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_round_with_more_to_do_is_followed_at_once_and_every_other_one_after_the_interval() {
        let shutdown = Shutdown::new();
        let mut rounds = every(NEVER, &shutdown);
        for _ in 0..5 {
            assert!(rounds.next().await);
            rounds.ended(Ok::<_, String>(Again::AtOnce), "failed");
        }
        let mut rounds = every(SHORT, &shutdown);
        let began = Instant::now();
        assert!(rounds.next().await);
        rounds.ended(Ok::<_, String>(Again::Later), "failed");
        assert!(rounds.next().await);
        failed(&mut rounds);
        assert!(rounds.next().await);
        // Of this one no result is given.
        assert!(rounds.next().await);
        assert!(began.elapsed() >= 3 * SHORT, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_stop_ends_the_pause_and_begins_no_round() {
        let shutdown = Shutdown::new();
        let mut rounds = every(NEVER, &shutdown).after_a_pause();
        let stop = async {
            sleep(SHORT).await;
            shutdown.trigger();
        };
        let (begins, ()) = tokio::join!(rounds.next(), stop);
        assert!(!begins);
        assert!(!every(SHORT, &shutdown).next().await);
    }
}
