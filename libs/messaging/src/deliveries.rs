//! Waiting for the broker's acknowledgements of a batch.
//!
//! The client's own flush, which its commit begins with, looks every 100 ms only, and an order would pay that at
//! every hop; looking more often keeps a core busy. So the acknowledgements are counted as they come.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
};

/// Acknowledgements of one producer's batch in hand.
#[derive(Default)]
pub(crate) struct Deliveries {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    outstanding: usize,
    error: Option<KafkaError>,
}

impl Deliveries {
    /// Begins a batch of `count` messages.
    pub(crate) fn expect(&self, count: usize) {
        *self.state() = State { outstanding: count, error: None };
    }

    /// Waits until the broker has all of the batch.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), KafkaError> {
        let until = Instant::now() + timeout;
        let mut state = self.state();
        loop {
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            if state.outstanding == 0 {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
            }
            let waited = self.settled.wait_timeout(state, left);
            state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut state = self.state();
        state.outstanding = state.outstanding.saturating_sub(1);
        if let Err((error, _)) = result {
            state.error = Some(error.clone());
        }
        if state.outstanding == 0 || state.error.is_some() {
            self.settled.notify_all();
        }
    }
}
