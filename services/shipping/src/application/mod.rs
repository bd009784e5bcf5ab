//! The use cases: load what the batch needs, decide each command in order, write all.

mod events;
mod reply;
mod working_set;

use chrono::TimeDelta;
use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork};
use openorder_types::{Fault, Timestamp};

pub use reply::ShippingReply;

use crate::{
    application::working_set::WorkingSet,
    config::ShippingSettings,
    domain::{Command, Decision},
};

pub struct Shipments {
    events_max: i32,
    event_ahead_max: TimeDelta,
}

impl Shipments {
    pub fn new(settings: &ShippingSettings) -> Self {
        Self { events_max: settings.events_max, event_ahead_max: TimeDelta::milliseconds(settings.event_ahead_max_ms) }
    }

    fn at(&self, now: Timestamp) -> Decision {
        Decision { now, events_max: self.events_max, event_time_max: now + self.event_ahead_max }
    }
}

impl Application for Shipments {
    type Command = Command;
    type Reply = ShippingReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<ShippingReply>, Fault> {
        let context = self.at(unit.now());
        let mut set = WorkingSet::load(unit, batch, context).await?;
        let commands = batch.iter().map(|envelope| envelope.command).enumerate();
        let outcomes = commands.map(|(index, command)| set.execute(index, command)).collect();
        set.save(unit).await?;
        Ok(outcomes)
    }
}
