//! How old the copy of the catalogue may be: up to when every published change has been taken over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use openorder_messaging::{Backbone, RouteMonitor};
use openorder_proto::topics;
use openorder_runtime::every;
use openorder_types::Fault;

use crate::{config::OrderSettings, persistence};

/// The age of the copy, read by every order: no lock, no query.
pub(crate) struct CatalogueAge {
    fresh_until_ms: AtomicI64,
    age_max: TimeDelta,
}

impl CatalogueAge {
    /// Too old until it was looked at.
    pub(crate) fn new(settings: &OrderSettings) -> Self {
        let age_max = i64::try_from(settings.catalogue_age_max_ms).unwrap_or(i64::MAX);
        Self {
            fresh_until_ms: AtomicI64::new(0),
            age_max: TimeDelta::try_milliseconds(age_max).unwrap_or(TimeDelta::MAX),
        }
    }

    /// Whether changes that are older than the bound may be missing from the copy.
    pub(crate) fn is_too_old(&self) -> bool {
        self.age() > self.age_max
    }

    fn age(&self) -> TimeDelta {
        TimeDelta::milliseconds(Utc::now().timestamp_millis() - self.fresh_until_ms.load(Ordering::Relaxed))
    }

    /// Looks at the age until shutdown. What any instance has seen holds for all: they share the copy.
    pub(crate) async fn watch(
        self: Arc<Self>,
        backbone: Arc<Backbone>,
        route: Arc<RouteMonitor>,
        settings: OrderSettings,
    ) {
        let shutdown = backbone.shutdown().clone();
        let gauge = openorder_telemetry::meter()
            .f64_gauge("openorder.catalogue.age")
            .with_unit("s")
            .with_description("Age of the order service's copy of the catalogue; above its bound, the product service is asked for every order")
            .build();
        // What was known before this process started, at once.
        let mut known = persistence::catalogue_fresh_until(backbone.pool()).await;
        let interval = Duration::from_millis(settings.catalogue_check_interval_ms);
        let mut rounds = every(interval, &shutdown).after_a_pause();
        loop {
            match known {
                Ok(until) => self.fresh_until_ms.store(until.timestamp_millis(), Ordering::Relaxed),
                Err(fault) => tracing::debug!(%fault, "the age of the catalogue cannot be looked at"),
            }
            gauge.record(self.age().as_seconds_f64(), &[]);
            if !rounds.next().await {
                return;
            }
            known = look(&backbone, &route).await;
        }
    }
}

async fn look(backbone: &Backbone, route: &RouteMonitor) -> Result<openorder_types::Timestamp, Fault> {
    match route.read_until(topics::PRODUCT_CATALOG).await {
        Some(until) => persistence::note_fresh_catalogue(backbone.pool(), until).await,
        None => persistence::catalogue_fresh_until(backbone.pool()).await,
    }
}
