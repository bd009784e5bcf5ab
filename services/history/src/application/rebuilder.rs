//! Builds all documents anew in the half that is not in use, step by step; each step is one transaction, and stands where
//! the process ends.
//!
//! 1. *Preparing*: the half is emptied. Then, in one transaction that no batch runs beside, it is written to as well: what
//!    comes by Kafka from now on is in both halves.
//! 2. *Reading*: the logs, from their beginning to their end. An event stands in its log before it is in Kafka: what came by
//!    Kafka before is read here. To hear one from both changes nothing.
//! 3. *Taking over*: where a log is pruned, what the old documents have heard of orders from before.
//! 4. One transaction, again alone: the half is in use. It has heard everything that the old one has.
//! 5. *Cleaning*: the old half is emptied.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use openorder_messaging::Backbone;
use openorder_runtime::{Again, every};
use openorder_types::Fault;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    HistorySettings,
    application::sources::{Answer, Page, Sources},
    domain::{Fact, Rebuild, RebuildState, Source},
    persistence,
};

/// By how much an order may be younger than its first event that is pruned: its events may be of a later transaction, and
/// clocks differ.
const AGE_SLACK: TimeDelta = TimeDelta::minutes(10);

/// Works on the rebuild that is under way, if there is one and nobody else works on it.
pub struct Rebuilder {
    backbone: Arc<Backbone>,
    sources: Sources,
    settings: HistorySettings,
}

impl Rebuilder {
    pub fn new(backbone: &Arc<Backbone>, sources: Sources, settings: &HistorySettings) -> Self {
        Self { backbone: Arc::clone(backbone), sources, settings: settings.clone() }
    }

    /// Runs until shutdown.
    pub async fn run(self) {
        let shutdown = self.backbone.shutdown().clone();
        let interval = Duration::from_millis(self.settings.rebuild_poll_interval_ms);
        let longest = Duration::from_millis(self.settings.rebuild_retry_max_ms);
        let mut rounds = every(interval, &shutdown).backing_off_to(longest);
        while rounds.next().await {
            rounds.ended(self.round().await, "the rebuild waits; it goes on from where it is");
        }
    }

    /// Works on the rebuild to its end, or until it has to wait.
    async fn round(&self) -> Result<Again, Fault> {
        let mut connection = self.backbone.pool().acquire().await?;
        if persistence::running_rebuild(&mut connection).await?.is_none() {
            return Ok(Again::Later);
        }
        // Closed at the end, and the lock with it, however that comes.
        let mut alone = connection.detach();
        if !persistence::try_to_rebuild_alone(&mut alone).await? {
            return Ok(Again::Later);
        }
        while !self.backbone.shutdown().is_requested() {
            let Some(rebuild) = persistence::running_rebuild(&mut alone).await? else { break };
            if let Err(fault) = self.step(rebuild.clone()).await {
                self.note(rebuild.rebuild_id, &fault).await?;
                return Err(fault);
            }
        }
        Ok(Again::Later)
    }

    async fn step(&self, rebuild: Rebuild) -> Result<(), Fault> {
        match rebuild.state {
            RebuildState::Preparing => self.prepare(rebuild).await,
            RebuildState::Reading => self.read_next(rebuild).await,
            RebuildState::TakingOver => self.take_over(rebuild).await,
            RebuildState::Cleaning => self.clean(rebuild).await,
            RebuildState::Completed | RebuildState::Cancelled | RebuildState::Failed => Ok(()),
        }
    }

    async fn prepare(&self, mut rebuild: Rebuild) -> Result<(), Fault> {
        persistence::empty(self.backbone.pool(), rebuild.target).await?;
        let mut transaction = self.backbone.pool().begin().await?;
        persistence::hold_halves_alone(&mut transaction).await?;
        if !is_still(&mut transaction, &rebuild).await? {
            return Ok(());
        }
        persistence::begin_building(&mut transaction).await?;
        (rebuild.state, rebuild.detail) = (RebuildState::Reading, String::new());
        persistence::save_rebuild(&mut transaction, &rebuild).await?;
        Ok(transaction.commit().await?)
    }

