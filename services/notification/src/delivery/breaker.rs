//! The circuit breaker of one provider: after failures in a row it is left alone for a while, then tried with one message.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use failsafe::{
    Instrument, StateMachine,
    failure_policy::{ConsecutiveFailures, consecutive_failures},
};
use openorder_telemetry::{
    api::{Counter, Gauge, KeyValue},
    meter,
};

use crate::config::DeliverySettings;

/// Whether a provider is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Gate {
    /// Yes.
    Closed = 0,
    /// By one message, whose answer decides.
    HalfOpen = 1,
    /// No.
    Open = 2,
}

/// The breaker.
pub(crate) struct Breaker {
    machine: StateMachine<ConsecutiveFailures<OpenTimes>, Reporter>,
    gate: Arc<AtomicU8>,
}

impl Breaker {
    /// A closed one. `provider` names it in metrics.
    pub(crate) fn new(provider: &'static str, settings: &DeliverySettings) -> Self {
        let gate = Arc::new(AtomicU8::new(Gate::Closed as u8));
        let reporter = Reporter::new(provider, Arc::clone(&gate));
        let times = OpenTimes {
            next: Duration::from_millis(settings.breaker_open_base_ms),
            longest: Duration::from_millis(settings.breaker_open_max_ms),
        };
        Self { machine: StateMachine::new(consecutive_failures(settings.breaker_failures_max, times), reporter), gate }
    }

    /// Its gate now; one that was open for long enough becomes half-open by being asked.
    pub(crate) fn gate(&self) -> Gate {
        self.machine.is_call_permitted();
        self.last_gate()
    }

    /// Its gate when it was looked at last, or has been changed since.
    pub(crate) fn last_gate(&self) -> Gate {
        match self.gate.load(Ordering::Acquire) {
            0 => Gate::Closed,
            1 => Gate::HalfOpen,
            _ => Gate::Open,
        }
    }

    /// The provider did its work.
    pub(crate) fn succeeded(&self) {
        self.machine.on_success();
    }

    /// It did not.
    pub(crate) fn failed(&self) {
        self.machine.on_error();
    }
}

/// How long it stays open: doubled each time, with jitter in the upper half, so that instances do not come back in step.
#[derive(Debug, Clone)]
struct OpenTimes {
    next: Duration,
    longest: Duration,
}

impl Iterator for OpenTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let ceiling = self.next.min(self.longest);
        self.next = ceiling.saturating_mul(2);
        Some(ceiling.mul_f64(rand::random_range(0.5..=1.0)))
    }
}

/// Reports each change of the gate by metric and log.
struct Reporter {
    provider: &'static str,
    gate: Arc<AtomicU8>,
    state: Gauge<i64>,
    openings: Counter<u64>,
}

impl Reporter {
    fn new(provider: &'static str, gate: Arc<AtomicU8>) -> Self {
        let state = meter()
            .i64_gauge("openorder.notification.provider.breaker")
            .with_description("Circuit breaker of a provider: 0 closed, 1 half-open, 2 open.")
            .build();
        let openings = meter()
            .u64_counter("openorder.notification.provider.breaker_openings")
            .with_description("How often the circuit breaker of a provider opened.")
            .build();
        Self { provider, gate, state, openings }
    }

    fn change(&self, gate: Gate) {
        self.gate.store(gate as u8, Ordering::Release);
        self.state.record(i64::from(gate as u8), &[KeyValue::new("provider", self.provider)]);
    }
}

impl Instrument for Reporter {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.change(Gate::Open);
        self.openings.add(1, &[KeyValue::new("provider", self.provider)]);
        tracing::warn!(provider = self.provider, "the circuit breaker is open: messages wait");
    }

    fn on_half_open(&self) {
        self.change(Gate::HalfOpen);
    }

    fn on_closed(&self) {
        let before = self.gate.load(Ordering::Acquire);
        self.change(Gate::Closed);
        if before != Gate::Closed as u8 {
            tracing::info!(provider = self.provider, "the circuit breaker is closed again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(failures: u32, open_ms: u64) -> DeliverySettings {
        DeliverySettings {
            breaker_failures_max: failures,
            breaker_open_base_ms: open_ms,
            breaker_open_max_ms: open_ms * 3,
            ..DeliverySettings::default()
        }
    }

    #[tokio::test]
    async fn failures_in_a_row_open_it_and_one_success_closes_it() {
        let breaker = Breaker::new("test", &settings(3, 20));
        for _ in 0..2 {
            breaker.failed();
            breaker.failed();
            breaker.succeeded();
        }
        assert_eq!(breaker.gate(), Gate::Closed, "never three in a row");
        for _ in 0..3 {
            breaker.failed();
        }
        assert_eq!(breaker.gate(), Gate::Open);
        tokio::time::sleep(Duration::from_millis(25)).await;
        assert_eq!(breaker.gate(), Gate::HalfOpen);
        breaker.failed();
        assert_eq!(breaker.gate(), Gate::Open, "one failure is enough to open it again");
        tokio::time::sleep(Duration::from_millis(65)).await;
        assert_eq!(breaker.gate(), Gate::HalfOpen);
        breaker.succeeded();
        assert_eq!(breaker.gate(), Gate::Closed);
        breaker.failed();
        assert_eq!(breaker.gate(), Gate::Closed, "it counts from the beginning");
    }

    #[test]
    fn it_stays_open_for_longer_each_time_and_never_for_longer_than_its_bound() {
        let mut times = OpenTimes { next: Duration::from_secs(1), longest: Duration::from_secs(5) };
        for ceiling in [1, 2, 4, 5, 5, 5] {
            let time = times.next().unwrap_or_default();
            assert!(time <= Duration::from_secs(ceiling) && time * 2 >= Duration::from_secs(ceiling), "{time:?}");
        }
    }
}
