//! How fast somebody may try passwords: a delay that grows with each failure, and is never a lock.
//!
//! Tries are counted by user and network address together, by address, and by user. The last one allows many more and
//! delays little: whoever fails on purpose is not to keep the user out.

use std::collections::HashMap;
use std::time::Duration;

/// How one kind of key is delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// Failures without any delay.
    pub free: u32,
    /// The first delay; it doubles with each failure.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
    /// Without a failure for so long, all is forgotten.
    pub forgotten_after: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// Of the last one, since the beginning of the process.
    last: Duration,
}

/// Failures by key, for as many keys as are allowed: beyond them, those that failed longest ago are forgotten.
#[derive(Debug)]
pub struct Throttle {
    delays: Delays,
    keys_max: usize,
    failures: HashMap<String, Failures>,
}

impl Throttle {
    #[must_use]
    pub fn new(delays: Delays, keys_max: usize) -> Self {
        Self { delays, keys_max, failures: HashMap::new() }
    }

    /// How long the key has to wait; `now` is since the beginning of the process.
    #[must_use]
    pub fn wait(&self, key: &str, now: Duration) -> Duration {
        let Some(failures) = self.failures.get(key) else { return Duration::ZERO };
        let since = now.saturating_sub(failures.last);
        if since >= self.delays.forgotten_after {
            return Duration::ZERO;
        }
        self.delay(failures.count).saturating_sub(since)
    }

    /// Counts a failure. It is counted before it is known to be one: tries at the same time do not slip through.
    pub fn fail(&mut self, key: &str, now: Duration) {
        let forgotten_after = self.delays.forgotten_after;
        if !self.failures.contains_key(key) && self.failures.len() >= self.keys_max {
            self.make_room(now);
        }
        let failures = self.failures.entry(key.to_owned()).or_insert(Failures { count: 0, last: now });
        if now.saturating_sub(failures.last) >= forgotten_after {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// The try did not fail after all.
    pub fn take_back(&mut self, key: &str) {
        if let Some(failures) = self.failures.get_mut(key) {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// All failures of the key are forgotten.
    pub fn forget(&mut self, key: &str) {
        self.failures.remove(key);
    }

    fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.delays.free) {
            None | Some(0) => Duration::ZERO,
            // Beyond 2^20 times the first delay it is the longest in any case.
            Some(delayed) => {
                let factor = 1_u32 << (delayed - 1).min(20);
                self.delays.first.saturating_mul(factor).min(self.delays.longest)
            }
        }
    }

    /// Forgets what has lost its meaning; if that is nothing, the half that failed longest ago.
    fn make_room(&mut self, now: Duration) {
        let forgotten_after = self.delays.forgotten_after;
        self.failures.retain(|_, failures| now.saturating_sub(failures.last) < forgotten_after);
        if self.failures.len() < self.keys_max {
            return;
        }
        let mut times: Vec<Duration> = self.failures.values().map(|failures| failures.last).collect();
        times.sort_unstable();
        let Some(median) = times.get(times.len() / 2).copied() else { return };
        self.failures.retain(|_, failures| failures.last > median);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DELAYS: Delays =
        Delays { free: 3, first: SECOND, longest: Duration::from_secs(60), forgotten_after: Duration::from_secs(900) };

    fn failed(times: u32) -> Throttle {
        let mut throttle = Throttle::new(DELAYS, 100);
        (0..times).for_each(|_| throttle.fail("ada", Duration::ZERO));
        throttle
    }

    #[test]
    fn the_delay_doubles_after_the_free_tries_and_is_never_a_lock() {
        let waits = |times| failed(times).wait("ada", Duration::ZERO);
        assert_eq!((waits(0), waits(3)), (Duration::ZERO, Duration::ZERO));
        assert_eq!((waits(4), waits(5), waits(6)), (SECOND, 2 * SECOND, 4 * SECOND));
        assert_eq!((waits(10), waits(1_000)), (60 * SECOND, 60 * SECOND));
        assert_eq!(failed(1_000).wait("bob", Duration::ZERO), Duration::ZERO, "others do not wait");
    }

    #[test]
    fn waiting_helps_and_long_waiting_is_as_if_nothing_had_been() {
        let mut throttle = failed(6);
        assert_eq!(throttle.wait("ada", 3 * SECOND), SECOND);
        assert_eq!(throttle.wait("ada", 4 * SECOND), Duration::ZERO);
        throttle.fail("ada", 900 * SECOND);
        assert_eq!(throttle.wait("ada", 900 * SECOND), Duration::ZERO, "it is the first one again");
    }

    #[test]
    fn what_was_no_failure_is_taken_back() {
        let mut throttle = failed(4);
        throttle.take_back("ada");
        assert_eq!(throttle.wait("ada", Duration::ZERO), Duration::ZERO);
        throttle.forget("ada");
        throttle.take_back("ada");
        assert_eq!(throttle.wait("ada", Duration::ZERO), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn no_more_keys_are_kept_than_allowed_and_the_last_one_is(keys in proptest::collection::vec("[a-z]{1,3}", 1..200)) {
            let mut throttle = Throttle::new(Delays { free: 0, ..DELAYS }, 16);
            for (second, key) in (0..).zip(&keys) {
                let now = second * SECOND;
                throttle.fail(key, now);
                prop_assert!(throttle.failures.len() <= 16);
                prop_assert!(throttle.wait(key, now) >= SECOND);
            }
        }
    }
}
