//! The use cases and the runner of the saga: load what the batch needs, have the domain decide each command in order,
//! write all.

mod catalogue;
mod catalogue_age;
mod command;
mod events;
mod hints;
mod pipeline;
mod reply;
mod timers;
mod working_set;

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::Fault;

pub(crate) use catalogue::{Catalogue, item as catalog_item};
pub(crate) use catalogue_age::CatalogueAge;
pub use command::Command;
pub(crate) use hints::{Hint, OrderHints};
pub(crate) use pipeline::with_saga_counts;
pub(crate) use reply::{MadeOrder, OrderReply};
pub(crate) use timers::watch_deadlines;

use crate::{application::working_set::WorkingSet, saga::SagaSettings};

/// All work of the order service.
pub(crate) struct Orders {
    settings: SagaSettings,
}

impl Orders {
    pub(crate) fn new(settings: SagaSettings) -> Self {
        Self { settings }
    }
}

impl Application for Orders {
    type Command = Command;
    type Reply = OrderReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<OrderReply>, Fault> {
        let mut set = WorkingSet::load(unit, batch, self.settings).await?;
        let outcomes = batch.iter().enumerate().map(|(index, envelope)| set.decide(index, envelope)).collect();
        set.save(unit).await?;
        Ok(outcomes)
    }
}
