//! Whether a client that is made now gets an answer: a broker that is away is told apart from a client that is.

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::sync::Mutex;

use super::{KafkaClient, ask};
use crate::{KafkaSettings, kafka};

/// How long an answer is good for: many clients of a process ask at the same time.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);

/// The last answer, by brokers. One probe at a time.
static ANSWERS: LazyLock<Mutex<HashMap<String, (Instant, bool)>>> = LazyLock::new(Mutex::default);

/// Whether a new client is told of a broker within `timeout`; `topic` is a full name that may be asked for.
pub(crate) async fn broker_answers(settings: &KafkaSettings, topic: &str, timeout: Duration) -> bool {
    let mut answers = ANSWERS.lock().await;
    if let Some((at, answer)) = answers.get(&settings.brokers)
        && at.elapsed() < ANSWER_AGE_MAX
    {
        return *answer;
    }
    let (config, topic) = (kafka::client(settings, "openorder-probe"), topic.to_owned());
    let probe = tokio::task::spawn_blocking(move || {
        let Ok(client) = config.create::<BaseConsumer>() else { return false };
        let client = KafkaClient::new(client);
        ask(client.client(), &topic, timeout).is_ok()
    });
    let answer = probe.await.unwrap_or(false);
    answers.insert(settings.brokers.clone(), (Instant::now(), answer));
    answer
}
