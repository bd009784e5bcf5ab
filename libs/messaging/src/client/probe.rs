//! Whether a client that is made now gets an answer: a broker that is away is told apart from a client that is, and from
//! a broker that refuses this process.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex as Lock, PoisonError},
    time::{Duration, Instant},
};

use openorder_runtime::compiled_here;
use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
};
use tokio::sync::Mutex;

use super::{KafkaClient, ask};
use crate::{KafkaSettings, kafka, security};

/// How long an answer is good for: many clients of a process ask at the same time.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);
/// Errors of a client that got no answer that are looked through for the reason.
const ERRORS_MAX: usize = 100;

/// What a new client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The brokers' names.
    Brokers,
    /// Nothing, within the time.
    Silence,
    /// A refusal: which settings to look at, and the reason.
    Refusal(String),
}

/// The last answer, by brokers. One probe at a time.
static ANSWERS: LazyLock<Mutex<HashMap<String, (Instant, Answer)>>> = LazyLock::new(Mutex::default);

/// Whether a new client is told of a broker within `timeout`; `topic` is a full name that may be asked for.
#[compiled_here]
pub(crate) async fn broker_answers(settings: &KafkaSettings, topic: &str, timeout: Duration) -> bool {
    answer_to_new(settings, topic, timeout).await == Answer::Brokers
}

/// What a new client gets within `timeout`; `topic` is a full name that may be asked for.
#[compiled_here]
pub(crate) async fn answer_to_new(settings: &KafkaSettings, topic: &str, timeout: Duration) -> Answer {
    let mut answers = ANSWERS.lock().await;
    if let Some((at, answer)) = answers.get(&settings.brokers)
        && at.elapsed() < ANSWER_AGE_MAX
    {
        return answer.clone();
    }
    let (config, topic) = (kafka::client(settings, "openorder-probe"), topic.to_owned());
    let probe = tokio::task::spawn_blocking(move || {
        let Ok(client) = KafkaClient::<ProbeClient>::create_with_context(&config, KeepsRefusal::default()) else {
            return Answer::Silence;
        };
        match ask(client.client(), &topic, timeout) {
            Ok(()) => Answer::Brokers,
            Err(_) => refusal_of(&client).map_or(Answer::Silence, Answer::Refusal),
        }
    });
    let answer = probe.await.unwrap_or(Answer::Silence);
    answers.insert(settings.brokers.clone(), (Instant::now(), answer.clone()));
    answer
}

type ProbeClient = BaseConsumer<KeepsRefusal>;

/// The answer to a question says nothing of its reason: that comes as an error of the client.
#[derive(Default)]
struct KeepsRefusal(Lock<Option<String>>);

impl ClientContext for KeepsRefusal {
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(refusal) = security::refusal(&error, reason) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        }
    }
}

impl ConsumerContext for KeepsRefusal {}

/// Looks through the errors that a client has had.
fn refusal_of(client: &ProbeClient) -> Option<String> {
    for _ in 0..ERRORS_MAX {
        if client.poll(Duration::ZERO).is_none() {
            break;
        }
    }
    client.context().0.lock().unwrap_or_else(PoisonError::into_inner).take()
}
