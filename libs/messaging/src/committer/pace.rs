//! How long commands wait for company before they become a batch.

use std::time::{Duration, Instant};

use crate::CommitterSettings;

/// Commands that wait are counted so often: what comes meanwhile wakes nobody, as there may be thousands a second.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// What a transaction costs besides its commands is paid once a batch. So while several callers are about, batches begin
/// at least a while after one another, and wait a little while others are being committed. Callers that send their next
/// command after the answer to the last one wait for nobody once all of them are here.
pub(super) struct Pace {
    linger: Duration,
    linger_min: Duration,
    batch_min: usize,
    batch_max: usize,
    /// When the last batch began, and of how many commands.
    began: Option<Instant>,
    last: usize,
    /// The most commands that were there at a time lately, waiting or being committed.
    most: usize,
}

impl Pace {
    pub(super) fn new(settings: &CommitterSettings) -> Self {
        Self {
            linger: Duration::from_millis(settings.linger_ms),
            linger_min: Duration::from_millis(settings.linger_min_ms),
            batch_min: settings.linger_batch_min,
            batch_max: settings.batch_max,
            began: None,
            last: 0,
            most: 0,
        }
    }

    /// How long so many commands, the first of which was taken at `since`, wait before they are counted again; `None` if
    /// they are a batch now.
    pub(super) fn wait(&self, waiting: usize, committing: usize, since: Instant, now: Instant) -> Option<Duration> {
        let several = waiting.max(self.last) >= self.batch_min;
        let all_are_here = committing == 0 && waiting >= self.most;
        if !several || all_are_here || waiting >= self.batch_max {
            return None;
        }
        let floor = self.began.map_or(now, |began| began + self.linger_min);
        let until = if committing > 0 { floor.max(since + self.linger) } else { floor };
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then(|| left.min(LOOK_INTERVAL))
    }

    /// A batch of so many commands begins while so many others are being committed.
    pub(super) fn begins(&mut self, count: usize, committing: usize, now: Instant) {
        self.began = Some(now);
        self.last = count;
        let forgotten = self.most.div_ceil(8);
        self.most = (self.most - forgotten).max(count + committing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Option<Duration> = Some(LOOK_INTERVAL);

    /// A pace whose last batch, of so many commands, began at the time that is given with it.
    fn after(count: usize) -> (Pace, Instant) {
        let (linger_ms, linger_min_ms) = (4, 10);
        let settings = CommitterSettings { linger_ms, linger_min_ms, linger_batch_min: 2, ..Default::default() };
        let (mut pace, began) = (Pace::new(&settings), Instant::now());
        pace.begins(count, 0, began);
        (pace, began)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn while_several_callers_are_about_batches_begin_at_the_least_distance() {
        let (pace, began) = after(5);
        assert_eq!(pace.wait(1, 0, began + ms(3), began + ms(3)), LOOK);
        assert_eq!(pace.wait(4, 0, began + ms(3), began + ms(9)), Some(ms(1)));
        assert_eq!(pace.wait(4, 0, began + ms(3), began + ms(10)), None);
    }

    #[test]
    fn while_another_batch_is_being_committed_commands_wait_a_little_in_any_case() {
        let (pace, began) = after(5);
        assert_eq!(pace.wait(4, 5, began + ms(20), began + ms(21)), LOOK);
        assert_eq!(pace.wait(4, 5, began + ms(20), began + ms(24)), None);
        assert_eq!(pace.wait(4, 0, began + ms(20), began + ms(21)), None);
    }

    #[test]
    fn a_lone_caller_never_waits() {
        let (pace, began) = after(1);
        assert_eq!(pace.wait(1, 0, began, began + ms(3)), None);
        assert_eq!(pace.wait(1, 1, began, began + ms(3)), None);
    }

    #[test]
    fn callers_that_all_wait_already_wait_for_nobody() {
        let (pace, began) = after(8);
        assert_eq!(pace.wait(7, 0, began, began + ms(4)), LOOK);
        assert_eq!(pace.wait(8, 0, began, began + ms(4)), None);
        // Those whose batch is under way come back.
        assert_eq!(pace.wait(8, 1, began, began + ms(4)), LOOK);
    }

    #[test]
    fn callers_that_left_are_forgotten_batch_by_batch() {
        let (mut pace, began) = after(64);
        let batches = (1..200).take_while(|_| {
            pace.begins(2, 0, began);
            pace.wait(2, 0, began, began).is_some()
        });
        assert!((8..40).contains(&batches.count()));
    }

    #[test]
    fn a_full_batch_and_settings_of_zero_wait_for_nothing() {
        let (mut pace, began) = after(5);
        assert_eq!(pace.wait(pace.batch_max, 1, began, began), None);
        (pace.linger, pace.linger_min) = (Duration::ZERO, Duration::ZERO);
        assert_eq!(pace.wait(3, 1, began, began), None);
    }
}
