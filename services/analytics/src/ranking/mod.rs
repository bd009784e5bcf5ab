//! The ranking of products in Redis: written after the commit, always with what stands in PostgreSQL. What is written twice
//! changes nothing, and a Redis that comes back empty, or is another one, is filled anew.
//!
//! - `writer.rs`: one instance at a time writes what was sold since, and fills what is not whole;
//! - `reader.rs`: what callers get;
//! - `store.rs`, `scripts/`: keys and steps in Redis.

mod reader;
mod store;
mod writer;

use std::{sync::Arc, time::Duration};

use openorder_messaging::{Backbone, RoleContext};
use openorder_redis::{Connection, REDIS};
use openorder_runtime::{OnExit, Stopped, wait_for};
use openorder_telemetry::RoleTelemetry;
use redis::RedisError;

pub(crate) use reader::{Ranked, Reader};

use crate::{config::AnalyticsSettings, persistence};
use store::{Keys, Store, Top};
use writer::Writer;

/// Connections to Redis that are opened when they are first used.
pub(crate) struct Connections {
    writing: Connection,
    reading: Connection,
}

impl Connections {
    /// None where no ranking is kept.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub(crate) fn new(settings: &AnalyticsSettings, telemetry: &RoleTelemetry) -> Result<Option<Self>, RedisError> {
        if !settings.ranking.in_redis {
            return Ok(None);
        }
        let timeout = Duration::from_millis(settings.ranking.timeout_ms);
        // Two, so that nobody waits for the writer's pages.
        let connect = || Connection::new(&settings.redis_url, timeout, telemetry.clone());
        Ok(Some(Self { writing: connect()?, reading: connect()? }))
    }

    /// Starts the writer; gives the reader.
    ///
    /// # Errors
    /// [`Stopped`] when the process has to end first.
    pub(crate) async fn start(
        self,
        role: &RoleContext,
        backbone: &Arc<Backbone>,
        settings: &AnalyticsSettings,
    ) -> Result<Reader, Stopped> {
        let database = role.dependency(openorder_messaging::POSTGRES);
        let look_up = || persistence::ranking_id(backbone.pool());
        let keys = Keys::new(wait_for(&database, &role.shutdown, look_up).await?);
        let store = Store::new(self.writing, keys.clone(), settings.ranking.keep_ms);
        let writer = Writer::new(Arc::clone(backbone), store, role.background(REDIS), settings.ranking.clone());
        role.tasks.spawn("ranking", OnExit::StopProcess, writer.run());
        let age_max = Duration::from_millis(settings.ranking.age_max_ms);
        Ok(Reader::new(Top::new(self.reading, keys), age_max))
    }
}
