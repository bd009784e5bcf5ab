//! How fast passwords may be tried: by user and network address, by network address, and by user.
//!
//! All instances count together, in Redis. Each counts for itself as well: that decides while Redis is away.

mod store;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use openorder_telemetry::RoleTelemetry;
use openorder_types::Rejection;

use self::store::Store;
use crate::config::UserSettings;
use crate::credentials::Tokens;
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

/// The delays of each count.
#[derive(Clone, Copy)]
struct AllDelays {
    user_and_peer: Delays,
    peer: Delays,
    user: Delays,
}

pub(super) struct Limits {
    delays: AllDelays,
    tokens: Tokens,
    store: Store,
    alone: Mutex<Throttles>,
    begun: Instant,
}

impl AllDelays {
    fn of(settings: &UserSettings) -> Self {
        let free = settings.sign_in_free_tries;
        let delays = |free: u32, longest_ms: u64| {
            let longest = Duration::from_millis(longest_ms);
            Delays {
                free,
                first: Duration::from_millis(settings.sign_in_delay_ms).min(longest),
                longest,
                forgotten_after: Duration::from_millis(settings.sign_in_forget_ms),
            }
        };
        Self {
            user_and_peer: delays(free, settings.sign_in_delay_max_ms),
            peer: delays(free.saturating_mul(PEER_FREE_FACTOR), settings.sign_in_delay_max_ms),
            user: delays(free.saturating_mul(USER_FREE_FACTOR), settings.sign_in_user_delay_max_ms),
        }
    }
}

impl Throttles {
    fn new(delays: AllDelays, keys_max: usize) -> Self {
        let throttle = |delays: Delays| Throttle::new(delays, keys_max);
        Self { user_and_peer: throttle(delays.user_and_peer), peer: throttle(delays.peer), user: throttle(delays.user) }
    }

    /// How long a try has to wait.
    fn wait(&self, user: &str, peer: &str, now: Duration) -> Duration {
        let wait = self.user_and_peer.wait(&both(user, peer), now).max(self.user.wait(user, now));
        if peer.is_empty() { wait } else { wait.max(self.peer.wait(peer, now)) }
    }

    fn fail(&mut self, user: &str, peer: &str, now: Duration) {
        self.user_and_peer.fail(&both(user, peer), now);
        self.user.fail(user, now);
        if !peer.is_empty() {
            self.peer.fail(peer, now);
        }
    }

    /// The try did not fail.
    fn succeeded(&mut self, user: &str, peer: &str) {
        self.user_and_peer.forget(&both(user, peer));
        self.user.take_back(user);
        self.peer.take_back(peer);
    }

    /// The try was not made.
    fn take_back(&mut self, user: &str, peer: &str) {
        self.user_and_peer.take_back(&both(user, peer));
        self.user.take_back(user);
        self.peer.take_back(peer);
    }
}

impl Limits {
    /// # Errors
    /// Redis' URL is none.
    pub(super) fn new(settings: &UserSettings, tokens: Tokens, role: RoleTelemetry) -> anyhow::Result<Self> {
        let delays = AllDelays::of(settings);
        let timeout = Duration::from_millis(settings.redis_timeout_ms);
        Ok(Self {
            delays,
            tokens,
            store: Store::new(&settings.redis_url, timeout, role)?,
            alone: Mutex::new(Throttles::new(delays, settings.sign_in_keys_max)),
            begun: Instant::now(),
        })
    }

    /// Lets a try pass. It counts as failed until it is known not to be.
    ///
    /// # Errors
    /// `SIGN_IN_DELAYED`.
    pub(super) async fn admit(&self, user: &str, peer: &str) -> Result<(), Rejection> {
        let together = self.store.admit(&self.counts(user, peer), self.delays.user.forgotten_after).await;
        let now = self.begun.elapsed();
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = together.unwrap_or_else(|| alone.wait(user, peer, now));
        if !wait.is_zero() {
            return Err(sign_in_delayed(wait));
        }
        alone.fail(user, peer, now);
        Ok(())
    }

