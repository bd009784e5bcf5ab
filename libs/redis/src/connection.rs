//! A connection to Redis that never hangs, and is left alone for a while after it failed.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use openorder_config::Secret;
use openorder_telemetry::{RoleTelemetry, SpanKind, TraceContext};
use openorder_types::Fault;
use redis::{
    Client, FromRedisValue, Pipeline, RedisError, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::REDIS;

/// Shared by all who use it: what they ask travels together.
pub struct Connection {
    client: Client,
    timeout: Duration,
    current: Mutex<Current>,
    /// Until when nobody asks: callers do not wait for it one by one.
    paused_until: Mutex<Option<Instant>>,
    telemetry: RoleTelemetry,
}

/// Replaced when it did not answer: what hangs is not noticed by it.
#[derive(Clone)]
struct Current {
    manager: ConnectionManager,
    /// How often it was replaced: of many who wait in vain, the first one replaces it.
    replacements: u64,
}

impl Connection {
    /// Connects when it is first used. `timeout` is how long connecting, and answering, may take each; so long it is left
    /// alone after it failed.
    ///
    /// # Errors
    /// A URL that is none.
    pub fn new(url: &Secret, timeout: Duration, telemetry: RoleTelemetry) -> Result<Self, RedisError> {
        let client = Client::open(url.expose())?;
        let current = Mutex::new(Current { manager: manager(&client, timeout)?, replacements: 0 });
        Ok(Self { client, timeout, current, paused_until: Mutex::default(), telemetry })
    }

    /// Calls a script, which is given to Redis where that has it no more. `name` is that of the span, which is there
    /// within a trace that is recorded.
    ///
    /// # Errors
    /// An outage of Redis, whatever it fails with; then the script may have run. At once, while it is left alone.
    pub async fn invoke<T: FromRedisValue>(
        &self,
        name: &'static str,
        call: &ScriptInvocation<'_>,
        trace: &TraceContext,
    ) -> Result<T, Fault> {
        if self.is_paused() {
            return Err(Fault::outage(REDIS, "it did not answer a moment ago"));
        }
        let mut span = self.telemetry.start_within(SpanKind::Client, || name.into(), trace);
        if span.is_recording() {
            span.set("db.system.name", "redis");
            span.set("db.operation.name", "EVALSHA");
        }
        let Current { mut manager, replacements } = self.current();
        let answer = self.bounded(replacements, call.invoke_async(&mut manager)).await;
        if let Err(fault) = &answer {
            span.fail(fault.kind(), "Redis did not answer");
            self.pause();
        }
        span.end();
        answer
    }

    /// Asks also while others leave it alone: for whoever has pauses of its own. When it answers, everybody asks again.
    ///
    /// # Errors
    /// An outage of Redis, whatever it fails with; then the commands may have run.
    pub async fn look<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Fault> {
        let Current { mut manager, replacements } = self.current();
        let answer = self.bounded(replacements, commands.query_async(&mut manager)).await;
        match &answer {
            Ok(_) => *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = None,
            Err(_) => self.pause(),
        }
        answer
    }

    /// Whether anybody answers; as [`Self::look`].
    ///
    /// # Errors
    /// An outage of Redis.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.look(redis::pipe().cmd("PING").ignore()).await
    }

    /// The connection has its own time limits, one for each thing that it waits for.
    async fn bounded<T>(
        &self,
        replacements: u64,
        call: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.timeout * 2, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if error.is_timeout() {
                    self.replace(replacements);
                }
                Err(Fault::outage(REDIS, error))
            }
            Err(_) => {
                self.replace(replacements);
                Err(Fault::outage(REDIS, "no answer in time"))
            }
        }
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, replacements: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.replacements != replacements {
            return;
        }
        // The URL could be read before.
        if let Ok(manager) = manager(&self.client, self.timeout) {
            *current = Current { manager, replacements: replacements + 1 };
        }
    }

    fn is_paused(&self) -> bool {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self) {
        let until = Instant::now() + self.timeout;
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's address may have a password in it.
        f.debug_struct("Connection").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Whoever calls tries again by itself.
fn manager(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

#[cfg(test)]
mod tests {
    use openorder_testing::{Cut, eventually, redis_url};
    use tokio::net::TcpListener;

    use super::*;

    const BOUND: Duration = Duration::from_secs(30);
    const TIMEOUT: Duration = Duration::from_millis(200);

    fn to(address: &str) -> Connection {
        let url = Secret::new(format!("redis://{address}"));
        Connection::new(&url, TIMEOUT, RoleTelemetry::disabled("test")).unwrap()
    }

    fn server() -> String {
        redis_url().trim_start_matches("redis://").trim_end_matches('/').to_owned()
    }

    #[tokio::test]
    async fn a_connection_that_was_cut_is_there_again_when_its_server_is() {
        let cable = Cut::to(&server()).await;
        let connection = to(&cable.address());
        connection.ping().await.unwrap();
        cable.cut();
        let script = redis::Script::new("return 7");
        let ask = || async { connection.invoke::<i64>("ask", &script.prepare_invoke(), &TraceContext::NONE).await };
        assert!(matches!(ask().await, Err(Fault::Outage { .. })));
        let began = Instant::now();
        assert!(matches!(ask().await, Err(Fault::Outage { .. })), "it is left alone");
        assert!(began.elapsed() < TIMEOUT / 2, "{:?}", began.elapsed());
        cable.mend();
        eventually("it answers again", BOUND, || async { ask().await.ok().filter(|answer| *answer == 7) }).await;
    }

    #[tokio::test]
    async fn a_server_that_is_silent_is_waited_for_no_longer_than_its_bound_and_its_connection_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connection = to(&address);
        let accepting = tokio::spawn(async move {
            let mut silent = Vec::new();
            while silent.len() < 2 {
                silent.push(listener.accept().await.unwrap());
            }
            silent.len()
        });
        for _ in 0..2 {
            let began = Instant::now();
            assert!(matches!(connection.ping().await, Err(Fault::Outage { .. })));
            assert!(began.elapsed() < TIMEOUT * 10, "{:?}", began.elapsed());
        }
        assert_eq!(accepting.await.unwrap(), 2, "another connection was made");
    }
}
