//! Waiting for the broker's acknowledgements of a batch.
//!
//! The client's own flush, which its commit begins with, looks every 100 ms only, and an order would pay that at
//! every hop; looking more often keeps a core busy. So the acknowledgements are counted as they come.
//!
//! A thread serves the client, as rdkafka's `ThreadedProducer` has one. That one waits 100 ms at a time and spins
//! through the last of them, because a wait shorter than a millisecond is none: with a producer or two in each
//! service, a tenth of a core.

use std::{
    io,
    ops::Deref,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext, PurgeConfig},
};

/// How long the thread of a producer waits at a time.
const SERVE_INTERVAL: Duration = Duration::from_secs(1);

/// A producer that counts its acknowledgements, with the thread that takes them. Its drop waits for that thread and for
/// the end of the client: hold it in a [`crate::client::KafkaClient`].
pub(crate) struct CountingProducer {
    producer: Arc<BaseProducer<Deliveries>>,
    is_dropped: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl CountingProducer {
    /// # Errors
    /// The configuration does not stand, or no thread can be started.
    pub(crate) fn create(config: &ClientConfig) -> Result<Self, KafkaError> {
        #[expect(clippy::disallowed_methods, reason = "a part of what a `KafkaClient` holds")]
        let producer: BaseProducer<Deliveries> = config.create_with_context(Deliveries::default())?;
        let producer = Arc::new(producer);
        let is_dropped = Arc::new(AtomicBool::new(false));
        let (served, ended) = (Arc::clone(&producer), Arc::clone(&is_dropped));
        let serve = move || {
            while !ended.load(Ordering::Relaxed) {
                served.poll(SERVE_INTERVAL);
            }
        };
        let failed = |error: io::Error| KafkaError::ClientCreation(error.to_string());
        let server = thread::Builder::new().name("kafka-producer".to_owned()).spawn(serve).map_err(failed)?;
        Ok(Self { producer, is_dropped, server: Some(server) })
    }
}

impl Deref for CountingProducer {
    type Target = BaseProducer<Deliveries>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

impl Drop for CountingProducer {
    fn drop(&mut self) {
        // What nobody waits for any more is not sent any more.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.is_dropped.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            // A thread that panicked has dropped its reference as well.
            drop(server.join());
        }
    }
}

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
    /// The first message that was too large for its topic, or was in a batch that was.
    too_large: Option<usize>,
}

impl Deliveries {
    /// Begins a batch of `count` messages.
    pub(crate) fn expect(&self, count: usize) {
        *self.state() = State { outstanding: count, ..State::default() };
    }

    /// Notes that the client itself does not take a message, by its place in the batch.
    pub(crate) fn refuse(&self, index: usize) {
        self.state().refuse(index);
    }

    /// Of the batch, the first message known to be too large for its topic, or to have been in a batch that was.
    pub(crate) fn too_large(&self) -> Option<usize> {
        self.state().too_large
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

impl State {
    fn refuse(&mut self, index: usize) {
        self.too_large = Some(self.too_large.map_or(index, |first| first.min(index)));
    }
}

/// Whether a message, or the batch that it was in, is larger than its topic takes.
pub(crate) fn is_too_large(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge)
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// The message's place in its batch.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let mut state = self.state();
        state.outstanding = state.outstanding.saturating_sub(1);
        if let Err((error, _)) = result {
            if is_too_large(error) {
                state.refuse(index);
            }
            state.error = Some(error.clone());
        }
        if state.outstanding == 0 || state.error.is_some() {
            self.settled.notify_all();
        }
    }
}
