//! Failures as all instances count them together, in Redis. Its keys are codes: neither a mail address nor a network address
//! can be read there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use openorder_config::Secret;
use openorder_redis::Connection;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use redis::{FromRedisValue, Script, ScriptInvocation};

use crate::domain::Delays;

/// What the keys begin with. The rest of one is a code by a key of the service's own: services with other databases do not
/// meet.
const PREFIX: &str = "openorder:user:sign-in";

pub(super) struct Store {
    connection: Connection,
    admit: Script,
    take_back: Script,
    /// That Redis went away is said once.
    is_away: AtomicBool,
}

impl Store {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// A URL that is none.
    pub(super) fn new(url: &Secret, timeout: Duration, role: RoleTelemetry) -> anyhow::Result<Self> {
        Ok(Self {
            connection: Connection::new(url, timeout, role).context("user.redis_url")?,
            admit: Script::new(include_str!("admit.lua")),
            take_back: Script::new(include_str!("take_back.lua")),
            is_away: AtomicBool::new(false),
        })
    }

    /// Lets a try pass, which then counts as failed: how long it has to wait, zero if it passes. None while Redis is away.
    pub(super) async fn admit(&self, counts: &[(String, Delays)], forgotten_after: Duration) -> Option<Duration> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut call = self.admit.prepare_invoke();
        call.arg(milliseconds(forgotten_after));
        for (code, delays) in counts {
            call.key(key(code)).arg(delays.free).arg(milliseconds(delays.first)).arg(milliseconds(delays.longest));
        }
        self.ask::<u64>("count a sign-in", &call).await.map(Duration::from_millis)
    }

    /// A try did not fail: of its counts, the first ones are forgotten, as many as said, and the others have one less.
    pub(super) async fn take_back(&self, counts: &[(String, Delays)], forgotten: usize) {
        let mut call = self.take_back.prepare_invoke();
        call.arg(forgotten);
        for (code, _) in counts {
            call.key(key(code));
        }
        self.ask::<i64>("take a sign-in back", &call).await;
    }

    async fn ask<T: FromRedisValue>(&self, name: &'static str, call: &ScriptInvocation<'_>) -> Option<T> {
        let answer = self.connection.invoke(name, call, &TraceContext::NONE).await;
        let was_away = self.is_away.swap(answer.is_err(), Ordering::Relaxed);
        match answer {
            Ok(answer) => Some(answer),
            Err(fault) => {
                if !was_away {
                    tracing::warn!(%fault, "failed sign-ins are counted by each instance alone");
                }
                None
            }
        }
    }
}

fn key(code: &str) -> String {
    format!("{PREFIX}:{code}")
}
