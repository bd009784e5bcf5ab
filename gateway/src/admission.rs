//! How many calls a service is given at a time, and whose.
//!
//! Beyond what a service can do, calls in flight only make each other wait. So the limit follows the latency
//! (additive increase, multiplicative decrease): while calls answer within the target it grows as far as it is used,
//! and it shrinks as soon as they do not. What does not fit is refused at once with a time to retry, which is cheap,
//! and what was let in stays quick.
//!
//! When places are scarce they are shared out evenly, first between the peers that are there, then between each one's
//! callers: a caller above its share is refused first, and one below its share is let in as long as there is any room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openorder_telemetry::api::{Counter, Gauge, KeyValue};

/// Who calls, as far as places are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallerKey {
    /// Many callers may come from one peer; together they have its share.
    pub(crate) peer: u64,
    /// The caller, among all.
    pub(crate) caller: u64,
}

/// How the limit moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionSettings {
    /// The limit never falls below.
    pub(crate) in_flight_min: usize,
    /// The limit never rises above.
    pub(crate) in_flight_max: usize,
    /// Nine calls in ten shall answer within this time.
    pub(crate) latency_target: Duration,
    /// The limit is looked at once in this time.
    pub(crate) window: Duration,
}

/// Calls in a window from which its latency says something.
const SAMPLES_MIN: u32 = 10;

/// The admission to one service. Clones share it.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    limit: Gauge<u64>,
    refused: Counter<u64>,
    role: KeyValue,
}

/// A place; given back when it is dropped, which also tells how long the call took.
pub(crate) struct Place {
    admission: Admission,
    caller: CallerKey,
    since: Instant,
}

impl Admission {
    pub(crate) fn new(upstream: &'static str, settings: AdmissionSettings) -> Self {
        let meter = openorder_telemetry::meter();
        Self(Arc::new(Inner {
            state: Mutex::new(State::new(settings, Instant::now())),
            limit: meter
                .u64_gauge("openorder.gateway.in_flight_limit")
                .with_unit("{call}")
                .with_description("Calls that a service is given at a time")
                .build(),
            refused: meter
                .u64_counter("openorder.gateway.refused")
                .with_unit("{call}")
                .with_description("Calls refused because the service had as many as it can answer in time")
                .build(),
            role: KeyValue::new("upstream", upstream),
        }))
    }

    /// A place for a call of this caller, or none.
    pub(crate) fn enter(&self, caller: CallerKey) -> Option<Place> {
        let since = Instant::now();
        if self.state().enter(caller) {
            return Some(Place { admission: self.clone(), caller, since });
        }
        self.0.refused.add(1, std::slice::from_ref(&self.0.role));
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = Instant::now();
        let moved = self.admission.state().leave(self.caller, now - self.since, now);
        if let Some(limit) = moved {
            self.admission.0.limit.record(limit as u64, std::slice::from_ref(&self.admission.0.role));
        }
    }
}

/// The rule, without clocks and locks.
struct State {
    settings: AdmissionSettings,
    limit: usize,
    in_flight: usize,
    peers: HashMap<u64, PeerState>,
    window_began: Instant,
    /// Calls that ended in the window, and those of them that took longer than the target.
    ended: u32,
    late: u32,
    /// Most calls in flight in the window.
    peak: usize,
}

/// The calls in flight of one peer.
#[derive(Default)]
struct PeerState {
    in_flight: usize,
    callers: HashMap<u64, usize>,
}

impl State {
    fn new(settings: AdmissionSettings, now: Instant) -> Self {
        Self {
            // From the middle: a fresh gateway neither refuses a normal start nor floods a cold service.
            limit: settings.in_flight_min.max(settings.in_flight_max / 4),
            settings,
            in_flight: 0,
            peers: HashMap::new(),
            window_began: now,
            ended: 0,
            late: 0,
            peak: 0,
        }
    }

    fn enter(&mut self, key: CallerKey) -> bool {
        if self.in_flight >= self.bound(key) {
            // Refused: the limit was felt.
            self.peak = self.peak.max(self.limit);
            return false;
        }
        self.in_flight += 1;
        self.peak = self.peak.max(self.in_flight);
        let peer = self.peers.entry(key.peer).or_default();
        peer.in_flight += 1;
        *peer.callers.entry(key.caller).or_default() += 1;
        true
    }

    /// How many calls may be in flight when one more of this caller enters.
    fn bound(&self, key: CallerKey) -> usize {
        let peer = self.peers.get(&key.peer);
        let mine = peer.and_then(|peer| peer.callers.get(&key.caller)).copied().unwrap_or(0);
        let peers = self.peers.len() + usize::from(peer.is_none());
        let callers = peer.map_or(0, |peer| peer.callers.len()) + usize::from(mine == 0);
        let share = (self.limit / peers / callers).max(1);
        let peer_share = (self.limit / peers).max(1);
        let peer_is_below = peers == 1 || peer.map_or(0, |peer| peer.in_flight) < peer_share;
        match (mine < share, peer_is_below) {
            _ if peers == 1 && callers == 1 => self.limit,
            // It may go beyond the limit: those above their share make room as their calls end.
            (true, true) => self.limit.saturating_mul(2),
            // Its own peer's others took what it should have; strangers did not.
            (true, false) => self.limit,
            // The last tenth is kept for callers below their share.
            (false, _) => self.limit - self.limit / 10,
        }
    }

