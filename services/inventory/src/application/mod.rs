//! The use cases: load what the batch needs, decide each command in order, write all.

mod events;
mod reply;
mod seeds;
mod working_set;

use std::sync::Arc;

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::Fault;

pub use reply::InventoryReply;
pub use seeds::Seeds;

use crate::{application::working_set::WorkingSet, config::InventorySettings, domain::Command};

/// All work of the inventory service.
pub struct Inventory {
    seeds: Arc<Seeds>,
    low_stock_threshold: i64,
}

impl Inventory {
    /// `seeds` knows where to ask about a SKU that has no level yet.
    pub fn new(seeds: Arc<Seeds>, settings: &InventorySettings) -> Self {
        Self { seeds, low_stock_threshold: settings.low_stock_threshold_quantity }
    }
}

impl Application for Inventory {
    type Command = Command;
    type Reply = InventoryReply;

    /// Orders and products come by different topics: an order may be here before its product. A SKU without a
    /// level is looked up in the catalogue first, so that "unknown" means unknown.
    async fn prepare(&self, batch: &[Envelope<Command>]) -> Result<(), Fault> {
        let wanted = batch.iter().flat_map(|envelope| match &envelope.command {
            Command::Reserve { lines, .. } => lines.iter().map(|line| &line.sku).collect(),
            Command::Adjust { sku, .. } => vec![sku],
            Command::Seed { .. } | Command::Release { .. } | Command::Ship { .. } => Vec::new(),
        });
        self.seeds.look_up(wanted).await
    }

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<Command>],
    ) -> Result<Outcomes<InventoryReply>, Fault> {
        let mut set = WorkingSet::load(unit, batch, &self.seeds, self.low_stock_threshold).await?;
        let outcomes = batch.iter().enumerate().map(|(cause, envelope)| set.decide(&envelope.command, cause)).collect();
        set.save(unit).await?;
        Ok(outcomes)
    }
}
