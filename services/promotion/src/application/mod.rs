//! The use cases: load what the batch needs, decide each command in order, write all.

mod events;
mod reply;
mod working_set;

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::Fault;

pub use reply::PromotionReply;

use crate::{application::working_set::WorkingSet, domain::Command};

pub struct Promotions;

impl Application for Promotions {
    type Command = Command;
    type Reply = PromotionReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<PromotionReply>, Fault> {
        let mut set = WorkingSet::load(unit, batch).await?;
        let commands = batch.iter().map(|envelope| envelope.command).enumerate();
        let outcomes = commands.map(|(index, command)| set.execute(index, command)).collect();
        set.save(unit).await?;
        Ok(outcomes)
    }
}
