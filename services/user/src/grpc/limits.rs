//! How fast passwords may be tried, in this process: by user and network address, by network address, and by user.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use openorder_types::Rejection;

use crate::config::UserSettings;
use crate::domain::{Delays, Throttle, sign_in_delayed};

/// Tries of one address, for all users together, are as many times as many as those for one.
const PEER_FREE_FACTOR: u32 = 10;
/// Tries of one user, from all addresses together.
const USER_FREE_FACTOR: u32 = 20;

struct Throttles {
    user_and_peer: Throttle,
    peer: Throttle,
    user: Throttle,
}

pub(super) struct Limits {
    throttles: Mutex<Throttles>,
    begun: Instant,
}

impl Limits {
    pub(super) fn new(settings: &UserSettings) -> Self {
        let free = settings.sign_in_free_tries;
        let throttle = |free: u32, longest_ms: u64| {
            let longest = Duration::from_millis(longest_ms);
            let delays = Delays {
                free,
                first: Duration::from_millis(settings.sign_in_delay_ms).min(longest),
                longest,
                forgotten_after: Duration::from_millis(settings.sign_in_forget_ms),
            };
            Throttle::new(delays, settings.sign_in_keys_max)
        };
        let throttles = Throttles {
            user_and_peer: throttle(free, settings.sign_in_delay_max_ms),
            peer: throttle(free.saturating_mul(PEER_FREE_FACTOR), settings.sign_in_delay_max_ms),
            user: throttle(free.saturating_mul(USER_FREE_FACTOR), settings.sign_in_user_delay_max_ms),
        };
        Self { throttles: Mutex::new(throttles), begun: Instant::now() }
    }

    /// Lets a try pass. It counts as failed until it is known not to be.
    ///
    /// # Errors
    /// `SIGN_IN_DELAYED`.
    pub(super) fn admit(&self, user: &str, peer: &str) -> Result<(), Rejection> {
        let (now, both) = (self.begun.elapsed(), both(user, peer));
        let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wait = throttles.user_and_peer.wait(&both, now).max(throttles.user.wait(user, now));
        if !peer.is_empty() {
            wait = wait.max(throttles.peer.wait(peer, now));
        }
        if !wait.is_zero() {
            return Err(sign_in_delayed(wait));
        }
        throttles.user_and_peer.fail(&both, now);
        throttles.user.fail(user, now);
        if !peer.is_empty() {
            throttles.peer.fail(peer, now);
        }
        Ok(())
    }

    /// The try did not fail.
    pub(super) fn succeeded(&self, user: &str, peer: &str) {
        let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        throttles.user_and_peer.forget(&both(user, peer));
        throttles.user.take_back(user);
        throttles.peer.take_back(peer);
    }

    /// The try was not made: no password was looked at.
    pub(super) fn take_back(&self, user: &str, peer: &str) {
        let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        throttles.user_and_peer.take_back(&both(user, peer));
        throttles.user.take_back(user);
        throttles.peer.take_back(peer);
    }
}

/// Neither has a line feed in it.
fn both(user: &str, peer: &str) -> String {
    format!("{user}\n{peer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::new(&UserSettings { sign_in_free_tries: 2, sign_in_delay_ms: 60_000, ..UserSettings::default() })
    }

    fn reason(admitted: Result<(), Rejection>) -> Option<&'static str> {
        admitted.err().map(|rejection| rejection.reason)
    }

    #[test]
    fn a_user_is_delayed_for_the_address_that_failed_and_not_for_others() {
        let limits = limits();
        assert_eq!([1, 2, 3].map(|_| reason(limits.admit("ada", "192.0.2.1"))), [None; 3]);
        assert_eq!(reason(limits.admit("ada", "192.0.2.1")), Some("SIGN_IN_DELAYED"));
        assert_eq!(reason(limits.admit("ada", "192.0.2.2")), None, "she can still sign in from elsewhere");
        assert_eq!(reason(limits.admit("bob", "192.0.2.1")), None);
    }

    #[test]
    fn who_tries_many_users_is_delayed_for_all() {
        let limits = limits();
        let tried = (0..21).filter(|user| limits.admit(&format!("user{user}"), "192.0.2.1").is_ok());
        assert_eq!(tried.count(), 21);
        assert_eq!(reason(limits.admit("somebody", "192.0.2.1")), Some("SIGN_IN_DELAYED"));
        assert_eq!(reason(limits.admit("somebody", "192.0.2.2")), None);
    }

    #[test]
    fn a_right_password_makes_all_failures_of_the_address_forgotten() {
        let limits = limits();
        for _ in 0..100 {
            assert_eq!(reason(limits.admit("ada", "192.0.2.1")), None);
            limits.succeeded("ada", "192.0.2.1");
        }
    }

    #[test]
    fn tries_at_many_addresses_delay_a_user_a_little() {
        let limits = limits();
        let tried = (0..100).take_while(|peer| limits.admit("ada", &format!("192.0.2.{peer}")).is_ok());
        assert_eq!(tried.count(), 41);
        let refused = limits.admit("ada", "198.51.100.1").unwrap_err();
        assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_secs(2)), "{refused:?}");
    }
}