    /// A part of the first log that is not read to its end.
    async fn read_next(&self, rebuild: Rebuild) -> Result<(), Fault> {
        let mut connection = self.backbone.pool().acquire().await?;
        let sources = persistence::sources_of(&mut connection, rebuild.rebuild_id).await?;
        drop(connection);
        let Some(source) = sources.iter().find(|source| !source.is_read).cloned() else {
            return self.all_read(rebuild, &sources).await;
        };
        if !source.is_counted {
            return self.count(&rebuild, source).await;
        }
        let began = tokio::time::Instant::now();
        let events = match self.sources.read(&source, &rebuild.requested_by).await? {
            Answer::Given(page) => self.hear(rebuild, source, page).await?,
            Answer::Pruned { floor, kept_from } => self.begin_behind(&rebuild, source, (floor, kept_from)).await?,
        };
        let rest = Duration::from_secs_f64(f64::from(events) / f64::from(self.settings.rebuild_events_per_second_max));
        tokio::select! {
            () = tokio::time::sleep_until(began + rest) => {}
            () = self.backbone.shutdown().requested() => {}
        }
        Ok(())
    }

    async fn count(&self, rebuild: &Rebuild, mut source: Source) -> Result<(), Fault> {
        match self.sources.count(&source, &rebuild.requested_by).await? {
            Answer::Given(events) => {
                (source.events_total, source.is_counted) = (events, true);
                let mut connection = self.backbone.pool().acquire().await?;
                persistence::save_source(&mut connection, rebuild.rebuild_id, &source).await
            }
            Answer::Pruned { floor, kept_from } => {
                self.begin_behind(rebuild, source, (floor, kept_from)).await.map(drop)
            }
        }
    }

    /// The log is pruned: what is there begins behind its floor.
    async fn begin_behind(
        &self,
        rebuild: &Rebuild,
        mut source: Source,
        (floor, kept_from): (i64, openorder_types::Timestamp),
    ) -> Result<u32, Fault> {
        if floor <= source.position {
            return Err(Fault::retryable(format!("{} refuses what its log has", source.service)));
        }
        tracing::info!(service = source.service, floor, %kept_from, "the log is pruned; it is read from there on");
        (source.position, source.kept_from) = (floor, Some(kept_from));
        let mut connection = self.backbone.pool().acquire().await?;
        persistence::save_source(&mut connection, rebuild.rebuild_id, &source).await?;
        Ok(0)
    }

    /// Hears a part of a log, and notes in the same transaction that it is heard.
    async fn hear(&self, mut rebuild: Rebuild, mut source: Source, page: Page) -> Result<u32, Fault> {
        let mut facts: BTreeMap<Uuid, Vec<&Fact>> = BTreeMap::new();
        for fact in &page.facts {
            facts.entry(fact.order_id).or_default().push(fact);
        }
        source.position = page.position;
        source.events_read += page.events;
        source.events_skipped += page.skipped;
        source.is_read = page.next.is_none();
        let mut transaction = self.begin().await?;
        persistence::hold_halves(&mut transaction).await?;
        if !is_still(&mut transaction, &rebuild).await? {
            return Ok(0);
        }
        persistence::hear(&mut transaction, rebuild.target, &facts).await?;
        persistence::save_source(&mut transaction, rebuild.rebuild_id, &source).await?;
        if !rebuild.detail.is_empty() {
            rebuild.detail.clear();
            persistence::save_rebuild(&mut transaction, &rebuild).await?;
        }
        transaction.commit().await?;
        Ok(u32::try_from(page.events).unwrap_or(u32::MAX))
    }

    async fn all_read(&self, mut rebuild: Rebuild, sources: &[Source]) -> Result<(), Fault> {
        if rebuild.all_read(sources) {
            return self.switch(rebuild).await;
        }
        let mut connection = self.backbone.pool().acquire().await?;
        persistence::save_rebuild(&mut connection, &rebuild).await
    }