    /// The try did not fail.
    pub(super) async fn succeeded(&self, user: &str, peer: &str) {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner).succeeded(user, peer);
        self.store.take_back(&self.counts(user, peer), 1).await;
    }

    /// The try was not made: no password was looked at.
    pub(super) async fn take_back(&self, user: &str, peer: &str) {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner).take_back(user, peer);
        self.store.take_back(&self.counts(user, peer), 0).await;
    }

    /// What a try counts in, by codes that tell nobody who it is; that of user and address together is first.
    fn counts(&self, user: &str, peer: &str) -> Vec<(String, Delays)> {
        let code = |kind, text: &str| self.tokens.sign_in_code(kind, text);
        let AllDelays { user_and_peer, peer: of_peer, user: of_user } = self.delays;
        let mut counts = vec![(code("both", &both(user, peer)), user_and_peer), (code("user", user), of_user)];
        if !peer.is_empty() {
            counts.push((code("peer", peer), of_peer));
        }
        counts
    }
}

/// Neither has a line feed in it.
fn both(user: &str, peer: &str) -> String {
    format!("{user}\n{peer}")
}

#[cfg(test)]
mod tests {
    use openorder_testing::{Cut, eventually, free_address, redis_url};

    use super::*;
    use crate::credentials::testing::tokens;

    fn settings() -> UserSettings {
        UserSettings {
            sign_in_free_tries: 2,
            sign_in_delay_ms: 60_000,
            redis_timeout_ms: 2_000,
            ..UserSettings::default()
        }
    }

    fn limits(settings: &UserSettings, tokens: &Tokens) -> Limits {
        Limits::new(settings, tokens.clone(), RoleTelemetry::disabled("user")).unwrap()
    }

    /// An instance that counts in Redis, for a service that nobody else is.
    fn with_redis() -> Limits {
        limits(&UserSettings { redis_url: redis_url().as_str().into(), ..settings() }, &tokens())
    }

    /// One whose Redis is away.
    fn without_redis() -> Limits {
        limits(
            &UserSettings { redis_url: format!("redis://{}", free_address()).as_str().into(), ..settings() },
            &tokens(),
        )
    }

    fn both_ways() -> [Limits; 2] {
        [with_redis(), without_redis()]
    }

