//! The use cases: load what the batch needs, decide each command in order, write all.

mod events;
mod expiry;
mod orders;
mod reconciler;
mod reply;
mod seeds;
mod working_set;

use std::{sync::Arc, time::Duration};

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::{Fault, Timestamp};

pub(crate) use expiry::watch_reservations;
pub(crate) use orders::Orders;
pub(crate) use reconciler::reconcile;
pub use reply::InventoryReply;
pub use seeds::Seeds;

use crate::{
    application::working_set::WorkingSet,
    config::InventorySettings,
    domain::{Command, Decision},
};

/// What the settings say about stock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    low_threshold_quantity: i64,
    reservation_ttl: Duration,
}

impl Rules {
    fn at(self, now: Timestamp) -> Decision {
        let Self { low_threshold_quantity, reservation_ttl } = self;
        Decision { now, low_threshold_quantity, reservation_ttl }
    }
}

pub struct Inventory {
    seeds: Arc<Seeds>,
    rules: Rules,
}

impl Inventory {
    /// `seeds` knows where to ask about a SKU that has no level yet.
    pub fn new(seeds: Arc<Seeds>, settings: &InventorySettings) -> Self {
        let rules = Rules {
            low_threshold_quantity: settings.low_stock_threshold_quantity,
            reservation_ttl: Duration::from_millis(settings.reservation_ttl_ms),
        };
        Self { seeds, rules }
    }
}

impl Application for Inventory {
    type Command = Command;
    type Reply = InventoryReply;

    /// Orders and products come by different topics: an order may be here before its product. A SKU without a
    /// level of the product that was ordered is looked up in the catalogue first, so that "unknown" means unknown.
    async fn prepare(&self, commands: &[&Command]) -> Result<(), Fault> {
        let wanted = commands.iter().flat_map(|command| match command {
            Command::Reserve { lines, .. } | Command::Modify { lines, .. } => {
                lines.iter().map(|line| (&line.sku, line.product_number)).collect()
            }
            Command::Adjust { sku, .. } => vec![(sku, 0)],
            _ => Vec::new(),
        });
        self.seeds.look_up(wanted).await
    }

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<InventoryReply>, Fault> {
        let mut set = WorkingSet::load(unit, batch, &self.seeds, self.rules).await?;
        let commands = batch.iter().map(|envelope| envelope.command).enumerate();
        let outcomes = commands.map(|(index, command)| set.execute(index, command)).collect();
        set.save(unit).await?;
        Ok(outcomes)
    }
}
