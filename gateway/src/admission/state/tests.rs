//! The rule, by cases, by properties, and before a service whose time is simulated.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::shared::{COMPETES_FOR, HEAVY_FACTOR};
use super::*;

const SETTINGS: AdmissionSettings = AdmissionSettings {
    in_flight_min: 8,
    in_flight_max: 400,
    caller_in_flight_min: 2,
    latency_target: Duration::from_millis(100),
    wait_max: Duration::from_secs(1),
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

/// A call's number.
type Calls = State<u64>;

impl Calls {
    /// A place for a call that does not wait.
    fn enters(&mut self, key: CallerKey, now: Instant) -> Option<Entered> {
        match self.enter(key, 0, now) {
            Decision::Enter(entered) => Some(entered),
            Decision::Wait | Decision::Refuse => None,
        }
    }

    fn ends(&mut self, key: CallerKey, entered: Entered, now: Instant) -> Vec<Granted<u64>> {
        self.leave(key, &Ended { under_way: 0, entered, method: Some(0) }, now).1
    }
}

/// A caller, and how many calls it has under way.
type KeyUnderWay = (CallerKey, usize);

/// Calls from which a caller is heavy.
const HEAVY: usize = SETTINGS.caller_in_flight_min * HEAVY_FACTOR;

/// Lets in as many calls of each of these callers as make it heavy, and then one of a caller that waits for its answers.
fn compete(
    state: &mut Calls,
    (single, under_way): KeyUnderWay,
    heavy: &[CallerKey],
    now: Instant,
) -> Vec<(CallerKey, Entered)> {
    for _ in 0..3 {
        let Decision::Enter(entered) = state.enter(single, under_way, now) else { panic!("the first calls of all") };
        state.leave(single, &Ended { under_way, entered, method: Some(0) }, now);
    }
    let mut held = Vec::new();
    for key in heavy {
        held.extend((0..HEAVY).filter_map(|_| state.enters(*key, now)).map(|entered| (*key, entered)));
    }
    assert_eq!(held.len(), HEAVY * heavy.len(), "beside nobody they do not wait");
    assert!(matches!(state.enter(single, under_way, now), Decision::Enter(_)));
    held
}

/// A service that answers `capacity` calls a second, and callers that always have a call to make.
fn latency_at_saturation(capacity: usize, seconds: usize) -> (Calls, Duration) {
    let begin = Instant::now();
    let mut state = Calls::new(SETTINGS, begin);
    let mut held = VecDeque::new();
    let mut last = Duration::ZERO;
    for tick in 0..seconds * 100 {
        let now = begin + Duration::from_millis(tick as u64 * 10);
        held.extend(std::iter::from_fn(|| state.enters(alone(1), now)));
        for _ in 0..(capacity / 100).min(held.len()) {
            let Some(entered) = held.pop_front() else { break };
            // Little's law: what is in flight waits in one queue.
            last = Duration::from_secs_f64(state.in_flight as f64 / capacity as f64);
            state.ends(alone(1), Entered { since: now, ..entered }, now + last);
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
fn a_modest_number_of_calls_is_not_refused_because_the_service_is_slow_for_a_moment() {
    let begin = Instant::now();
    let mut state = Calls::new(SETTINGS, begin);
    for window in 0..6 {
        let now = begin + SETTINGS.window * window;
        let held: Vec<_> = (0..40).filter_map(|_| state.enters(alone(1), now)).collect();
        assert_eq!(held.len(), 40, "limit {}", state.limit);
        for entered in held {
            state.ends(alone(1), entered, now + SETTINGS.latency_target * 2);
        }
    }
}

#[test]
fn a_quick_service_is_never_given_less_than_it_is_asked_for() {
    let begin = Instant::now();
    let mut state = Calls::new(SETTINGS, begin);
    for tick in 0..10_000_u64 {
        let now = begin + Duration::from_millis(tick);
        let held: Vec<_> = (0..90).filter_map(|_| state.enters(alone(1), now)).collect();
        assert_eq!(held.len(), 90);
        for entered in held {
            state.ends(alone(1), entered, now + Duration::from_millis(1));
        }
    }
}

#[test]
fn a_caller_with_a_hundred_times_the_calls_leaves_room_for_another() {
    // Whether both come from one address or from two; long after the other one began.
    let begin = Instant::now();
    let later = begin + Duration::from_secs(60);
    for (greedy, other) in [(alone(1), alone(2)), (neighbour(1), neighbour(2))] {
        let mut state = Calls::new(SETTINGS, begin);
        let mut held: VecDeque<_> = std::iter::from_fn(|| state.enters(greedy, begin)).collect();
        let mut others = vec![state.enters(other, begin)];
        others.extend((1..state.limit / 2).map(|_| state.enters(other, later)));
        assert!(others.iter().all(Option::is_some), "the other caller is below its share");
        assert_eq!(state.enter(greedy, 0, later), Decision::Refuse, "the first one is above its own");
        for _ in 0..held.len() {
            let Some(entered) = held.pop_front() else { break };
            state.ends(greedy, entered, later);
            held.extend(std::iter::from_fn(|| state.enters(greedy, later)));
        }
        let share = state.limit / 2;
        assert!(state.in_flight_of(greedy) <= share + share / 5, "{greedy:?} of {}", state.limit);
    }
}

#[test]
fn a_peer_with_a_thousand_connections_leaves_room_for_another_peer() {
    let now = Instant::now();
    let mut state = Calls::new(SETTINGS, now);
    assert!(state.enters(alone(9), now).is_some());
    // One call a connection: each alone is below any share.
    let entered = (0..1_000).filter(|connection| state.enters(neighbour(*connection), now).is_some()).count();
    assert!(entered >= state.limit / 2, "{entered}");
    let later = now + Duration::from_secs(60);
    for _ in 1..state.limit / 2 {
        assert!(state.enters(alone(9), later).is_some(), "below its share");
    }
}

#[test]
fn what_waits_is_let_in_when_its_caller_is_alone_again() {
    let begin = Instant::now();
    let mut state = Calls::new(SETTINGS, begin);
    compete(&mut state, (neighbour(1), 0), &[neighbour(2)], begin);
    for call in 0..20 {
        assert_eq!(state.enter(neighbour(2), 0, begin), Decision::Wait);
        state.wait(neighbour(2), call);
    }
    assert!(state.grant(begin).is_empty(), "the other one is still there");
    let mut order = Vec::new();
    for window in 0..10 {
        let granted = state.grant(begin + COMPETES_FOR + SETTINGS.window * window);
        assert!(granted.len() <= 2 << window, "not all at once");
        order.extend(granted.into_iter().map(|one| one.waiter));
    }
    assert_eq!(order, (0..20).collect::<Vec<_>>());
    let later = begin + COMPETES_FOR + SETTINGS.window * 10;
    assert!(std::iter::from_fn(|| state.enters(neighbour(2), later)).count() > SETTINGS.in_flight_max / 8);
}

/// Callers in a closed loop before a service with a number of workers and one queue.
struct Simulation {
    state: Calls,
    now: Instant,
    /// What each caller has in flight, waiting or not, and how long it pauses before it asks again.
    callers: Vec<(CallerKey, usize, Duration)>,
    /// Callers that will ask, and when.
    pauses: Vec<(Instant, usize)>,
    /// Calls at the service, the oldest one first, each with its work left in steps.
    service: VecDeque<(usize, Instant, Entered, u32)>,
    waiting: Vec<(usize, Instant)>,
    took: Vec<Vec<Duration>>,
}

const STEP: Duration = Duration::from_micros(500);
/// Steps that a call takes of a worker.
const WORK: u32 = 8;
const WORKERS: usize = 2;

impl Simulation {
    fn run(callers: Vec<(CallerKey, usize, Duration)>, time: Duration) -> Self {
        let now = Instant::now();
        let pauses = (0..callers.len()).flat_map(|one| vec![(now, one); callers[one].1]).collect();
        let took = vec![Vec::new(); callers.len()];
        let state = Calls::new(SETTINGS, now);
        let mut this = Self { state, now, callers, pauses, service: VecDeque::new(), waiting: Vec::new(), took };
        let end = now + time;
        while this.now < end {
            this.step();
        }
        this
    }

    fn step(&mut self) {
        self.now += STEP;
        let due: Vec<_> = self.pauses.extract_if(.., |(at, _)| *at <= self.now).collect();
        for (_, caller) in due {
            let key = self.callers[caller].0;
            match self.state.enter(key, 0, self.now) {
                Decision::Enter(entered) => self.service.push_back((caller, self.now, entered, WORK)),
                Decision::Refuse => self.pauses.push((self.now + STEP, caller)),
                Decision::Wait => {
                    self.state.wait(key, self.waiting.len() as u64);
                    self.waiting.push((caller, self.now));
                }
            }
        }
        for call in self.service.iter_mut().take(WORKERS) {
            call.3 -= 1;
        }
        let ended: Vec<_> = (0..WORKERS).filter_map(|_| self.take_ended()).collect();
        for (caller, asked, entered) in ended {
            self.took[caller].push(self.now - asked);
            let (key, _, pause) = self.callers[caller];
            for granted in self.state.ends(key, entered, self.now) {
                let (caller, asked) = self.waiting[granted.waiter as usize];
                self.service.push_back((caller, asked, granted.entered, WORK));
            }
            self.pauses.push((self.now + pause, caller));
        }
    }

    fn take_ended(&mut self) -> Option<(usize, Instant, Entered)> {
        let index = self.service.iter().take(WORKERS).position(|call| call.3 == 0)?;
        self.service.remove(index).map(|(caller, asked, entered, _)| (caller, asked, entered))
    }

    /// In the second half: what is learned first is not judged.
    fn p99(&self, caller: usize) -> Duration {
        let took = &self.took[caller];
        let mut took = took[took.len() / 2..].to_vec();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }
}

const PAUSE: Duration = Duration::from_millis(10);
const TIME: Duration = Duration::from_secs(20);

#[test]
fn a_caller_that_waits_for_its_answers_is_quick_beside_a_greedy_one() {
    let single = (neighbour(1), 1, PAUSE);
    let alone = Simulation::run(vec![single], TIME).p99(0);
    for calls in [32, 300] {
        for greedy in [neighbour(2), self::alone(2)] {
            let beside = Simulation::run(vec![single, (greedy, calls, Duration::ZERO)], TIME);
            assert!(beside.p99(0) <= alone * 3, "{calls} calls: {:?} instead of {alone:?}", beside.p99(0));
            // Two workers, 4 ms a call.
            let (most, got) = (TIME.as_millis() as usize / 2, beside.took[1].len());
            assert!(got * 2 >= most, "the greedy one gets {got} of {most} calls");
        }
    }
}

#[test]
fn callers_that_are_alike_and_one_that_is_alone_never_wait() {
    let alike = |callers: u64, calls| (0..callers).map(|number| (neighbour(number), calls, Duration::ZERO)).collect();
    for (callers, calls) in [(1, 90), (90, 1), (9, 10)] {
        let all = Simulation::run(alike(callers, calls), TIME);
        assert_eq!(all.waiting.len(), 0, "{callers} callers with {calls} calls each");
    }
}

#[test]
fn calls_that_are_committed_as_a_group_make_no_caller_look_as_if_it_waited() {
    let begin = Instant::now();
    let mut state = Calls::new(SETTINGS, begin);
    let mut held: Vec<(CallerKey, Entered)> = Vec::new();
    for group in 0..1_000 {
        let now = begin + Duration::from_millis(10) * group;
        // None of them has anything in flight when the next ones come.
        for (key, entered) in held.drain(..) {
            state.ends(key, entered, now);
        }
        for call in 0..80 {
            let key = neighbour(call % 4);
            let entered = state.enters(key, now);
            assert!(entered.is_some(), "call {call} of group {group} waits");
            held.extend(entered.map(|entered| (key, entered)));
        }
    }
}

#[test]
fn a_caller_does_not_get_more_by_more_connections_than_a_call_at_a_time_for_each() {
    let now = Instant::now();
    let mut state = Calls::new(SETTINGS, now);
    let connections = [1, 2, 3, 4].map(neighbour);
    let held = compete(&mut state, (neighbour(0), 0), &connections, now);
    for connection in connections {
        for call in 0..20 {
            assert_eq!(state.enter(connection, 0, now), Decision::Wait);
            state.wait(connection, call);
        }
    }
    // What was let in before anything waited ends, and what waited takes its place.
    for (connection, entered) in held {
        state.ends(connection, entered, now);
    }
    let in_flight = connections.map(|connection| state.in_flight_of(connection));
    assert_eq!(in_flight, [1; 4], "each gets on, and none with more than a call");
}

#[test]
fn calls_on_their_way_to_admission_count_too() {
    let now = Instant::now();
    let min = SETTINGS.caller_in_flight_min;
    for (under_way, waits) in [(0, true), (min, true), (min + 1, false)] {
        let mut state = Calls::new(SETTINGS, now);
        // One at a time at the service, by a caller that may have more to ask.
        compete(&mut state, (neighbour(1), under_way), &[neighbour(2)], now);
        let next = state.enter(neighbour(2), 0, now);
        assert_eq!(next == Decision::Wait, waits, "{next:?} beside a caller with {under_way} under way");
    }
}

/// 440 calls a second over four connections, as they come, to a service that answers all that it has every 20 ms; at times
/// it stands still.
#[test]
fn callers_that_are_alike_do_not_wait_however_their_calls_come() {
    let begin = Instant::now();
    let mut state = Calls::new(AdmissionSettings { latency_target: Duration::from_secs(1), ..SETTINGS }, begin);
    let mut held: Vec<(CallerKey, Entered)> = Vec::new();
    let mut random = 1_u64;
    for millisecond in 0..60_000_u64 {
        let now = begin + Duration::from_millis(millisecond);
        let stands_still = millisecond % 5_000 < 150;
        if millisecond % 20 == 0 && !stands_still {
            for (key, entered) in held.drain(..) {
                state.ends(key, entered, now);
            }
        }
        // Numerical Recipes' generator: the upper bits are good enough.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (random >> 33) % 100 < 44 {
            let key = neighbour((random >> 50) % 4);
            match state.enter(key, 0, now) {
                Decision::Enter(entered) => held.push((key, entered)),
                other => panic!("{other:?} at {millisecond} ms with {} in flight", held.len()),
            }
        }
    }
}

#[test]
fn who_asks_now_and_then_does_not_hold_another_back_for_long() {
    let (now_and_then, greedy) = ((neighbour(1), 1, Duration::from_millis(700)), (neighbour(2), 90, Duration::ZERO));
    let this = Simulation::run(vec![now_and_then, greedy], TIME);
    let (most, got) = (TIME.as_millis() as usize / 2, this.took[1].len());
    assert!(got * 10 >= most * 9, "{got} of {most} calls");
}

/// A step of the property test: a caller that asks, ends a call of its own, or gives one up that waits.
type Step = (u64, u8, u64);

proptest! {
    #[test]
    fn places_are_conserved_and_bounded(steps in proptest::collection::vec((0_u64..4, 0_u8..5, 0_u64..300), 1..2_000)) {
        let begin = Instant::now();
        let mut state = Calls::new(SETTINGS, begin);
        let mut held: Vec<(CallerKey, Entered)> = Vec::new();
        let mut waiting: Vec<(CallerKey, u64)> = Vec::new();
        let (mut now, mut tickets) = (begin, 0);
        for step in steps {
            let (caller, act, millis): Step = step;
            now += Duration::from_millis(millis / 100);
            let key = CallerKey { peer: caller / 2, caller };
            let mut granted = Vec::new();
            match act {
                0..3 => match state.enter(key, 0, now) {
                    Decision::Enter(entered) => held.push((key, entered)),
                    Decision::Refuse => {}
                    Decision::Wait => {
                        // What tells it that it has a place is its ticket.
                        tickets += 1;
                        let ticket = state.wait(key, tickets);
                        prop_assert_eq!(ticket, tickets);
                        waiting.push((key, ticket));
                    }
                },
                3 => if let Some((key, entered)) = held.pop() {
                    let entered = Entered { since: now, ..entered };
                    granted = state.ends(key, entered, now + Duration::from_millis(millis));
                },
                _ => if let Some((key, ticket)) = waiting.pop() {
                    prop_assert!(state.give_up(key, ticket));
                    granted = state.grant(now);
                },
            }
            for one in granted {
                let index = waiting.iter().position(|(_, ticket)| *ticket == one.waiter);
                prop_assert_eq!(index.map(|index| waiting.remove(index).0), Some(one.caller));
                held.push((one.caller, one.entered));
            }
            prop_assert_eq!(state.in_flight, held.len());
            prop_assert_eq!(state.peers.values().map(|peer| peer.in_flight).sum::<usize>(), held.len());
            let of_callers = state.peers.values().flat_map(|peer| peer.callers.values().map(|mine| mine.in_flight));
            prop_assert_eq!(of_callers.sum::<usize>(), held.len());
            prop_assert!((SETTINGS.in_flight_min..=SETTINGS.in_flight_max).contains(&state.limit));
            prop_assert!(state.in_flight <= SETTINGS.in_flight_max * 2);
            // Nobody waits for a call to end without one that will.
            prop_assert!(waiting.iter().all(|(key, _)| held.iter().any(|(holder, _)| holder == key)));
        }
        while let Some((key, entered)) = held.pop() {
            let granted = state.ends(key, entered, now);
            held.extend(granted.into_iter().map(|one| (one.caller, one.entered)));
        }
        prop_assert!(state.waiting.is_empty() && state.peers.is_empty());
    }
}
