//! A connection to Redis that never hangs, and is left alone for a while after it failed.

use std::{
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

use crate::store::REDIS;

pub(super) struct Connection {
    client: Client,
    timeout: Duration,
    /// Replaced when it did not answer: what hangs is not noticed by it.
    manager: Mutex<ConnectionManager>,
    /// Until when nobody asks: callers do not wait for it one by one.
    paused_until: Mutex<Option<Instant>>,
    telemetry: RoleTelemetry,
}

impl Connection {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub(super) fn new(url: &Secret, timeout: Duration, telemetry: RoleTelemetry) -> Result<Self, RedisError> {
        let client = Client::open(url.expose())?;
        let manager = Mutex::new(manager(&client, timeout)?);
        Ok(Self { client, timeout, manager, paused_until: Mutex::default(), telemetry })
    }

    /// Calls a script, which is given to Redis where that has it no more.
    ///
    /// # Errors
    /// An outage of Redis, whatever it fails with; then the script may have run.
    pub(super) async fn invoke<T: FromRedisValue>(
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
        let mut connection = self.current();
        let answer = self.bounded(call.invoke_async(&mut connection)).await;
        if let Err(fault) = &answer {
            span.fail(fault.kind(), "Redis did not answer");
            self.pause();
        }
        span.end();
        answer
    }

    /// Asks also while nobody else does; when it answers, everybody asks again.
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub(super) async fn look<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Fault> {
        let mut connection = self.current();
        let answer = self.bounded(commands.query_async(&mut connection)).await;
        match &answer {
            Ok(_) => *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = None,
            Err(_) => self.pause(),
        }
        answer
    }

    /// The connection has its own time limits, one for each thing that it waits for.
    async fn bounded<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, Fault> {
        match tokio::time::timeout(self.timeout * 2, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if error.is_timeout() {
                    self.replace();
                }
                Err(Fault::outage(REDIS, error))
            }
            Err(_) => {
                self.replace();
                Err(Fault::outage(REDIS, "no answer in time"))
            }
        }
    }

    fn current(&self) -> ConnectionManager {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self) {
        // The URL could be read before.
        if let Ok(new) = manager(&self.client, self.timeout) {
            *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = new;
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

/// Whoever calls tries again by itself.
fn manager(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}
