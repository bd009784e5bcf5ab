//! How many calls a service is given at a time, and whose.
//!
//! Beyond what a service can do, calls in flight only make each other wait. So the limit follows the latency
//! (additive increase, multiplicative decrease): while calls answer within the target it grows as far as it is used,
//! and it shrinks as soon as they do not. What does not fit is refused at once with a time to retry, which is cheap,
//! and what was let in stays quick.
//!
//! When places are scarce they are shared out evenly between the callers that are there: a caller above its share is
//! refused first, and one below its share is let in as long as there is any room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openorder_telemetry::api::{Counter, Gauge, KeyValue};

/// Who calls, as far as places are shared out.
pub(crate) type CallerKey = u64;

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
    callers: HashMap<CallerKey, usize>,
    window_began: Instant,
    /// Calls that ended in the window, and those of them that took longer than the target.
    ended: u32,
    late: u32,
    /// Most calls in flight in the window.
    peak: usize,
}

impl State {
    fn new(settings: AdmissionSettings, now: Instant) -> Self {
        Self {
            // From the middle: a fresh gateway neither refuses a normal start nor floods a cold service.
            limit: settings.in_flight_min.max(settings.in_flight_max / 4),
            settings,
            in_flight: 0,
            callers: HashMap::new(),
            window_began: now,
            ended: 0,
            late: 0,
            peak: 0,
        }
    }

    fn enter(&mut self, caller: CallerKey) -> bool {
        let mine = self.callers.get(&caller).copied().unwrap_or(0);
        let callers = self.callers.len() + usize::from(mine == 0);
        let share = (self.limit / callers.max(1)).max(1);
        // A caller below its share may go beyond the limit: those above theirs make room as their calls end.
        let bound = match (callers, mine < share) {
            (1, _) => self.limit,
            (_, true) => self.limit.saturating_mul(2),
            // The last tenth is kept for callers below their share.
            (_, false) => self.limit - self.limit / 10,
        };
        if self.in_flight >= bound {
            // Refused: the limit was felt.
            self.peak = self.peak.max(self.limit);
            return false;
        }
        self.in_flight += 1;
        self.peak = self.peak.max(self.in_flight);
        *self.callers.entry(caller).or_default() += 1;
        true
    }

    /// The new limit, when it was looked at.
    fn leave(&mut self, caller: CallerKey, took: Duration, now: Instant) -> Option<usize> {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(mine) = self.callers.get_mut(&caller) {
            *mine -= 1;
            if *mine == 0 {
                self.callers.remove(&caller);
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

    /// A service that answers `capacity` calls a second, and callers that always have a call to make.
    fn latency_at_saturation(capacity: usize, seconds: usize) -> (State, Duration) {
        let begin = Instant::now();
        let mut state = State::new(SETTINGS, begin);
        let mut last = Duration::ZERO;
        for tick in 0..seconds * 100 {
            let now = begin + Duration::from_millis(tick as u64 * 10);
            while state.enter(1) {}
            // Little's law: what is in flight waits in one queue.
            last = Duration::from_secs_f64(state.in_flight as f64 / capacity as f64);
            for _ in 0..(capacity / 100).min(state.in_flight) {
                state.leave(1, last, now);
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
                assert!(state.enter(1));
            }
            let now = begin + Duration::from_millis(tick);
            for _ in 0..90 {
                state.leave(1, Duration::from_millis(1), now);
            }
        }
    }

    #[test]
    fn a_caller_with_a_hundred_times_the_calls_leaves_room_for_another() {
        let mut state = State::new(SETTINGS, Instant::now());
        while state.enter(1) {}
        for _ in 0..state.limit / 2 {
            assert!(state.enter(2), "the other caller is below its share");
        }
        assert!(!state.enter(1), "the first one is above its own");
        let heavy = state.callers[&1];
        for _ in 0..heavy {
            state.leave(1, Duration::ZERO, Instant::now());
            while state.enter(1) {}
        }
        let share = state.limit / 2;
        assert!(state.callers[&1] <= share + share / 5, "{} of {}", state.callers[&1], state.limit);
    }

    proptest! {
        #[test]
        fn places_are_conserved_and_bounded(steps in proptest::collection::vec((0_u64..4, any::<bool>(), 0_u64..300), 1..2_000)) {
            let begin = Instant::now();
            let mut state = State::new(SETTINGS, begin);
            let mut held: Vec<u64> = Vec::new();
            for (index, (caller, enters, took)) in steps.into_iter().enumerate() {
                let now = begin + Duration::from_millis(index as u64);
                if enters {
                    if state.enter(caller) {
                        held.push(caller);
                    }
                } else if let Some(caller) = held.pop() {
                    state.leave(caller, Duration::from_millis(took), now);
                }
                prop_assert_eq!(state.in_flight, held.len());
                prop_assert_eq!(state.callers.values().sum::<usize>(), held.len());
                prop_assert!((SETTINGS.in_flight_min..=SETTINGS.in_flight_max).contains(&state.limit));
                prop_assert!(state.in_flight <= SETTINGS.in_flight_max * 2);
            }
        }
    }
}
