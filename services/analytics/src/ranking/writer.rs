//! One instance at a time writes what was sold since, and fills what is not whole.
//!
//! Whoever writes has its turn by a row with a lease, and Redis takes nothing from an instance whose turn is over. The sums
//! that are written are read after the changes that tell of them: none is older than its change, and a change is forgotten
//! only when it is written.

use std::{sync::Arc, time::Duration};

use openorder_messaging::Backbone;
use openorder_runtime::{Again, Dependency, every};
use openorder_telemetry::{TraceContext, api::Counter, meter, work_span};
use openorder_types::{Fault, Timestamp};
use uuid::Uuid;

use crate::{
    config::RankingSettings,
    domain::{ProductSales, RebuildState, Window},
    persistence::{self, Turn, WindowSales},
    ranking::{
        REDIS,
        store::{Place, Step, Store},
    },
};

const LATER: &str = "the ranking cannot be written; it is later, and is made of the sums meanwhile";

pub(super) struct Writer {
    backbone: Arc<Backbone>,
    store: Store,
    dependency: Dependency,
    settings: RankingSettings,
    /// This instance.
    holder: Uuid,
    fills: Counter<u64>,
}

/// Whether a round came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Done(Again),
    /// It is another instance's turn, or something has changed meanwhile: it is begun again.
    Left,
}

impl Writer {
    pub(super) fn new(
        backbone: Arc<Backbone>,
        store: Store,
        dependency: Dependency,
        settings: RankingSettings,
    ) -> Self {
        let fills = meter()
            .u64_counter("openorder.analytics.ranking.fills")
            .with_unit("{ranking}")
            .with_description("Rankings that were filled anew: of a new day, or because Redis had none that was whole")
            .build();
        Self { backbone, store, dependency, settings, holder: Uuid::new_v4(), fills }
    }

    pub(super) async fn run(self) {
        let shutdown = self.backbone.shutdown().clone();
        let longest = Duration::from_millis(self.settings.outage_delay_max_ms);
        let mut rounds = every(Duration::from_millis(self.settings.interval_ms), &shutdown).backing_off_to(longest);
        while rounds.next().await {
            let result = self.round().await;
            match &result {
                Ok(_) => self.dependency.ready(),
                Err(fault @ Fault::Outage { dependency: REDIS, .. }) => {
                    self.dependency.down(fault);
                    self.wait_without_redis().await;
                }
                // The database's own dependency tells of it.
                Err(_) => {}
            }
            rounds.ended(result, LATER);
        }
    }

    async fn round(&self) -> Result<Again, Fault> {
        // Whoever does not reach Redis leaves the turn to another instance.
        self.store.ping().await?;
        let Some(turn) = self.take_turn().await? else { return Ok(Again::Later) };
        let mut missing = Vec::new();
        for window in Window::ALL {
            match self.store.look(&turn, *window).await? {
                Step::Done => {}
                Step::NotWhole => missing.push(*window),
                Step::Refused => return Ok(Again::Later),
            }
        }
        if !missing.is_empty() && self.fill(turn, &missing).await? == Round::Left {
            return Ok(Again::Later);
        }
        persistence::finish_ranking(self.backbone.pool(), turn.epoch).await?;
        match self.write_changes(&turn).await? {
            Round::Done(again) => Ok(again),
            Round::Left => Ok(Again::Later),
        }
    }

    async fn take_turn(&self) -> Result<Option<Turn>, Fault> {
        let lease = Duration::from_millis(self.settings.lease_ms);
        persistence::take_turn(self.backbone.pool(), self.holder, lease).await
    }

    /// Fills the rankings of these windows beside those that there may be, and puts them in their places.
    async fn fill(&self, turn: Turn, windows: &[Window]) -> Result<Round, Fault> {
        let work = self.backbone.telemetry().trace(work_span!("fill rankings"), &TraceContext::NONE);
        let filled = work.run(self.fill_all(turn, windows)).await;
        if let Err(fault) = &filled {
            work.fail(fault.kind(), LATER);
        }
        filled
    }

