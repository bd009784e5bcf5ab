//! What an instance saw a moment ago and tells the others.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use openorder_telemetry::TraceContext;
use redis::Script;
use tokio::runtime::Handle;

use crate::{connection::Connection, recent::Recent};

/// A name that is longer is none of ours, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Bounds of [`Hints`].
#[derive(Debug, Clone, Copy)]
pub struct HintLimits {
    /// How long a hint is followed at least; twice that at most.
    pub keep: Duration,
    /// How often this instance and Redis tell each other, at most.
    pub interval: Duration,
    /// Hints that this instance keeps at most; of more, the oldest go.
    pub names_max: usize,
    /// Hints that Redis keeps at most, and that wait to be told; of more in Redis, the oldest go.
    pub told_max: usize,
}

/// Names of which something was so a moment ago: whoever meets one asks those who know before it works. A hint that is
/// wrong costs that question, and one that is missing saves nothing; neither decides anything.
///
/// Nobody waits for Redis. What others told is taken over beside the calls that look for hints: with the first call after
/// [`HintLimits::interval`], for the calls after it. Clones are the same hints.
#[derive(Clone)]
pub struct Hints {
    shared: Arc<Shared>,
}

struct Shared {
    /// None: this instance goes by what it has seen itself.
    connection: Option<Arc<Connection>>,
    key: String,
    limits: HintLimits,
    exchange: Script,
    state: Mutex<State>,
}

struct State {
    recent: Recent,
    told: Vec<Box<[u8]>>,
    forgotten: Vec<Box<[u8]>>,
    /// Up to when what others told is known, by the clock of Redis in microseconds.
    since: u64,
    next: Instant,
    is_exchanging: bool,
}

impl Hints {
    /// Hints that stand under this key of Redis; without a connection, of this instance alone.
    #[must_use]
    pub fn new(connection: Option<Arc<Connection>>, key: String, limits: HintLimits) -> Self {
        let now = Instant::now();
        let state = State {
            recent: Recent::new(limits.keep, limits.names_max, now),
            told: Vec::new(),
            forgotten: Vec::new(),
            since: 0,
            next: now,
            is_exchanging: false,
        };
        let exchange = Script::new(include_str!("scripts/exchange.lua"));
        Self { shared: Arc::new(Shared { connection, key, limits, exchange, state: Mutex::new(state) }) }
    }

    /// Whether there is a hint of this name.
    #[must_use]
    pub fn has(&self, name: &[u8]) -> bool {
        let now = Instant::now();
        let mut state = self.shared.state();
        let has = state.recent.has(name, now);
        if now >= state.next {
            self.begin_exchange(&mut state);
        }
        has
    }

    /// Notes a name, and tells the others.
    pub fn tell(&self, name: &[u8]) {
        let mut state = self.shared.state();
        state.recent.insert(name, Instant::now());
        if self.shared.connection.is_some() && state.told.len() < self.shared.limits.told_max {
            state.told.push(name.into());
            self.begin_exchange(&mut state);
        }
    }

    /// Notes a name for this instance alone.
    pub fn note(&self, name: &[u8]) {
        self.shared.state().recent.insert(name, Instant::now());
    }

    /// What was noted of this name is not so any more. Others find that out by themselves.
    pub fn forget(&self, name: &[u8]) {
        let mut state = self.shared.state();
        let was_there = state.recent.remove(name);
        if was_there && self.shared.connection.is_some() && state.forgotten.len() < self.shared.limits.told_max {
            state.forgotten.push(name.into());
            self.begin_exchange(&mut state);
        }
    }

