//! A batch: lock the accounts, decide each command in order, write all.

use openorder_messaging::{Application, Envelope, Outcomes, UnitOfWork, stored_reply};
use openorder_proto::loyalty::v1::{PointsChanged, SpendPointsResponse};
use openorder_service::{Aggregate, NewEvents};
use openorder_types::{Fault, UserId};

use crate::{
    domain::{Command, decide, evolve},
    persistence,
};

pub struct Loyalty;

stored_reply! {
    /// Reply of a command.
    pub enum LoyaltyReply, noted = 2 {
        /// What is left on the account.
        1 = Spent(SpendPointsResponse),
    }
}

impl Application for Loyalty {
    type Command = Command;
    type Reply = LoyaltyReply;

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Command>],
    ) -> Result<Outcomes<LoyaltyReply>, Fault> {
        let customers = batch.iter().map(|envelope| envelope.command.customer_id());
        let mut accounts = persistence::lock(unit.connection(), customers.map(UserId::as_str).collect()).await?;
        let mut events = NewEvents::default();
        let mut outcomes = Vec::with_capacity(batch.len());
        for (index, Envelope { command, .. }) in batch.iter().enumerate() {
            events.begin_command(index);
            let customer_id = command.customer_id().as_str();
            let account = accounts.entry(customer_id.to_owned()).or_default();
            outcomes.push(decide(account, command).map(|decided| {
                if let Some(event) = decided {
                    evolve(account, &event);
                    let (points, version) = (account.points, account.version);
                    let message = PointsChanged { customer_id: customer_id.to_owned(), change: event.0, points, version };
                    events.append(&message, Aggregate::new("account", customer_id, version));
                }
                LoyaltyReply::Spent(SpendPointsResponse { points: account.points })
            }));
        }
        persistence::save(unit.connection(), &accounts).await?;
        events.append_to(unit);
        Ok(outcomes)
    }
}
