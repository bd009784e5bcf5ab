//! Rows that are needed no more go, bit by bit.

use std::{sync::Arc, time::Duration};

use chrono::{Days, Utc};
use openorder_messaging::Backbone;
use openorder_runtime::{Again, every};
use openorder_types::Fault;

use crate::{config::AnalyticsSettings, domain::DAYS_KEPT, persistence};

const LATER: &str = "old sums cannot be cleared away; they are later";

/// Deletes sums that count no more, and adds up the days that rankings do not look back to, until shutdown.
pub(crate) async fn run(backbone: Arc<Backbone>, settings: AnalyticsSettings) {
    let shutdown = backbone.shutdown().clone();
    let mut rounds = every(Duration::from_millis(settings.upkeep_interval_ms), &shutdown);
    while rounds.next().await {
        rounds.ended(round(&backbone, settings.upkeep_batch_max).await, LATER);
    }
}

async fn round(backbone: &Backbone, batch_max: i64) -> Result<Again, Fault> {
    let pool = backbone.pool();
    // A day later than they are written no more: clocks differ.
    let first_kept = Utc::now().date_naive().checked_sub_days(Days::new(DAYS_KEPT + 1)).unwrap_or_default();
    let more_obsolete = persistence::delete_obsolete(pool, batch_max).await?;
    let more_old = persistence::fold_days(pool, first_kept, batch_max).await?;
    Ok(if more_obsolete || more_old { Again::AtOnce } else { Again::Later })
}