    /// The new limit, when it was looked at.
    fn leave(&mut self, key: CallerKey, took: Duration, now: Instant) -> Option<usize> {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&key.peer) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            if let Some(mine) = peer.callers.get_mut(&key.caller) {
                *mine -= 1;
                if *mine == 0 {
                    peer.callers.remove(&key.caller);
                }
            }
            if peer.callers.is_empty() {
                self.peers.remove(&key.peer);
            }
        }
        self.ended += 1;
        self.late += u32::from(took > self.settings.latency_target);
        if now.saturating_duration_since(self.window_began) < self.settings.window || self.ended < SAMPLES_MIN {
            return None;
        }
        if self.late * 10 > self.ended {
            self.limit = (self.limit - self.limit / 10).max(self.settings.in_flight_min);
        } else if self.peak >= self.limit - self.limit / 10 {
            self.limit = (self.limit + (self.limit / 20).max(1)).min(self.settings.in_flight_max);
        }
        self.window_began = now;
        (self.ended, self.late, self.peak) = (0, 0, self.in_flight);
        Some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: AdmissionSettings = AdmissionSettings {
        in_flight_min: 8,
        in_flight_max: 400,
        latency_target: Duration::from_millis(100),
        window: Duration::from_millis(50),
    };

    /// A caller of a peer that has no other.
    fn alone(number: u64) -> CallerKey {
        CallerKey { peer: number, caller: number }
    }

    /// A caller of the one peer that has many.
    fn neighbour(number: u64) -> CallerKey {
        CallerKey { peer: 0, caller: number }
    }

    fn in_flight_of(state: &State, key: CallerKey) -> usize {
        state.peers.get(&key.peer).and_then(|peer| peer.callers.get(&key.caller)).copied().unwrap_or(0)
    }

    /// A service that answers `capacity` calls a second, and callers that always have a call to make.
    fn latency_at_saturation(capacity: usize, seconds: usize) -> (State, Duration) {
        let begin = Instant::now();
        let mut state = State::new(SETTINGS, begin);
        let mut last = Duration::ZERO;
        for tick in 0..seconds * 100 {
            let now = begin + Duration::from_millis(tick as u64 * 10);
            while state.enter(alone(1)) {}
            // Little's law: what is in flight waits in one queue.
            last = Duration::from_secs_f64(state.in_flight as f64 / capacity as f64);
            for _ in 0..(capacity / 100).min(state.in_flight) {
                state.leave(alone(1), last, now);
            }
        }
        (state, last)
    }

    #[test]
    fn the_limit_settles_where_calls_answer_within_the_target() {
        for capacity in [500, 1_000, 3_000] {
            let (state, latency) = latency_at_saturation(capacity, 20);
            assert!(latency <= SETTINGS.latency_target * 3 / 2, "{capacity}/s: {latency:?}, limit {}", state.limit);
            assert!(latency >= SETTINGS.latency_target / 2, "{capacity}/s: {latency:?}, limit {}", state.limit);
        }
    }

    #[test]
    fn a_quick_service_is_never_given_less_than_it_is_asked_for() {
        let begin = Instant::now();
        let mut state = State::new(SETTINGS, begin);
        for tick in 0..10_000_u64 {
            for _ in 0..90 {
                assert!(state.enter(alone(1)));
            }
            let now = begin + Duration::from_millis(tick);
            for _ in 0..90 {
                state.leave(alone(1), Duration::from_millis(1), now);
            }
        }
    }

    #[test]
    fn a_caller_with_a_hundred_times_the_calls_leaves_room_for_another() {
        // Whether both come from one address or from two.
        for (greedy, other) in [(alone(1), alone(2)), (neighbour(1), neighbour(2))] {
            let mut state = State::new(SETTINGS, Instant::now());
            while state.enter(greedy) {}
            for _ in 0..state.limit / 2 {
                assert!(state.enter(other), "the other caller is below its share");
            }
            assert!(!state.enter(greedy), "the first one is above its own");
            for _ in 0..in_flight_of(&state, greedy) {
                state.leave(greedy, Duration::ZERO, Instant::now());
                while state.enter(greedy) {}
            }
            let share = state.limit / 2;
            assert!(in_flight_of(&state, greedy) <= share + share / 5, "{greedy:?} of {}", state.limit);
        }
    }

    #[test]
    fn a_peer_with_a_thousand_connections_leaves_room_for_another_peer() {
        let mut state = State::new(SETTINGS, Instant::now());
        assert!(state.enter(alone(9)));
        // One call a connection: each alone is below any share.
        let entered = (0..1_000).filter(|connection| state.enter(neighbour(*connection))).count();
        assert!(entered >= state.limit / 2, "{entered}");
        for _ in 1..state.limit / 2 {
            assert!(state.enter(alone(9)), "below its share");
        }
    }

    proptest! {
        #[test]
        fn places_are_conserved_and_bounded(steps in proptest::collection::vec((0_u64..4, any::<bool>(), 0_u64..300), 1..2_000)) {
            let begin = Instant::now();
            let mut state = State::new(SETTINGS, begin);
            let mut held: Vec<CallerKey> = Vec::new();
            for (index, (caller, enters, took)) in steps.into_iter().enumerate() {
                let now = begin + Duration::from_millis(index as u64);
                let caller = CallerKey { peer: caller / 2, caller };
                if enters {
                    if state.enter(caller) {
                        held.push(caller);
                    }
                } else if let Some(caller) = held.pop() {
                    state.leave(caller, Duration::from_millis(took), now);
                }
                prop_assert_eq!(state.in_flight, held.len());
                prop_assert_eq!(state.peers.values().map(|peer| peer.in_flight).sum::<usize>(), held.len());
                let of_callers = state.peers.values().flat_map(|peer| peer.callers.values());
                prop_assert_eq!(of_callers.sum::<usize>(), held.len());
                prop_assert!((SETTINGS.in_flight_min..=SETTINGS.in_flight_max).contains(&state.limit));
                prop_assert!(state.in_flight <= SETTINGS.in_flight_max * 2);
            }
        }
    }
}
