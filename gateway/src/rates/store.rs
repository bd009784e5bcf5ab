//! What callers have left, in Redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use openorder_config::Secret;
use openorder_redis::Connection;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use redis::Script;

use super::Rate;

pub(crate) struct Store {
    connection: Connection,
    prefix: String,
    take: Script,
    /// That Redis went away is said once.
    is_away: AtomicBool,
}

impl Store {
    /// Connects when it is first used.
    ///
    /// # Errors
    ///
    /// A URL that is none.
    pub(crate) fn new(url: &Secret, timeout_ms: u64, prefix: &str, role: RoleTelemetry) -> anyhow::Result<Self> {
        let connection = Connection::new(url, Duration::from_millis(timeout_ms), role).context("gateway.redis_url")?;
        Ok(Self {
            connection,
            prefix: format!("{prefix}:gateway:rate"),
            take: Script::new(include_str!("take.lua")),
            is_away: AtomicBool::new(false),
        })
    }

    /// Takes calls of a caller: how many were taken, and when there is one where there was none. Nothing while Redis is
    /// away.
    pub(crate) async fn take(&self, caller: &str, rate: Rate, wanted: u32) -> Option<(u32, Duration)> {
        let mut call = self.take.prepare_invoke();
        call.key(format!("{}:{caller}", self.prefix)).arg(rate.per_second).arg(rate.burst).arg(wanted);
        // Many calls share what is taken: it is no part of one call's trace.
        let answer = self.connection.invoke::<(u32, u64)>("take calls", &call, &TraceContext::NONE).await;
        let was_away = self.is_away.swap(answer.is_err(), Ordering::Relaxed);
        match answer {
            Ok((taken, wait_ms)) => Some((taken.min(wanted), Duration::from_millis(wait_ms))),
            Err(fault) => {
                if !was_away {
                    tracing::warn!(%fault, "how often callers may call is counted at each gateway alone");
                }
                None
            }
        }
    }
}