    /// A part of the old documents, of those from before the logs begin.
    async fn take_over(&self, mut rebuild: Rebuild) -> Result<(), Fault> {
        let mut connection = self.backbone.pool().acquire().await?;
        let sources = persistence::sources_of(&mut connection, rebuild.rebuild_id).await?;
        let Some(before) = sources.iter().filter_map(|source| source.kept_from).max() else {
            return self.switch(rebuild).await;
        };
        let old = rebuild.target.other();
        let limit = i64::from(self.settings.rebuild_page_size);
        let documents =
            persistence::made_before(&mut connection, old, before + AGE_SLACK, rebuild.taken_over_to, limit).await?;
        drop(connection);
        let Some((last, _)) = documents.last() else { return self.switch(rebuild).await };
        rebuild.taken_over_to = Some(*last);
        let mut transaction = self.begin().await?;
        persistence::hold_halves(&mut transaction).await?;
        if !is_still(&mut transaction, &rebuild).await? {
            return Ok(());
        }
        let changed = persistence::merge(&mut transaction, rebuild.target, documents).await?;
        rebuild.taken_over_count = rebuild.taken_over_count.saturating_add(changed);
        persistence::save_rebuild(&mut transaction, &rebuild).await?;
        Ok(transaction.commit().await?)
    }

    async fn switch(&self, mut rebuild: Rebuild) -> Result<(), Fault> {
        let mut transaction = self.backbone.pool().begin().await?;
        persistence::hold_halves_alone(&mut transaction).await?;
        if !is_still(&mut transaction, &rebuild).await? {
            return Ok(());
        }
        persistence::switch_to(&mut transaction, rebuild.target).await?;
        rebuild.switched();
        persistence::save_rebuild(&mut transaction, &rebuild).await?;
        transaction.commit().await?;
        tracing::info!(rebuild_id = %rebuild.rebuild_id, "the documents that were built anew are in use");
        Ok(())
    }

    async fn clean(&self, mut rebuild: Rebuild) -> Result<(), Fault> {
        let mut connection = self.backbone.pool().acquire().await?;
        let unused = persistence::current_half(&mut connection).await?.other();
        persistence::empty(self.backbone.pool(), unused).await?;
        rebuild.cleaned(chrono::Utc::now());
        persistence::save_rebuild(&mut connection, &rebuild).await
    }

    /// Shows what the rebuild waits for; what can never succeed ends it.
    async fn note(&self, rebuild_id: Uuid, fault: &Fault) -> Result<(), Fault> {
        let mut transaction = self.backbone.pool().begin().await?;
        persistence::hold_halves_alone(&mut transaction).await?;
        let Some(mut rebuild) = persistence::find_rebuild(&mut transaction, Some(rebuild_id)).await? else {
            return Ok(());
        };
        rebuild.detail = fault.to_string();
        if matches!(fault, Fault::Permanent { .. }) && rebuild.give_up(RebuildState::Failed, fault.to_string()) {
            tracing::error!(%rebuild_id, %fault, "the rebuild has failed; the old documents stay in use");
            persistence::stop_building(&mut transaction).await?;
        }
        persistence::save_rebuild(&mut transaction, &rebuild).await?;
        Ok(transaction.commit().await?)
    }

    /// A transaction whose statements find rows by key, as those of batches do.
    async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, Fault> {
        let begin = "begin; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off";
        Ok(self.backbone.pool().begin_with(begin).await?)
    }
}

/// Whether it has not been called off, nor taken further by somebody else, since it was read.
async fn is_still(connection: &mut PgConnection, rebuild: &Rebuild) -> Result<bool, Fault> {
    let now = persistence::find_rebuild(connection, Some(rebuild.rebuild_id)).await?;
    Ok(now.is_some_and(|now| now.state == rebuild.state))
}
