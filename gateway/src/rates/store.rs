//! What callers have left, in Redis.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use openorder_config::Secret;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};

use super::Rate;

/// How long Redis is left alone after it did not answer, so that calls do not wait for it one by one.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Store {
    client: Client,
    timeout: Duration,
    prefix: String,
    take: Script,
    /// Replaced when it did not answer: what hangs is not noticed by it.
    connection: Mutex<ConnectionManager>,
    paused_until: Mutex<Option<Instant>>,
}

impl Store {
    /// Connects when it is first used.
    ///
    /// # Errors
    ///
    /// A URL that is none.
    pub(crate) fn new(url: &Secret, timeout_ms: u64, prefix: &str) -> anyhow::Result<Self> {
        let client = Client::open(url.expose()).context("gateway.redis_url")?;
        let timeout = Duration::from_millis(timeout_ms);
        let connection = connection(&client, timeout).context("gateway.redis_url")?;
        Ok(Self {
            client,
            timeout,
            prefix: format!("{prefix}:gateway:rate"),
            take: Script::new(include_str!("take.lua")),
            connection: Mutex::new(connection),
            paused_until: Mutex::default(),
        })
    }

    /// Takes calls of a caller: how many were taken, and when there is one where there was none. Nothing while Redis is
    /// away.
    pub(crate) async fn take(&self, caller: &str, rate: Rate, wanted: u32) -> Option<(u32, Duration)> {
        if self.is_paused() {
            return None;
        }
        let mut call = self.take.prepare_invoke();
        call.key(format!("{}:{caller}", self.prefix)).arg(rate.per_second).arg(rate.burst).arg(wanted);
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = call.invoke_async::<(u32, u64)>(&mut connection);
        let failure = match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok((taken, wait_ms))) => return Some((taken.min(wanted), Duration::from_millis(wait_ms))),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.leave_alone(&failure);
        None
    }

    fn is_paused(&self) -> bool {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn leave_alone(&self, failure: &str) {
        let now = Instant::now();
        let before = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner).replace(now + PAUSE);
        // Said when it begins, and not each second.
        if before.is_none_or(|before| before + PAUSE < now) {
            tracing::warn!(
                failure,
                "Redis does not answer: how often callers may call is counted at each gateway alone"
            );
        }
        // The URL could be read before.
        if let Ok(new) = connection(&self.client, self.timeout) {
            *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }
}

fn connection(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}