    /// One at a time, beside the call.
    fn begin_exchange(&self, state: &mut State) {
        if self.shared.connection.is_none() || state.is_exchanging {
            return;
        }
        // A call that is dropped may be dropped by a process that ends.
        if let Ok(runtime) = Handle::try_current() {
            state.is_exchanging = true;
            runtime.spawn(Arc::clone(&self.shared).exchange_all());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until nothing waits to be told.
    async fn exchange_all(self: Arc<Self>) {
        loop {
            let next = self.state().next;
            tokio::time::sleep_until(next.into()).await;
            self.exchange_once().await;
            let mut state = self.state();
            state.next = Instant::now() + self.limits.interval;
            if state.told.is_empty() && state.forgotten.is_empty() {
                state.is_exchanging = false;
                return;
            }
        }
    }

    /// What cannot be told now is not told: nobody needs to know it.
    async fn exchange_once(&self) {
        let Some(connection) = &self.connection else { return };
        let mut call = self.exchange.key(self.key.as_str());
        {
            let mut state = self.state();
            let (told, forgotten) = (std::mem::take(&mut state.told), std::mem::take(&mut state.forgotten));
            let keep_ms = u64::try_from(self.limits.keep.as_millis()).unwrap_or(u64::MAX);
            call.arg(keep_ms).arg(self.limits.told_max).arg(state.since).arg(forgotten.len());
            for name in forgotten.iter().chain(&told) {
                call.arg(&name[..]);
            }
        }
        match connection.invoke::<Vec<Vec<u8>>>("exchange hints", &call, &TraceContext::NONE).await {
            Ok(answer) => self.take_over(&answer),
            Err(fault) => tracing::debug!(%fault, key = self.key.as_str(), "hints are not exchanged"),
        }
    }

    fn take_over(&self, answer: &[Vec<u8>]) {
        let Some((time, names)) = answer.split_first() else { return };
        let (now, mut state) = (Instant::now(), self.state());
        if let Some(time) = std::str::from_utf8(time).ok().and_then(|time| time.parse().ok()) {
            state.since = time;
        }
        for name in names.iter().filter(|name| name.len() <= NAME_BYTES_MAX) {
            state.recent.insert(name, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use openorder_config::Secret;
    use openorder_telemetry::RoleTelemetry;
    use openorder_testing::{Cut, eventually, redis_url};
    use uuid::Uuid;

    use super::*;

    const BOUND: Duration = Duration::from_secs(30);
    const LIMITS: HintLimits = HintLimits {
        keep: Duration::from_secs(60),
        interval: Duration::from_millis(20),
        names_max: 1_000,
        told_max: 50,
    };

    fn key() -> String {
        format!("openorder:test:hints:{}", Uuid::new_v4())
    }

    fn instance(url: &str, key: &str) -> Hints {
        let telemetry = RoleTelemetry::disabled("test");
        let connection = Connection::new(&Secret::new(url), Duration::from_millis(200), telemetry).unwrap();
        Hints::new(Some(Arc::new(connection)), key.to_owned(), LIMITS)
    }

    async fn until_heard(hints: &Hints, name: &[u8]) {
        eventually("it is heard of", BOUND, || async { hints.has(name).then_some(()) }).await;
    }

    async fn ask<T: redis::FromRedisValue>(command: &redis::Cmd) -> T {
        let client = redis::Client::open(redis_url()).unwrap();
        command.query_async(&mut client.get_multiplexed_async_connection().await.unwrap()).await.unwrap()
    }

    async fn count(key: &str) -> i64 {
        ask(redis::cmd("ZCARD").arg(key)).await
    }

    #[tokio::test]
    async fn what_one_instance_tells_the_other_hears_and_what_it_notes_for_itself_it_does_not() {
        let key = key();
        let (one, other) = (instance(&redis_url(), &key), instance(&redis_url(), &key));
        one.note(b"own");
        one.tell(b"told");
        assert!(one.has(b"own") && one.has(b"told"));
        assert!(!other.has(b"told"), "nobody waits for Redis");
        until_heard(&other, b"told").await;
        assert!(!other.has(b"own"));
        // What comes later too, and what is not so any more is not told on.
        one.tell(b"later");
        until_heard(&other, b"later").await;
        other.forget(b"told");
        assert!(!other.has(b"told") && one.has(b"told"), "the other one finds out by itself");
        eventually("it is gone", BOUND, || async { (count(&key).await == 1).then_some(()) }).await;
        assert!(ask::<i64>(redis::cmd("PTTL").arg(&key)).await > 0, "it goes by itself");
        let third = instance(&redis_url(), &key);
        until_heard(&third, b"later").await;
        assert!(!third.has(b"told"));
        ask::<()>(redis::cmd("DEL").arg(&key)).await;
    }

    #[tokio::test]
    async fn redis_keeps_no_more_than_its_bound_and_a_redis_that_is_empty_or_has_something_else_there_changes_nothing()
    {
        let key = key();
        let hints = instance(&redis_url(), &key);
        for number in 0..500_u32 {
            hints.tell(&number.to_be_bytes());
        }
        eventually("they are told", BOUND, || async { (count(&key).await > 0).then_some(()) }).await;
        assert!(count(&key).await <= 50);
        ask::<()>(redis::cmd("DEL").arg(&key)).await;
        assert!(hints.has(&7_u32.to_be_bytes()), "it saw that itself");
        hints.tell(b"after");
        eventually("it is told", BOUND, || async { (count(&key).await == 1).then_some(()) }).await;

        ask::<()>(redis::cmd("SET").arg(&key).arg("nothing of ours")).await;
        hints.tell(b"unheard");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(hints.has(b"unheard") && !hints.has(b"other"));
        ask::<()>(redis::cmd("DEL").arg(&key)).await;
        let long = vec![b'x'; NAME_BYTES_MAX + 1];
        ask::<()>(redis::cmd("ZADD").arg(&key).arg("+inf").arg(&long).arg("+inf").arg("false")).await;
        until_heard(&hints, b"false").await;
        assert!(!hints.has(&long));
        ask::<()>(redis::cmd("DEL").arg(&key)).await;
    }

    #[tokio::test]
    async fn while_redis_is_away_or_silent_nobody_waits_and_it_is_told_on_when_it_is_back() {
        let key = key();
        let server = redis_url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let cable = Cut::to(&server).await;
        let (near, far) = (instance(&format!("redis://{}", cable.address()), &key), instance(&redis_url(), &key));
        cable.cut();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let waits = instance(&format!("redis://{}", silent.local_addr().unwrap()), &key);
        let began = Instant::now();
        for number in 0..1_000_u32 {
            for hints in [&near, &waits] {
                hints.tell(&number.to_be_bytes());
                assert!(hints.has(&number.to_be_bytes()) && !hints.has(b"other"));
                hints.forget(&number.to_be_bytes());
            }
            tokio::task::yield_now().await;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        far.tell(b"meanwhile");
        cable.mend();
        until_heard(&near, b"meanwhile").await;
        near.tell(b"back");
        until_heard(&far, b"back").await;
        ask::<()>(redis::cmd("DEL").arg(&key)).await;
    }
}
