//! The rule, without clocks and locks.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::shared::{Competition, HEAVY_FACTOR, SharedLimit};
use super::waiting::Queues;
use super::{AdmissionSettings, CallerKey};

/// Calls in a window from which its latency says something.
const SAMPLES_MIN: u32 = 10;

/// What becomes of a call that asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Enter(Entered),
    /// It has to be put into its caller's queue.
    Wait,
    Refuse,
}

/// A call that has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    since: Instant,
    /// Whether it competes and its caller waits for its answers.
    is_single: bool,
    /// Whether the service had next to nothing else to do.
    is_quiet: bool,
}

/// A call that gives its place back.
pub(super) struct Ended {
    /// Calls that its caller has under way, on their way to admission or back as well, with this one.
    pub(super) under_way: usize,
    pub(super) entered: Entered,
    /// Its method; none for one that never began.
    pub(super) method: Option<usize>,
}

/// A call that got its place after it waited.
pub(super) struct Granted<W> {
    pub(super) caller: CallerKey,
    pub(super) waiter: W,
    pub(super) entered: Entered,
}

/// The limits after a look at them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) all: usize,
    pub(super) shared: usize,
}

/// Calls in flight and calls that wait, each of the latter with a `W` that tells it that it has a place.
pub(super) struct State<W> {
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
    competition: Competition,
    shared: SharedLimit,
    waiting: Queues<W>,
}

/// The calls in flight of one peer.
#[derive(Default)]
struct PeerState {
    in_flight: usize,
    callers: HashMap<u64, CallerState>,
}

/// The calls in flight of one caller, and the most of them since it had none.
#[derive(Default)]
struct CallerState {
    in_flight: usize,
    peak: usize,
}

