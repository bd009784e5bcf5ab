//! Whether a client still reaches a broker.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use openorder_runtime::{Dependency, compiled_here};
use openorder_telemetry::Series;
use rdkafka::{
    ClientContext,
    client::Client,
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::sync::{Notify, watch};

use super::{Answer, KafkaClient, answer_to_new, closing};
use crate::{KafkaSettings, kafka::KAFKA, metrics::Metrics};

/// How long a client, and a new one beside it, may take to answer.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two questions to a client that is in doubt.
const DOUBT_INTERVAL: Duration = Duration::from_secs(1);

/// Asks a client for its brokers, by the metadata of one topic.
///
/// # Errors
/// No answer within `timeout`, or one that names no broker.
pub(crate) fn ask<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<(), KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    if metadata.brokers().is_empty() {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerNotAvailable));
    }
    Ok(())
}

/// What is known of one client: in doubt from an error until it answers, lost once it has been without an answer for
/// `kafka.client_doubt_max_ms` while a new client got one. While the broker itself is away, no client is lost.
pub(crate) struct ClientHealth {
    role: &'static str,
    settings: KafkaSettings,
    /// Full name.
    topic: String,
    dependency: Dependency,
    doubtful: AtomicBool,
    /// Messages came since the last look.
    heard: AtomicBool,
    /// Why the brokers refuse this process, as long as they do.
    refusal: Mutex<Option<String>>,
    suspected: Notify,
    lost: watch::Sender<bool>,
    /// The outage as a metric, from the first question without an answer.
    outage: Mutex<Option<Series>>,
}

impl ClientHealth {
    /// Of a client that asks for `topic`, given without the deployment's prefix; doubts are told to `dependency`.
    pub(crate) fn new(settings: &KafkaSettings, role: &'static str, topic: &str, dependency: Dependency) -> Self {
        Self {
            role,
            settings: settings.clone(),
            topic: settings.topic(topic),
            dependency,
            doubtful: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            refusal: Mutex::default(),
            suspected: Notify::new(),
            lost: watch::Sender::new(false),
            outage: Mutex::default(),
        }
    }

    /// A new client is used from now on.
    pub(crate) fn renew(&self) {
        self.doubtful.store(false, Ordering::Relaxed);
        self.lost.send_replace(false);
        self.end_outage();
    }

    /// No client can be made, or the one that there is gets no answer.
    pub(crate) fn away(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.get_or_insert_with(|| Metrics::get().outage(self.role, KAFKA));
    }

    fn end_outage(&self) {
        drop(self.outage.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The client gave an error: it is in doubt until it answers.
    pub(crate) fn suspect(&self, error: &KafkaError) {
        self.doubtful.store(true, Ordering::Relaxed);
        // That the client cannot reach a broker follows from the refusal, and says less.
        match &*self.refusal() {
            Some(refusal) => self.dependency.down(refusal),
            None => self.dependency.down(error),
        }
        self.suspected.notify_one();
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages came through this client.
    pub(crate) fn heard(&self) {
        self.heard.store(true, Ordering::Relaxed);
        self.answered();
    }

    fn answered(&self) {
        if self.doubtful.swap(false, Ordering::Relaxed) {
            *self.refusal() = None;
            self.end_outage();
            self.dependency.ready();
        }
    }

    /// Whether the client has to be replaced.
    pub(crate) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Waits until the client has to be replaced.
    #[compiled_here]
    pub(crate) async fn lost(&self) {
        // The sender lives in `self`.
        drop(self.lost.subscribe().wait_for(|lost| *lost).await);
    }

    /// Asks the client now and then, and often while it is in doubt. Runs beside the work of the client, until it is
    /// dropped.
    pub(crate) async fn watch<T, C>(&self, client: &Arc<KafkaClient<T>>, native: fn(&T) -> &Client<C>) -> Infallible
    where
        T: Send + Sync + 'static,
        C: ClientContext + 'static,
    {
        let mut alone_since = None;
        loop {
            self.pause().await;
            if self.heard.swap(false, Ordering::Relaxed) && !self.doubtful.load(Ordering::Relaxed) {
                continue;
            }
            let (asked, topic) = (Arc::clone(client), self.topic.clone());
            let question = tokio::task::spawn_blocking(move || ask(native(&asked), &topic, QUESTION_TIMEOUT));
            match question.await.unwrap_or(Err(KafkaError::Canceled)) {
                Ok(()) => {
                    alone_since = None;
                    self.answered();
                }
                Err(error) => {
                    self.suspect(&error);
                    self.away();
                    self.judge(&mut alone_since, &error).await;
                }
            }
        }
    }

    #[compiled_here]

    async fn pause(&self) {
        if self.doubtful.load(Ordering::Relaxed) {
            return tokio::time::sleep(DOUBT_INTERVAL).await;
        }
        tokio::select! {
            () = self.suspected.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(self.settings.client_check_interval_ms)) => {}
        }
    }

    /// After a question without an answer: is it the client, or the broker? `alone_since` says since when only this
    /// client goes without.
    #[compiled_here]
    async fn judge(&self, alone_since: &mut Option<Instant>, error: &KafkaError) {
        if self.is_lost() {
            return;
        }
        let answer = answer_to_new(&self.settings, &self.topic, QUESTION_TIMEOUT).await;
        if answer != Answer::Brokers {
            *alone_since = None;
            if let Answer::Refusal(refusal) = answer {
                self.dependency.down(&refusal);
                *self.refusal() = Some(refusal);
            }
            return;
        }
        let alone = alone_since.get_or_insert_with(Instant::now).elapsed();
        if alone < Duration::from_millis(self.settings.client_doubt_max_ms) {
            return;
        }
        *alone_since = None;
        let closing = closing::count();
        if closing >= self.settings.closing_clients_max {
            let detail = format!(
                "{error}; {closing} clients do not close (kafka.closing_clients_max), so none is made anew: restart the process"
            );
            tracing::error!(detail, topic = self.topic, "a Kafka client is silent and cannot be replaced");
            self.dependency.down(detail);
            return;
        }
        tracing::warn!(%error, topic = self.topic, "a Kafka client is silent although the broker answers; it is replaced");
        self.lost.send_replace(true);
    }
}
