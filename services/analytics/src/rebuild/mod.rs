//! All orders are counted anew, from the events in the order service's log, when an operator asks for it.
//!
//! Events flow meanwhile, and each is in the new sums once. They are made beside the ones that count, page by page of the
//! log. The last page is read while nobody counts, and in that transaction the new sums become those that count: what is in
//! the log up to its end is in them. Of what consumers bring afterwards, they leave out what stands in the log up to there
//! ([`Base`](crate::domain::Base)).

mod log;

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use openorder_messaging::Backbone;
use openorder_rpc::UpstreamChannel;
use openorder_runtime::{Again, every};
use openorder_types::{Fault, Timestamp};
use sqlx::PgConnection;

use crate::{
    config::{AnalyticsSettings, RebuildSettings},
    domain::{Deltas, Failure, Rebuild, RebuildState},
    persistence::{self, Progress},
};
use log::{NoPage, OrderLog, Page};

/// The new sums are in rows of one shard: nobody else writes them.
const SHARD: i16 = 0;
const LATER: &str = "orders cannot be counted anew; they are later";

pub(crate) struct Rebuilder {
    backbone: Arc<Backbone>,
    log: OrderLog,
    settings: RebuildSettings,
    /// Whether a ranking is kept, which has to be filled afterwards.
    is_ranked: bool,
}

impl Rebuilder {
    /// `orders` leads to the order service.
    pub(crate) fn new(backbone: Arc<Backbone>, orders: UpstreamChannel, settings: &AnalyticsSettings) -> Self {
        let is_ranked = settings.ranking.in_redis;
        Self { backbone, log: OrderLog::new(orders), settings: settings.rebuild.clone(), is_ranked }
    }

    /// Counts when it is asked for, until shutdown. Instances share the work: whoever is faster with a page writes it.
    pub(crate) async fn run(self) {
        let shutdown = self.backbone.shutdown().clone();
        let longest = Duration::from_millis(self.settings.outage_delay_max_ms);
        let interval = Duration::from_millis(self.settings.poll_interval_ms);
        let mut rounds = every(interval, &shutdown).backing_off_to(longest);
        while rounds.next().await {
            let result = Box::pin(self.round()).await;
            if let Err(fault) = &result {
                self.note_waiting(fault).await;
            }
            rounds.ended(result, LATER);
        }
    }

    async fn round(&self) -> Result<Again, Fault> {
        let Some(rebuild) = persistence::running_count(self.backbone.pool()).await? else { return Ok(Again::Later) };
        let bound = Duration::from_millis(self.settings.read_timeout_ms);
        match self.read(&rebuild, rebuild.log_position, bound).await {
            Ok(page) if page.is_last => self.switch(&rebuild, &page).await,
            Ok(page) => self.add(&rebuild, &page).await,
            Err(NoPage::Away(fault)) => Err(fault),
            Err(NoPage::Failed(failure, detail)) => self.give_up(&rebuild, failure, &detail).await,
        }
    }

    async fn read(&self, rebuild: &Rebuild, after_position: i64, bound: Duration) -> Result<Page, NoPage> {
        self.log.read(&rebuild.requested_by, after_position, self.settings.events_batch_max, bound).await
    }

    /// Adds a page to the new sums.
    async fn add(&self, rebuild: &Rebuild, page: &Page) -> Result<Again, Fault> {
        let mut transaction = self.backbone.pool().begin().await?;
        let now = Utc::now();
        if persistence::lock_counting(&mut transaction, rebuild).await? {
            let mut progress = Progress::of(rebuild);
            count(&mut transaction, rebuild, page, &mut progress, now).await?;
            persistence::note_progress(&mut transaction, rebuild.rebuild_id, &progress, now).await?;
            transaction.commit().await?;
        }
        Ok(Again::AtOnce)
    }

    /// Adds the page that was the last one, and what has come since; then the new sums count. While much comes, that is
    /// added first and it is tried again.
    async fn switch(&self, rebuild: &Rebuild, page: &Page) -> Result<Again, Fault> {
        let mut transaction = self.backbone.pool().begin().await?;
        if !persistence::lock_counting(&mut transaction, rebuild).await? {
            return Ok(Again::AtOnce);
        }
        let now = Utc::now();
        let mut progress = Progress::of(rebuild);
        count(&mut transaction, rebuild, page, &mut progress, now).await?;
        persistence::begin_switch(&mut transaction).await?;
        let bound = Duration::from_millis(self.settings.switch_timeout_ms);
        let rest = match self.read(rebuild, progress.log_position, bound).await {
            Ok(rest) => rest,
            Err(NoPage::Away(fault)) => return Err(fault),
            Err(NoPage::Failed(failure, detail)) => {
                transaction.rollback().await?;
                return self.give_up(rebuild, failure, &detail).await;
            }
        };
        count(&mut transaction, rebuild, &rest, &mut progress, now).await?;
        persistence::note_progress(&mut transaction, rebuild.rebuild_id, &progress, now).await?;
        if rest.is_last {
            persistence::switch_over(&mut transaction, rebuild, &progress, self.is_ranked, now).await?;
        }
        transaction.commit().await?;
        if rest.is_last {
            tracing::info!(
                events = progress.events_read,
                unreadable = progress.events_unreadable,
                position = progress.log_position,
                "orders were counted anew"
            );
        }
        Ok(Again::AtOnce)
    }

    async fn give_up(&self, rebuild: &Rebuild, failure: Failure, detail: &str) -> Result<Again, Fault> {
        tracing::error!(reason = failure.as_str(), detail, "orders cannot be counted anew");
        let mut connection = self.backbone.pool().acquire().await?;
        persistence::give_up(&mut connection, rebuild.rebuild_id, failure, Utc::now()).await?;
        Ok(Again::AtOnce)
    }

    async fn note_waiting(&self, fault: &Fault) {
        let waiting_for = match fault {
            Fault::Outage { dependency, .. } => format!("{dependency} does not answer"),
            Fault::Retryable { .. } | Fault::Permanent { .. } => "it failed; the log of analytics says why".to_owned(),
        };
        let noted = persistence::note_waiting(self.backbone.pool(), RebuildState::Counting, &waiting_for).await;
        if let Err(fault) = noted {
            tracing::debug!(%fault, "what a rebuild waits for cannot be noted");
        }
    }
}

/// Adds a page to the new sums of a rebuild that is locked.
async fn count(
    connection: &mut PgConnection,
    rebuild: &Rebuild,
    page: &Page,
    progress: &mut Progress,
    now: Timestamp,
) -> Result<(), Fault> {
    let generation = rebuild.generation.ok_or_else(|| Fault::permanent("a rebuild that counts has no sums"))?;
    let mut deltas = Deltas::default();
    for fact in &page.facts {
        deltas.add(fact, now);
    }
    persistence::add_deltas(connection, deltas.without_zeroes(), generation, SHARD).await?;
    progress.log_position = page.position.max(progress.log_position);
    progress.newest_id = page.newest_id.max(progress.newest_id);
    progress.events_read += page.events;
    progress.events_unreadable += page.unreadable;
    Ok(())
}