    async fn reason(limits: &Limits, user: &str, peer: &str) -> Option<&'static str> {
        limits.admit(user, peer).await.err().map(|rejection| rejection.reason)
    }

    const DELAYED: Option<&str> = Some("SIGN_IN_DELAYED");

    #[tokio::test]
    async fn a_user_is_delayed_for_the_address_that_failed_and_not_for_others() {
        for limits in both_ways() {
            for _ in 0..3 {
                assert_eq!(reason(&limits, "ada", "192.0.2.1").await, None);
            }
            assert_eq!(reason(&limits, "ada", "192.0.2.1").await, DELAYED);
            assert_eq!(reason(&limits, "ada", "192.0.2.2").await, None, "she can still sign in from elsewhere");
            assert_eq!(reason(&limits, "bob", "192.0.2.1").await, None);
        }
    }

    #[tokio::test]
    async fn who_tries_many_users_is_delayed_for_all() {
        for limits in both_ways() {
            for user in 0..21 {
                assert_eq!(reason(&limits, &format!("user{user}"), "192.0.2.1").await, None, "{user}");
            }
            assert_eq!(reason(&limits, "somebody", "192.0.2.1").await, DELAYED);
            assert_eq!(reason(&limits, "somebody", "192.0.2.2").await, None);
            assert_eq!(reason(&limits, "user0", "").await, None, "an address that is not known is nobody's");
        }
    }

    #[tokio::test]
    async fn a_right_password_makes_all_failures_of_the_address_forgotten() {
        for limits in both_ways() {
            for _ in 0..50 {
                assert_eq!(reason(&limits, "ada", "192.0.2.1").await, None);
                limits.succeeded("ada", "192.0.2.1").await;
            }
        }
    }

    #[tokio::test]
    async fn what_was_no_try_counts_nowhere() {
        for limits in both_ways() {
            for _ in 0..50 {
                assert_eq!(reason(&limits, "ada", "192.0.2.1").await, None);
                limits.take_back("ada", "192.0.2.1").await;
            }
        }
    }

    #[tokio::test]
    async fn tries_at_many_addresses_delay_a_user_a_little() {
        for limits in both_ways() {
            for peer in 0..41 {
                assert_eq!(reason(&limits, "ada", &format!("192.0.2.{peer}")).await, None, "{peer}");
            }
            let refused = limits.admit("ada", "198.51.100.1").await.unwrap_err();
            assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_secs(2)), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn delays_grow_in_redis_as_they_do_alone() {
        let settings = UserSettings {
            sign_in_free_tries: 1,
            // Within a test no time passes that matters.
            sign_in_delay_ms: 60_000,
            sign_in_delay_max_ms: 3_600_000,
            redis_url: redis_url().as_str().into(),
            redis_timeout_ms: 2_000,
            ..UserSettings::default()
        };
        let tokens = tokens();
        let limits = limits(&settings, &tokens);
        let delays = limits.delays.user_and_peer;
        let (code, mut alone) = (tokens.sign_in_code("test", "ada"), Throttle::new(delays, 100));
        for failures in 1..12_u32 {
            // With a longest delay of nothing each try passes, and counts.
            let passing = [(code.clone(), Delays { longest: Duration::ZERO, ..delays })];
            assert_eq!(limits.store.admit(&passing, delays.forgotten_after).await, Some(Duration::ZERO));
            alone.fail("ada", Duration::ZERO);
            let expected = alone.wait("ada", Duration::ZERO);
            if expected.is_zero() {
                continue;
            }
            let wait = limits.store.admit(&[(code.clone(), delays)], delays.forgotten_after).await.unwrap();
            let least = expected.saturating_sub(Duration::from_secs(30));
            assert!(wait <= expected && wait > least, "{failures}: {wait:?} instead of {expected:?}");
        }
    }

    #[tokio::test]
    async fn instances_count_together_and_no_other_service_does() {
        let (settings, tokens) = (UserSettings { redis_url: redis_url().as_str().into(), ..settings() }, tokens());
        let (one, other) = (limits(&settings, &tokens), limits(&settings, &tokens));
        for instance in [&one, &other, &one] {
            assert_eq!(reason(instance, "ada", "192.0.2.1").await, None);
        }
        assert_eq!(reason(&other, "ada", "192.0.2.1").await, DELAYED);
        assert_eq!(reason(&one, "ada", "192.0.2.1").await, DELAYED);
        assert_eq!(reason(&with_redis(), "ada", "192.0.2.1").await, None, "a service with another key");
        assert_eq!(reason(&other, "bob", "192.0.2.1").await, None);
        other.succeeded("bob", "192.0.2.1").await;
        assert_eq!(reason(&one, "ada", "192.0.2.1").await, DELAYED, "it was about another user");
    }

    #[tokio::test]
    async fn while_redis_is_away_each_instance_counts_alone_and_then_together_again() {
        let server = redis_url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let cable = Cut::to(&server).await;
        let redis_url = format!("redis://{}", cable.address());
        let (settings, tokens) =
            (UserSettings { redis_url: redis_url.as_str().into(), redis_timeout_ms: 200, ..settings() }, tokens());
        let (one, other) = (limits(&settings, &tokens), limits(&settings, &tokens));
        for instance in [&one, &other] {
            assert_eq!(reason(instance, "ada", "192.0.2.1").await, None);
        }
        cable.cut();
        // Each knows what it let pass itself: one more passes at each, and another one.
        for instance in [&one, &other] {
            for _ in 0..2 {
                assert_eq!(reason(instance, "ada", "192.0.2.1").await, None);
            }
            assert_eq!(reason(instance, "ada", "192.0.2.1").await, DELAYED);
            let began = Instant::now();
            assert_eq!(reason(instance, "bob", "192.0.2.1").await, None);
            assert!(began.elapsed() < Duration::from_secs(2), "nobody waits for it: {:?}", began.elapsed());
        }
        cable.mend();
        // In Redis there are two failures of ada: a third one passes at either, and then none.
        let again = || async { reason(&other, "ada", "192.0.2.1").await.is_none().then_some(()) };
        eventually("they count together again", Duration::from_secs(30), again).await;
        assert_eq!(reason(&one, "ada", "192.0.2.1").await, DELAYED);
        assert_eq!(reason(&other, "ada", "192.0.2.1").await, DELAYED);
    }
}
