//! Up to when everything is in the documents.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use openorder_messaging::{Backbone, Freshness, oldest_parked};
use openorder_runtime::{Again, every};
use openorder_telemetry::OwnedGauge;
use openorder_types::{Fault, Timestamp};

use crate::persistence;

/// What is known of it now; it is as true of whatever is read later.
#[derive(Clone, Default)]
pub struct AsOf(Arc<Mutex<Option<Timestamp>>>);

impl AsOf {
    /// The time; none until all partitions were once caught up with. To be asked before the documents are read.
    pub fn get(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, time: Option<Timestamp>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }
}

/// Tells the other instances of the partitions of this one, and learns of theirs, until shutdown.
pub async fn watch_freshness(
    backbone: Arc<Backbone>,
    freshness: Arc<Freshness>,
    topics: Vec<&'static str>,
    as_of: AsOf,
    interval: Duration,
) {
    let description = "How old what the history service answers may be";
    let age = OwnedGauge::new("openorder.history.view_age", "s", description).series([]);
    let mut rounds = every(interval, backbone.shutdown());
    while rounds.next().await {
        let looked = look(&backbone, &freshness, &topics).await.map(|time| {
            as_of.set(time);
            Again::Later
        });
        match as_of.get() {
            Some(time) => age.set((Utc::now() - time).to_std().unwrap_or_default().as_secs_f64()),
            None => age.end(),
        }
        rounds.ended(looked, "how fresh the documents are is not known anew; it is looked at again");
    }
}

async fn look(backbone: &Backbone, freshness: &Freshness, topics: &[&'static str]) -> Result<Option<Timestamp>, Fault> {
    // In this order: what is parked after it was noted as done is looked for after.
    let seen = freshness.seen();
    if !seen.known.is_empty() {
        persistence::note_freshness(backbone.pool(), &seen).await?;
    }
    let included_until = persistence::included_until(backbone.pool(), topics).await?;
    let parked = oldest_parked(backbone.pool()).await?;
    Ok(included_until.map(|until| match parked {
        // Times of records are whole milliseconds.
        Some(parked) => until.min(parked - TimeDelta::milliseconds(1)),
        None => until,
    }))
}