impl<W> State<W> {
    pub(super) fn new(settings: AdmissionSettings, now: Instant) -> Self {
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
            competition: Competition::default(),
            shared: SharedLimit::new(&settings, now),
            waiting: Queues::new(),
        }
    }

    /// A call asks for a place. Its caller has so many calls under way with it, those as well that have not come so far
    /// or are on their way back.
    pub(super) fn enter(&mut self, key: CallerKey, under_way: usize, now: Instant) -> Decision {
        let is_single = under_way <= self.settings.caller_in_flight_min && self.is_single(key);
        if self.is_heavy(key) {
            self.competition.note_heavy(key);
        } else if is_single
            && self.has_heavy_company(key)
            && let Some(over_for) = self.competition.note(now)
        {
            self.shared.begin(over_for, now);
        }
        if self.has_to_wait(key, now) {
            self.shared.felt();
            return Decision::Wait;
        }
        if self.in_flight >= self.bound(key) {
            // Refused: the limit was felt.
            self.peak = self.peak.max(self.limit);
            return Decision::Refuse;
        }
        Decision::Enter(self.admit(key, is_single, now))
    }

    /// Whether the caller waits for its answers and begins anew.
    fn is_single(&self, key: CallerKey) -> bool {
        self.in_flight_of(key) == 0 && self.competition.is_single(key.caller)
    }

    /// Whether a caller has, with the one that it makes, many times the calls of one that waits for its answers.
    fn is_heavy(&self, key: CallerKey) -> bool {
        let under_way = self.in_flight_of(key) + self.waiting.count(key) + 1;
        under_way >= self.settings.caller_in_flight_min.saturating_mul(HEAVY_FACTOR)
    }

    fn has_heavy_company(&self, key: CallerKey) -> bool {
        self.competition.last_heavy().is_some_and(|heavy| heavy != key && self.is_heavy(heavy))
    }

    /// Whether the places that are left are those of other callers.
    fn has_to_wait(&self, key: CallerKey, now: Instant) -> bool {
        if self.waiting.has(key) {
            return true;
        }
        let is_within = self.in_flight_of(key) < self.share_of_shared(key);
        let limit = self.limit_at(now);
        // At the first limit nobody waits.
        let is_free = limit >= self.limit || (self.waiting.is_empty() && self.in_flight < limit);
        !is_within && !is_free
    }

    /// A call waits; its ticket.
    pub(super) fn wait(&mut self, key: CallerKey, waiter: W) -> u64 {
        if let Some(mine) = self.peers.get_mut(&key.peer).and_then(|peer| peer.callers.get_mut(&key.caller)) {
            // More than it would have in flight: it has more to do than to wait for an answer.
            mine.peak = mine.peak.max(self.settings.caller_in_flight_min + 1);
        }
        self.waiting.push(key, waiter)
    }

    /// A call waits no more; whether it still did.
    pub(super) fn give_up(&mut self, key: CallerKey, ticket: u64) -> bool {
        self.waiting.remove(key, ticket)
    }

    /// Lets in whoever waits and fits: callers in turn.
    pub(super) fn grant(&mut self, now: Instant) -> Vec<Granted<W>> {
        let mut granted = Vec::new();
        self.grant_into(&mut granted, now);
        granted
    }

    fn grant_into(&mut self, granted: &mut Vec<Granted<W>>, now: Instant) {
        while self.in_flight < self.limit_at(now) {
            let Some((caller, waiter)) = self.waiting.next() else { return };
            granted.push(Granted { caller, waiter, entered: self.admit(caller, false, now) });
        }
    }

    fn admit(&mut self, key: CallerKey, is_single: bool, now: Instant) -> Entered {
        self.in_flight += 1;
        self.peak = self.peak.max(self.in_flight);
        let peer = self.peers.entry(key.peer).or_default();
        peer.in_flight += 1;
        let mine = peer.callers.entry(key.caller).or_default();
        mine.in_flight += 1;
        mine.peak = mine.peak.max(mine.in_flight);
        Entered {
            since: now,
            is_single: is_single && self.competition.is_on(now),
            is_quiet: self.shared.is_quiet(self.in_flight),
        }
    }

    fn in_flight_of(&self, key: CallerKey) -> usize {
        self.peers.get(&key.peer).and_then(|peer| peer.callers.get(&key.caller)).map_or(0, |mine| mine.in_flight)
    }

    /// How many calls are given to the service before others have to wait.
    fn limit_at(&self, now: Instant) -> usize {
        let Some(over_for) = self.competition.over_for(now) else { return self.limit };
        // Afterwards it doubles in each window: a caller that is only late is not met by all that waited.
        let windows = over_for.as_nanos() / self.settings.window.as_nanos().max(1);
        let grown = u32::try_from(windows).ok().and_then(|windows| 1_usize.checked_shl(windows));
        self.limit.min(self.shared.get().saturating_mul(grown.unwrap_or(usize::MAX)))
    }

    /// The peers that are there when this caller is, and the callers of its own.
    fn parties(&self, key: CallerKey) -> (usize, usize) {
        let peer = self.peers.get(&key.peer);
        let is_new = peer.is_none_or(|peer| !peer.callers.contains_key(&key.caller));
        (
            self.peers.len() + usize::from(peer.is_none()),
            peer.map_or(0, |peer| peer.callers.len()) + usize::from(is_new),
        )
    }

    /// What a caller is given at once, whoever else calls: one that has more to do gets on, a call at a time.
    fn share_of_shared(&self, key: CallerKey) -> usize {
        let (peers, callers) = self.parties(key);
        let mine = self.peers.get(&key.peer).and_then(|peer| peer.callers.get(&key.caller));
        let has_few = mine.is_none_or(|mine| mine.peak <= self.settings.caller_in_flight_min);
        let least = if has_few { self.settings.caller_in_flight_min } else { 1 };
        (self.limit.min(self.shared.get()) / peers / callers).max(least)
    }

    /// How many calls may be in flight when one more of this caller enters.
    fn bound(&self, key: CallerKey) -> usize {
        let (peers, callers) = self.parties(key);
        let of_peer = self.peers.get(&key.peer).map_or(0, |peer| peer.in_flight);
        let share = (self.limit / peers / callers).max(1);
        let peer_is_below = peers == 1 || of_peer < (self.limit / peers).max(1);
        match (self.in_flight_of(key) < share, peer_is_below) {
            _ if peers == 1 && callers == 1 => self.limit,
            // It may go beyond the limit: those above their share make room as their calls end.
            (true, true) => self.limit.saturating_mul(2),
            // Its own peer's others took what it should have; strangers did not.
            (true, false) => self.limit,
            // The last tenth is kept for callers below their share.
            (false, _) => self.limit - self.limit / 10,
        }
    }

    /// A call gives its place back: the new limits, when they were looked at, and those who got a place by it.
    pub(super) fn leave(&mut self, key: CallerKey, ended: &Ended, now: Instant) -> (Option<Limits>, Vec<Granted<W>>) {
        self.remove(key, ended.under_way, now);
        let took = now.saturating_duration_since(ended.entered.since);
        let moved = ended.method.and_then(|method| self.measure(&ended.entered, method, took, now));
        let mut granted = Vec::new();
        // One for one: its own next call, as long as it is within its share, whoever else waits.
        if self.waiting.has(key) && self.in_flight_of(key) < self.share_of_shared(key) {
            let next = self.waiting.pop(key);
            granted.extend(next.map(|waiter| Granted { caller: key, waiter, entered: self.admit(key, false, now) }));
        }
        self.grant_into(&mut granted, now);
        (moved, granted)
    }

    fn remove(&mut self, key: CallerKey, under_way: usize, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&key.peer) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            if let Some(mine) = peer.callers.get_mut(&key.caller) {
                mine.in_flight = mine.in_flight.saturating_sub(1);
                // One whose calls wait gets its next place at once.
                if mine.in_flight == 0 && !self.waiting.has(key) {
                    let is_single = mine.peak.max(under_way) <= self.settings.caller_in_flight_min;
                    self.competition.note_end(key.caller, is_single, now);
                    peer.callers.remove(&key.caller);
                }
            }
            if peer.callers.is_empty() {
                self.peers.remove(&key.peer);
            }
        }
    }

    fn measure(&mut self, entered: &Entered, method: usize, took: Duration, now: Instant) -> Option<Limits> {
        if entered.is_single {
            self.shared.single_ended(method, took, now);
        }
        if entered.is_quiet && self.shared.is_quiet(self.in_flight + 1) {
            self.shared.learn(method, took);
        }
        self.ended += 1;
        self.late += u32::from(took > self.settings.latency_target);
        if now.saturating_duration_since(self.window_began) < self.settings.window || self.ended < SAMPLES_MIN {
            return None;
        }
        if self.late * 10 > self.ended {
            // Not from what was in flight: a service that is slow for a moment, as after a start, would have callers
            // refused that it can answer.
            self.limit = (self.limit - self.limit / 10).max(self.settings.in_flight_min);
        } else if self.peak >= self.limit - self.limit / 10 {
            self.limit = (self.limit + (self.limit / 20).max(1)).min(self.settings.in_flight_max);
        }
        self.window_began = now;
        (self.ended, self.late, self.peak) = (0, 0, self.in_flight);
        Some(Limits { all: self.limit, shared: self.shared.get() })
    }
}

#[cfg(test)]
mod tests;