    async fn fill_all(&self, mut turn: Turn, windows: &[Window]) -> Result<Round, Fault> {
        // What is counted from now on tells of itself by a change.
        let begin = turn;
        for window in windows {
            if self.store.begin(&turn, *window).await? != Step::Done {
                return Ok(Round::Left);
            }
        }
        let (mut last, mut products) = (String::new(), 0);
        loop {
            let skus = persistence::skus_after(self.backbone.pool(), &last, self.settings.products_batch_max).await?;
            let Some(next) = skus.last() else { break };
            last.clone_from(next);
            products += i64::try_from(skus.len()).unwrap_or(i64::MAX);
            if self.write(&turn, Place::Filling, windows, &skus).await? != Step::Done {
                return Ok(Round::Left);
            }
            persistence::note_ranked(self.backbone.pool(), turn.epoch, products).await?;
            // A long fill keeps its turn; in another day or epoch it would fill the wrong one.
            match self.take_turn().await? {
                Some(next) if (next.epoch, next.today) == (begin.epoch, begin.today) => turn = next,
                _ => return Ok(Round::Left),
            }
        }
        for window in windows {
            if self.store.put(&turn, *window, begin.began).await? != Step::Done {
                return Ok(Round::Left);
            }
        }
        self.fills.add(u64::try_from(windows.len()).unwrap_or_default(), &[]);
        tracing::info!(products, windows = windows.len(), "rankings were filled anew");
        Ok(Round::Done(Again::Later))
    }

    /// Writes what was sold since the last round, a bounded part of it.
    async fn write_changes(&self, turn: &Turn) -> Result<Round, Fault> {
        let pool = self.backbone.pool();
        let (ids, skus) = persistence::changes(pool, self.settings.changes_batch_max).await?;
        let batch_max = usize::try_from(self.settings.products_batch_max).unwrap_or(usize::MAX);
        for part in skus.chunks(batch_max) {
            if self.write(turn, Place::Ranking, Window::ALL, part).await? != Step::Done {
                return Ok(Round::Left);
            }
        }
        if !ids.is_empty() {
            persistence::forget_changes(pool, &ids).await?;
        }
        if i64::try_from(ids.len()).unwrap_or(i64::MAX) >= self.settings.changes_batch_max {
            return Ok(Round::Done(Again::AtOnce));
        }
        self.date(turn, turn.began).await
    }

    async fn date(&self, turn: &Turn, as_of: Timestamp) -> Result<Round, Fault> {
        for window in Window::ALL {
            if self.store.date(turn, *window, as_of).await? != Step::Done {
                return Ok(Round::Left);
            }
        }
        Ok(Round::Done(Again::Later))
    }

    /// Writes these products as they stand now.
    async fn write(&self, turn: &Turn, place: Place, windows: &[Window], skus: &[String]) -> Result<Step, Fault> {
        let skus: Vec<&str> = skus.iter().map(String::as_str).collect();
        let sales: Vec<WindowSales> = persistence::product_sales(self.backbone.pool(), &skus, turn.today).await?;
        for window in windows {
            let of_window: Vec<&ProductSales> =
                sales.iter().filter(|one| one.window == *window).map(|one| &one.sales).collect();
            let step = self.store.write(turn, place, *window, &of_window).await?;
            if step != Step::Done {
                return Ok(step);
            }
        }
        Ok(Step::Done)
    }

    /// What waits to be written is kept within its bound, and an operator is told what a rebuild waits for.
    async fn wait_without_redis(&self) {
        let pool = self.backbone.pool();
        let waiting = persistence::note_waiting(pool, RebuildState::Ranking, "Redis does not answer").await;
        let bounded = match persistence::bound_changes(pool, self.settings.changes_max).await {
            Ok(true) => {
                tracing::warn!("too much waits to be written to the ranking: it is filled anew when Redis is back");
                waiting
            }
            Ok(false) => waiting,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = bounded {
            tracing::debug!(%fault, "what waits for Redis cannot be looked at");
        }
    }
}
