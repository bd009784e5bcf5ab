//! The use cases: load what the batch needs, decide each command in order, write all.

mod events;
mod orders;
mod reply;
mod working_set;

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::Fault;

pub(crate) use orders::{DueOrder, Orders};
pub use reply::PaymentReply;

use crate::{application::working_set::WorkingSet, domain::Command};

pub struct Payments;

impl Application for Payments {
    type Command = Command;
    type Reply = PaymentReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<PaymentReply>, Fault> {
        let mut set = WorkingSet::load(unit, batch).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for (index, envelope) in batch.iter().enumerate() {
            outcomes.push(set.execute(index, envelope.command)?);
        }
        set.save(unit).await?;
        Ok(outcomes)
    }
}
