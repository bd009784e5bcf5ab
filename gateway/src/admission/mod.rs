//! How many calls a service is given at a time, and whose.
//!
//! Beyond what a service can do, calls in flight only make each other wait. So the limit follows the latency
//! (additive increase, multiplicative decrease): while calls answer within the target it grows as far as it is used,
//! and it shrinks as soon as they do not. What does not fit is refused at once with a time to retry, which is cheap,
//! and what was let in stays quick.
//!
//! When places are scarce they are shared out evenly, first between the peers that are there, then between each one's
//! callers: a caller above its share is refused first, and one below its share is let in as long as there is any room.
//!
//! A call in flight at the service stands in one queue with all others, whoever made them. So while a caller that waits
//! for its answers has company, a smaller limit counts, under which its calls stay about as quick as alone
//! (`shared.rs`). What other callers have beyond their share of it waits here, in a queue of its own for each caller
//! (`waiting.rs`), and so makes only themselves wait.

mod shared;
mod state;
mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openorder_telemetry::api::{Counter, Gauge, KeyValue};
use tokio::sync::oneshot;

use crate::identity::CallCount;
use state::{Decision, Ended, Entered, Granted, Limits, State};

/// Who calls, as far as places are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallerKey {
    /// Many callers may come from one peer; together they have its share.
    pub(crate) peer: u64,
    /// The caller, among all.
    pub(crate) caller: u64,
}

/// How the limits move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionSettings {
    /// The limit never falls below.
    pub(crate) in_flight_min: usize,
    /// The limit never rises above.
    pub(crate) in_flight_max: usize,
    /// Any caller is given so many at a time, whoever else calls.
    pub(crate) caller_in_flight_min: usize,
    /// Nine calls in ten shall answer within this time.
    pub(crate) latency_target: Duration,
    /// The longest time that a call waits for a place beside other callers' calls.
    pub(crate) wait_max: Duration,
    /// The limits are looked at once in this time.
    pub(crate) window: Duration,
}

/// Hears that a call has its place.
type Waiter = oneshot::Sender<Entered>;

/// The admission to one service. Clones share it.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    state: Mutex<State<Waiter>>,
    wait_max: Duration,
    limit: Gauge<u64>,
    shared_limit: Gauge<u64>,
    refused: Counter<u64>,
    waited: Counter<u64>,
    role: [KeyValue; 1],
}

/// A place; given back when it is dropped, which also records how long the call took.
pub(crate) struct Place {
    admission: Admission,
    caller: CallerKey,
    under_way: CallCount,
    method: usize,
    entered: Entered,
}

impl Admission {
    pub(crate) fn new(upstream: &'static str, settings: AdmissionSettings) -> Self {
        let meter = openorder_telemetry::meter();
        let gauge = |name, description| meter.u64_gauge(name).with_unit("{call}").with_description(description).build();
        let counter =
            |name, description| meter.u64_counter(name).with_unit("{call}").with_description(description).build();
        Self(Arc::new(Inner {
            state: Mutex::new(State::new(settings, Instant::now())),
            wait_max: settings.wait_max,
            limit: gauge("openorder.gateway.in_flight_limit", "Calls that a service is given at a time"),
            shared_limit: gauge(
                "openorder.gateway.shared_in_flight_limit",
                "Calls that a service is given at a time while callers compete; callers below their share come on top",
            ),
            refused: counter(
                "openorder.gateway.refused",
                "Calls refused because the service had as many as it can answer in time",
            ),
            waited: counter("openorder.gateway.waited", "Calls that waited for a place beside those of other callers"),
            role: [KeyValue::new("upstream", upstream)],
        }))
    }

    /// A place for a call of this caller, or none. The method is its number among those of the service.
    pub(crate) async fn enter(&self, caller: CallerKey, under_way: CallCount, method: usize) -> Option<Place> {
        let entered = match self.ask(caller, under_way.get()) {
            Asked::Entered(entered) => Some(entered),
            Asked::Refused => None,
            Asked::Waits(waiting) => {
                self.0.waited.add(1, &self.0.role);
                waiting.granted().await
            }
        };
        if entered.is_none() {
            self.0.refused.add(1, &self.0.role);
        }
        entered.map(|entered| Place { admission: self.clone(), caller, under_way, method, entered })
    }

    fn ask(&self, caller: CallerKey, under_way: usize) -> Asked {
        let now = Instant::now();
        let mut state = self.state();
        match state.enter(caller, under_way, now) {
            Decision::Enter(entered) => Asked::Entered(entered),
            Decision::Refuse => Asked::Refused,
            Decision::Wait => {
                let (waiter, granted) = oneshot::channel();
                let ticket = state.wait(caller, waiter);
                drop(state);
                Asked::Waits(Waiting { admission: self.clone(), caller, ticket, granted, is_over: false })
            }
        }
    }

    /// Lets in whoever waits and fits.
    fn grant(&self) {
        let granted = self.state().grant(Instant::now());
        self.notify(granted);
    }

    fn leave(&self, caller: CallerKey, ended: &Ended) {
        let (moved, granted) = self.state().leave(caller, ended, Instant::now());
        self.notify(granted);
        if let Some(Limits { all, shared }) = moved {
            self.0.limit.record(all as u64, &self.0.role);
            self.0.shared_limit.record(shared as u64, &self.0.role);
        }
    }

    /// Notifies those that have a place now. One that does not wait any more gives it back.
    fn notify(&self, mut granted: Vec<Granted<Waiter>>) {
        while let Some(Granted { caller, waiter, entered }) = granted.pop() {
            if let Err(entered) = waiter.send(entered) {
                let ended = Ended { under_way: 0, entered, method: None };
                let (_, more) = self.state().leave(caller, &ended, Instant::now());
                granted.extend(more);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<Waiter>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Asked {
    Entered(Entered),
    Waits(Waiting),
    Refused,
}

/// A call that waits for a place. Dropped, it gives up, and gives a place back that it got meanwhile.
struct Waiting {
    admission: Admission,
    caller: CallerKey,
    ticket: u64,
    granted: oneshot::Receiver<Entered>,
    is_over: bool,
}

impl Waiting {
    /// The place, or none within the time.
    async fn granted(mut self) -> Option<Entered> {
        // Callers may have gone since the last call ended.
        self.admission.grant();
        let granted = tokio::time::timeout(self.admission.0.wait_max, &mut self.granted).await;
        let entered = match granted {
            Ok(granted) => granted.ok(),
            Err(_) => {
                self.admission.grant();
                self.granted.try_recv().ok()
            }
        };
        self.is_over = entered.is_some();
        entered
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // From now on whoever grants it a place sees that nobody takes it.
        self.granted.close();
        match self.granted.try_recv() {
            Ok(entered) => self.admission.leave(self.caller, &Ended { under_way: 0, entered, method: None }),
            Err(_) => drop(self.admission.state().give_up(self.caller, self.ticket)),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (entered, under_way) = (self.entered, self.under_way.get());
        self.admission.leave(self.caller, &Ended { under_way, entered, method: Some(self.method) });
    }
}
