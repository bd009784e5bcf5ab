//! The limit that counts while callers compete, and when they do.
//!
//! A caller that has few calls in flight, and again and again none, waits for its answers. Beside others that have many
//! calls in flight its latency should stay what it is alone. So the limit follows the latency of such calls: how it
//! compares with what a call of the same method takes while the service is quiet. No time is set for it: what is quick
//! for one method is slow for another.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{AdmissionSettings, CallerKey};

/// Callers compete until no caller that waits for its answers called beside a heavy one for this time.
pub(super) const COMPETES_FOR: Duration = Duration::from_secs(2);
/// A caller is heavy with so many times the calls under way that one has who waits for its answers. Callers that are alike
/// have a few more or a few less at each moment: they do not compete.
pub(super) const HEAVY_FACTOR: usize = 8;
/// A call is slow when it takes more than so many times what one of its method takes while the service is quiet.
const SLOW_FACTOR: f64 = 2.0;
/// The limit grows while at most one call in so many is slow: the slowest calls are what a caller notices.
const SLOW_ONE_IN: u32 = 4;
/// Calls from which their latency says something, or fewer in this time: a caller that waits for its answers makes few.
const SAMPLES_MIN: u32 = 4;
const SAMPLED_FOR_MAX: Duration = Duration::from_millis(500);
/// How fast the quiet latency follows a call that was quicker, and one that was slower. It settles where one call in
/// five is quicker: what disturbs a call only makes it slower.
const QUICKER_WEIGHT: f64 = 1.0 / 16.0;
const SLOWER_WEIGHT: f64 = 1.0 / 64.0;

/// Which callers wait for their answers, and whether any of them has heavy company.
#[derive(Default)]
pub(super) struct Competition {
    /// The caller that was heavy last.
    heavy: Option<CallerKey>,
    until: Option<Instant>,
    known: Known,
}

impl Competition {
    /// Whether a caller that has nothing in flight now waits for its answers, as far as is known.
    pub(super) fn is_single(&self, caller: u64) -> bool {
        self.known.is_single(caller)
    }

    /// Notes that a caller has nothing in flight any more, and the most that it had since it began.
    pub(super) fn note_end(&mut self, caller: u64, is_single: bool, now: Instant) {
        self.known.note(caller, is_single, now);
    }

    /// Notes a caller with many calls under way.
    pub(super) fn note_heavy(&mut self, key: CallerKey) {
        self.heavy = Some(key);
    }

    /// The caller that was heavy last; whoever asks has to see whether it still is.
    pub(super) fn last_heavy(&self) -> Option<CallerKey> {
        self.heavy
    }

    /// Notes that a caller that waits for its answers calls beside a heavy one; where competition begins anew, how long
    /// there was none.
    ///
    /// A heavy caller's call alone says nothing: after a moment in which nothing was answered all callers are heavy.
    pub(super) fn note(&mut self, now: Instant) -> Option<Duration> {
        let over_for = if self.is_on(now) { None } else { Some(self.over_for(now).unwrap_or(Duration::MAX)) };
        self.until = Some(now + COMPETES_FOR);
        over_for
    }

    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// For how long nobody has competed any more; none where nobody ever did.
    pub(super) fn over_for(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| now.saturating_duration_since(until))
    }
}

/// How the callers of the last seconds called: one after another, or many calls at a time.
#[derive(Default)]
struct Known {
    /// By caller, whether it had few calls in flight when it had any. Forgotten after two intervals at most.
    recent: HashMap<u64, bool>,
    before: HashMap<u64, bool>,
    since: Option<Instant>,
}

impl Known {
    fn is_single(&self, caller: u64) -> bool {
        self.recent.get(&caller).or_else(|| self.before.get(&caller)).copied().unwrap_or(false)
    }

    fn note(&mut self, caller: u64, is_single: bool, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= COMPETES_FOR {
            self.since = Some(now);
            std::mem::swap(&mut self.recent, &mut self.before);
            self.recent.clear();
        }
        self.recent.insert(caller, is_single);
    }
}

/// How many calls of competing callers are given to the service at a time. It begins low, since a call that was let in
/// cannot be called back.
pub(super) struct SharedLimit {
    limit: usize,
    min: usize,
    max: usize,
    window: Duration,
    window_began: Instant,
    /// Single calls that ended in the window, and those of them that were slow.
    ended: u32,
    slow: u32,
    /// Whether a call had to wait in the window.
    was_felt: bool,
    /// In seconds, by method; zero while it is not known.
    quiet: Vec<f64>,
}

impl SharedLimit {
    pub(super) fn new(settings: &AdmissionSettings, now: Instant) -> Self {
        let min = settings.caller_in_flight_min.max(1);
        Self {
            limit: min,
            min,
            max: settings.in_flight_max.max(min),
            window: settings.window,
            window_began: now,
            ended: 0,
            slow: 0,
            was_felt: false,
            quiet: Vec::new(),
        }
    }

    pub(super) fn get(&self) -> usize {
        self.limit
    }

    /// Whether the service is quiet with so many calls: no more than a single call meets where the limit is lowest, so that
    /// what "quiet" means is learned anew there.
    pub(super) fn is_quiet(&self, in_flight: usize) -> bool {
        in_flight <= self.min.saturating_add(1)
    }

    /// Begins anew. What was allowed beside other callers says the less about these, the longer ago it was: it halves each
    /// second.
    pub(super) fn begin(&mut self, over_for: Duration, now: Instant) {
        let halvings = u32::try_from(over_for.as_secs()).unwrap_or(u32::MAX);
        self.limit = self.limit.checked_shr(halvings).unwrap_or(0).max(self.min);
        self.reset(now);
    }

    /// Notes that a call has to wait.
    pub(super) fn felt(&mut self) {
        self.was_felt = true;
    }

    /// Notes how long a call took that began and ended while the service was quiet.
    pub(super) fn learn(&mut self, method: usize, took: Duration) {
        if self.quiet.len() <= method {
            self.quiet.resize(method + 1, 0.0);
        }
        let (quiet, took) = (&mut self.quiet[method], took.as_secs_f64());
        let weight = if took < *quiet { QUICKER_WEIGHT } else { SLOWER_WEIGHT };
        *quiet = if *quiet > 0.0 { *quiet + (took - *quiet) * weight } else { took };
    }

    /// Notes how long a call took whose caller waits for its answers.
    pub(super) fn single_ended(&mut self, method: usize, took: Duration, now: Instant) {
        let quiet = self.quiet.get(method).copied().unwrap_or(0.0);
        self.ended += 1;
        self.slow += u32::from(quiet > 0.0 && took.as_secs_f64() > quiet * SLOW_FACTOR);
        let sampled_for = now.saturating_duration_since(self.window_began);
        if sampled_for < self.window || (self.ended < SAMPLES_MIN && sampled_for < SAMPLED_FOR_MAX) {
            return;
        }
        if self.slow * SLOW_ONE_IN <= self.ended && self.was_felt {
            self.limit = (self.limit + (self.limit / 4).max(1)).min(self.max);
        } else {
            // Too much, or more than is used: nobody knows whether that is still good.
            self.limit = (self.limit - self.limit / 4).max(self.min);
        }
        self.reset(now);
    }

    fn reset(&mut self, now: Instant) {
        self.window_began = now;
        (self.ended, self.slow, self.was_felt) = (0, 0, false);
    }
}
