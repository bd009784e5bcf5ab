//! The use cases: events into documents, a batch at a time; and building all documents anew.

mod command;
mod freshness;
mod reading;
mod rebuilder;
mod reply;
mod sources;

use std::collections::BTreeMap;

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::{Fault, Rejection};
use uuid::Uuid;

pub use command::Command;
pub use freshness::{AsOf, watch_freshness};
pub use reading::Views;
pub use rebuilder::Rebuilder;
pub use reply::HistoryReply;
pub use sources::Sources;

use crate::{
    domain::{Fact, Rebuild, RebuildState, rejection},
    persistence, present,
};

/// Documents, and their rebuilds.
pub struct History {
    /// The services whose logs a rebuild reads.
    sources: Vec<&'static str>,
}

impl History {
    pub fn new(sources: &Sources) -> Self {
        Self { sources: sources.services().collect() }
    }

    async fn begin_rebuild(
        &self,
        unit: &mut UnitOfWork,
        rebuild_id: Uuid,
        requested_by: &str,
        reason: &str,
    ) -> Result<Result<HistoryReply, Rejection>, Fault> {
        let halves = persistence::hold_halves_alone(unit.connection()).await?;
        let running = persistence::running_rebuild(unit.connection()).await?;
        let new = (rebuild_id, unit.now());
        let rebuild = match Rebuild::begin(new, halves, running.as_ref(), requested_by, reason) {
            Ok(rebuild) => rebuild,
            Err(running) => return Ok(Err(running)),
        };
        persistence::add_rebuild(unit.connection(), &rebuild, &self.sources).await?;
        let sources = persistence::sources_of(unit.connection(), rebuild_id).await?;
        Ok(Ok(HistoryReply::Rebuild(present::rebuild(&rebuild, &sources))))
    }

    async fn cancel_rebuild(
        &self,
        unit: &mut UnitOfWork,
        rebuild_id: Uuid,
    ) -> Result<Result<HistoryReply, Rejection>, Fault> {
        persistence::hold_halves_alone(unit.connection()).await?;
        let Some(mut rebuild) = persistence::find_rebuild(unit.connection(), Some(rebuild_id)).await? else {
            return Ok(Err(rejection::rebuild_not_found()));
        };
        if rebuild.give_up(RebuildState::Cancelled, String::new()) {
            persistence::stop_building(unit.connection()).await?;
            persistence::save_rebuild(unit.connection(), &rebuild).await?;
        }
        let sources = persistence::sources_of(unit.connection(), rebuild_id).await?;
        Ok(Ok(HistoryReply::Rebuild(present::rebuild(&rebuild, &sources))))
    }
}

impl Application for History {
    type Command = Command;
    type Reply = HistoryReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<HistoryReply>, Fault> {
        let mut facts: BTreeMap<Uuid, Vec<&Fact>> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(batch.len());
        for envelope in batch {
            outcomes.push(match envelope.command {
                Command::Hear(fact) => {
                    facts.entry(fact.order_id).or_default().push(fact);
                    Ok(HistoryReply::Noted)
                }
                Command::Rebuild { rebuild_id, requested_by, reason } => {
                    self.begin_rebuild(unit, *rebuild_id, requested_by, reason).await?
                }
                Command::CancelRebuild { rebuild_id } => self.cancel_rebuild(unit, *rebuild_id).await?,
            });
        }
        if !facts.is_empty() {
            let halves = persistence::hold_halves(unit.connection()).await?;
            for half in halves.written() {
                persistence::hear(unit.connection(), half, &facts).await?;
            }
        }
        Ok(outcomes)
    }
}
