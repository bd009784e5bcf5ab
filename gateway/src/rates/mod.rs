//! How often one caller may call. There is no limit unless a setting gives one.
//!
//! What a caller has left stands in Redis, so that all gateways of a deployment know it. A gateway takes a few calls at a
//! time from there, and asks again when they are used up. While Redis is away it counts by itself: a caller then has its
//! rate at each gateway.
//!
//! * this file: the callers, and whether a call is within the limit; `bucket.rs`: what is counted here; `store.rs` and
//!   `take.lua`: what is counted in Redis.

mod bucket;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use openorder_rpc::Refusal;
use openorder_telemetry::RoleTelemetry;
use openorder_telemetry::api::Counter;
use tonic::Status;

use self::bucket::Bucket;
use self::store::Store;
use crate::config::GatewaySettings;

/// A gateway takes what a caller may use in this part of a second, one call at least.
const TAKEN_PER_SECOND: u32 = 20;
/// Calls that were taken and not used are given up after this time.
const TAKEN_FOR: Duration = Duration::from_secs(1);

/// How often a caller may call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    /// At once, by who has not called for a while.
    pub(crate) burst: u32,
}

/// The limit of each caller, and what it has left.
pub(crate) struct Rates {
    rate: Rate,
    store: Store,
    callers: Mutex<HashMap<String, Weak<CallerRate>>>,
    exceeded: Counter<u64>,
}

/// What one caller has left.
pub(crate) struct CallerRate {
    name: String,
    /// Held while Redis is asked: calls that come meanwhile have part in the answer.
    left: tokio::sync::Mutex<Left>,
}

struct Left {
    taken: u32,
    taken_at: Instant,
    /// What counts while Redis is away.
    alone: Bucket,
}

impl Rates {
    /// None without a limit.
    ///
    /// # Errors
    ///
    /// When Redis' URL is none.
    pub(crate) fn new(settings: &GatewaySettings, role: &RoleTelemetry) -> anyhow::Result<Option<Self>> {
        let rate = Rate { per_second: settings.caller_rate_per_second, burst: settings.caller_burst };
        if rate.per_second == 0 {
            return Ok(None);
        }
        let store = Store::new(&settings.redis_url, settings.redis_timeout_ms, &settings.redis_prefix, role.clone())?;
        let exceeded = openorder_telemetry::meter()
            .u64_counter("openorder.gateway.rate_exceeded")
            .with_unit("{call}")
            .with_description("Calls refused because their caller calls too often")
            .build();
        Ok(Some(Self { rate, store, callers: Mutex::default(), exceeded }))
    }

    /// What the caller of this name has left, as long as somebody keeps it.
    pub(crate) fn caller(&self, name: &str) -> Arc<CallerRate> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = callers.get(name).and_then(Weak::upgrade) {
            return caller;
        }
        // Before more room is taken: those that are gone leave theirs.
        if callers.len() == callers.capacity() {
            callers.retain(|_, caller| caller.strong_count() > 0);
        }
        let now = Instant::now();
        let left = Left { taken: 0, taken_at: now, alone: Bucket::full(self.rate, now) };
        let caller = Arc::new(CallerRate { name: name.to_owned(), left: tokio::sync::Mutex::new(left) });
        callers.insert(name.to_owned(), Arc::downgrade(&caller));
        caller
    }

    /// Counts a call of this caller.
    ///
    /// # Errors
    ///
    /// `CALLER_RATE_EXCEEDED`, with the time to come again.
    pub(crate) async fn count(&self, caller: &CallerRate) -> Result<(), Status> {
        let mut left = caller.left.lock().await;
        if left.taken > 0 && left.taken_at.elapsed() < TAKEN_FOR {
            left.taken -= 1;
            return Ok(());
        }
        let wanted = (self.rate.per_second / TAKEN_PER_SECOND).max(1).min(self.rate.burst);
        let wait = match self.store.take(&caller.name, self.rate, wanted).await {
            Some((0, wait)) => wait,
            Some((granted, _)) => {
                (left.taken, left.taken_at) = (granted - 1, Instant::now());
                return Ok(());
            }
            None => match left.alone.take(self.rate, Instant::now()) {
                Ok(()) => return Ok(()),
                Err(wait) => wait,
            },
        };
        self.exceeded.add(1, &[]);
        Err(Refusal::rate_exceeded(wait))
    }
}
