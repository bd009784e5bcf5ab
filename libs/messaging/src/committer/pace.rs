//! How long commands wait for company before they become a batch.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::CommitterSettings;

/// Callers that left are forgotten after one to two of these.
const MEMORY: Duration = Duration::from_millis(250);

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
    /// The most commands that were there at a time, waiting or being committed, since `counted_since`.
    most: usize,
    /// The same of the [`MEMORY`] before.
    most_before: usize,
    counted_since: Option<Instant>,
}

/// What ends the wait of a batch, whichever comes first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) at_most: Duration,
    /// That so many commands wait.
    pub(super) commands: usize,
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
            most_before: 0,
            counted_since: None,
        }
    }

    /// What so many commands, the first of which was taken at `since`, wait for; `None` if they are a batch now.
    pub(super) fn wait(&self, waiting: usize, committing: usize, since: Instant, now: Instant) -> Option<Wait> {
        let several = waiting.max(self.last) >= self.batch_min;
        // Those whose commands are being committed come back.
        let all = if committing == 0 { self.most.max(self.most_before).min(self.batch_max) } else { self.batch_max };
        if !several || waiting >= all {
            return None;
        }
        let floor = self.began.map_or(now, |began| began + self.linger_min);
        let until = if committing > 0 { floor.max(since + self.linger) } else { floor };
        let at_most = until.saturating_duration_since(now);
        (!at_most.is_zero()).then_some(Wait { at_most, commands: all })
    }

    /// A batch of so many commands begins while so many others are being committed.
    pub(super) fn begins(&mut self, count: usize, committing: usize, now: Instant) {
        let age = self.counted_since.map(|since| now.saturating_duration_since(since));
        if age.is_none_or(|age| age >= MEMORY) {
            let is_recent = age.is_some_and(|age| age < 2 * MEMORY);
            self.most_before = if is_recent { self.most } else { 0 };
            (self.most, self.counted_since) = (0, Some(now));
        }
        self.most = self.most.max(count + committing);
        (self.began, self.last) = (Some(now), count);
    }
}

/// Wakes the committer once as many commands wait as it waits for: each that comes would else, thousands a second.
#[derive(Default)]
pub(super) struct Arrivals {
    awaited: AtomicUsize,
    reached: Notify,
}

impl Arrivals {
    /// Nobody: no count of commands wakes.
    const NONE: usize = 0;

    /// A command came, after which so many are queued.
    pub(super) fn came(&self, queued: impl FnOnce() -> usize) {
        let awaited = self.awaited.load(Ordering::SeqCst);
        if awaited != Self::NONE && queued() >= awaited && self.awaited.swap(Self::NONE, Ordering::SeqCst) != Self::NONE
        {
            self.reached.notify_one();
        }
    }

    /// Ends when so many are `queued`. One that comes just now may be missed: whoever waits sets a time too.
    pub(super) async fn reach(&self, count: usize, queued: impl Fn() -> usize) {
        self.awaited.store(count, Ordering::SeqCst);
        if queued() < count {
            self.reached.notified().await;
        }
    }

    /// The wait is over: nobody is woken any more.
    pub(super) fn stop_waiting(&self) {
        self.awaited.store(Self::NONE, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

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

    fn wait(at_most_ms: u64, commands: usize) -> Option<Wait> {
        Some(Wait { at_most: ms(at_most_ms), commands })
    }

    #[test]
    fn while_several_callers_are_about_batches_begin_at_the_least_distance() {
        let (pace, began) = after(5);
        assert_eq!(pace.wait(1, 0, began + ms(3), began + ms(3)), wait(7, 5));
        assert_eq!(pace.wait(4, 0, began + ms(3), began + ms(9)), wait(1, 5));
        assert_eq!(pace.wait(4, 0, began + ms(3), began + ms(10)), None);
    }

    #[test]
    fn while_another_batch_is_being_committed_commands_wait_a_little_in_any_case() {
        let (pace, began) = after(5);
        assert_eq!(pace.wait(4, 5, began + ms(20), began + ms(21)), wait(3, pace.batch_max));
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
        assert_eq!(pace.wait(7, 0, began, began + ms(4)), wait(6, 8));
        assert_eq!(pace.wait(8, 0, began, began + ms(4)), None);
        // Those whose batch is under way come back.
        assert_eq!(pace.wait(8, 1, began, began + ms(4)), wait(6, pace.batch_max));
    }

    #[test]
    fn callers_that_left_are_forgotten_within_half_a_second() {
        let (mut pace, mut now) = after(64);
        let began = now;
        while pace.wait(2, 0, now, now).is_some() {
            now += ms(10);
            pace.begins(2, 0, now);
        }
        assert!((ms(250)..=ms(520)).contains(&(now - began)));
    }

    #[test]
    fn after_a_pause_nobody_is_remembered() {
        let (mut pace, began) = after(64);
        pace.begins(2, 0, began + ms(700));
        assert_eq!(pace.wait(2, 0, began + ms(701), began + ms(701)), None);
    }

    #[test]
    fn a_full_batch_and_settings_of_zero_wait_for_nothing() {
        let (mut pace, began) = after(5);
        assert_eq!(pace.wait(pace.batch_max, 1, began, began), None);
        (pace.linger, pace.linger_min) = (Duration::ZERO, Duration::ZERO);
        assert_eq!(pace.wait(3, 1, began, began), None);
    }

    #[tokio::test]
    async fn the_command_that_makes_the_count_full_wakes_and_no_other_does() {
        let (arrivals, queued) = (Arc::new(Arrivals::default()), Arc::new(AtomicUsize::new(0)));
        let came = || {
            let count = queued.fetch_add(1, Ordering::SeqCst) + 1;
            arrivals.came(|| count);
        };
        // Nobody waits yet.
        came();
        let waits = tokio::spawn({
            let (arrivals, queued) = (Arc::clone(&arrivals), Arc::clone(&queued));
            async move { arrivals.reach(3, || queued.load(Ordering::SeqCst)).await }
        });
        tokio::task::yield_now().await;
        came();
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        came();
        tokio::time::timeout(Duration::from_secs(5), waits).await.expect("it wakes").expect("no panic");
    }
}
