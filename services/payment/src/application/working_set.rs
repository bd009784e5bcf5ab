//! Everything that one batch touches, loaded and locked once, changed by events in memory, written once.

use std::collections::{BTreeSet, HashSet};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_service::NewEvents;
use openorder_types::{Fault, Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    application::{PaymentReply, events},
    domain::{Command, Decision, Event, Payment, PaymentState, State, Wallet, decide, evolve},
    persistence, present,
};

type Outcome = Result<PaymentReply, Rejection>;

pub(crate) struct WorkingSet {
    state: State,
    stored_wallets: HashSet<UserId>,
    stored_payments: HashSet<Uuid>,
    changed_wallets: BTreeSet<UserId>,
    changed_payments: BTreeSet<Uuid>,
    events: NewEvents,
    context: Decision,
}

impl WorkingSet {
    /// Locks payments first, then wallets, each sorted: no two transactions wait for each other in a circle.
    pub(crate) async fn load(unit: &mut UnitOfWork, batch: &[Envelope<'_, Command>]) -> Result<Self, Fault> {
        let now = unit.now();
        let orders: BTreeSet<Uuid> = batch.iter().filter_map(|envelope| order_of(envelope.command)).collect();
        let orders: Vec<Uuid> = orders.into_iter().collect();
        let payments =
            if orders.is_empty() { Vec::new() } else { persistence::lock_payments(unit.connection(), &orders).await? };
        let users: Vec<&str> =
            wallets_of(batch.iter().map(|envelope| envelope.command), &payments).into_iter().collect();
        let wallets =
            if users.is_empty() { Vec::new() } else { persistence::lock_wallets(unit.connection(), &users).await? };
        Ok(Self::new(wallets, payments, now))
    }

    fn new(wallets: Vec<Wallet>, payments: Vec<Payment>, now: Timestamp) -> Self {
        Self {
            stored_wallets: wallets.iter().map(|wallet| wallet.user_id.clone()).collect(),
            stored_payments: payments.iter().map(|payment| payment.order_id).collect(),
            state: State {
                wallets: wallets.into_iter().map(|wallet| (wallet.user_id.clone(), wallet)).collect(),
                payments: payments.into_iter().map(|payment| (payment.order_id, payment)).collect(),
            },
            changed_wallets: BTreeSet::new(),
            changed_payments: BTreeSet::new(),
            events: NewEvents::default(),
            context: Decision { now },
        }
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    ///
    /// # Errors
    /// A permanent fault when money cannot be given back where it was taken. Nobody waits for the answer to a refund: a
    /// rejection would leave the customer without the money, and no operator would hear of it.
    pub(crate) fn execute(&mut self, index: usize, command: &Command) -> Result<Outcome, Fault> {
        self.events.begin_command(index);
        let events = match decide(&self.state, command, &self.context) {
            Ok(events) => events,
            Err(rejection) if matches!(command, Command::Refund { .. }) => return Err(Fault::permanent(rejection)),
            Err(rejection) => return Ok(Err(rejection)),
        };
        for event in &events {
            evolve(&mut self.state, event);
            self.mark_changed(event);
            events::publish(&mut self.events, event, &self.state);
        }
        Ok(Ok(self.reply(command)))
    }

    fn mark_changed(&mut self, event: &Event) {
        match event {
            Event::PaymentDecided(payment) => self.changed_payments.insert(payment.order_id),
            Event::PaymentRefunded { order_id, .. } | Event::PaymentAnsweredAgain { order_id, .. } => {
                self.changed_payments.insert(*order_id)
            }
            Event::BalanceChanged { user_id, .. } => self.changed_wallets.insert(user_id.clone()),
        };
    }

    fn reply(&self, command: &Command) -> PaymentReply {
        match command {
            Command::Charge { user_id, .. } => {
                let wallet = self.state.wallets.get(user_id).map(present::wallet);
                wallet.map_or(PaymentReply::Noted, PaymentReply::Wallet)
            }
            Command::Process { order_id, .. } => {
                let payment = self.state.payments.get(order_id).map(present::payment);
                payment.map_or(PaymentReply::Noted, PaymentReply::Payment)
            }
            Command::Pay { .. } | Command::Hold { .. } | Command::Refund { .. } => PaymentReply::Noted,
        }
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.changed_payments.iter().filter_map(|order_id| self.state.payments.get(order_id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|one| self.stored_payments.contains(&one.order_id));
        persistence::save_payments(unit.connection(), &new, &stored).await?;
        let changed = self.changed_wallets.iter().filter_map(|user_id| self.state.wallets.get(user_id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|one| self.stored_wallets.contains(&one.user_id));
        persistence::save_wallets(unit.connection(), &new, &stored).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

fn order_of(command: &Command) -> Option<Uuid> {
    match command {
        Command::Pay { order_id, .. }
        | Command::Process { order_id, .. }
        | Command::Hold { order_id, .. }
        | Command::Refund { order_id, .. } => Some(*order_id),
        Command::Charge { .. } => None,
    }
}

/// Whose wallets the commands may change.
fn wallets_of<'a>(commands: impl Iterator<Item = &'a Command>, stored: &'a [Payment]) -> BTreeSet<&'a str> {
    let is_decided = |payment: &&Payment| !matches!(payment.state, PaymentState::Initiated { .. });
    let decided: HashSet<Uuid> = stored.iter().filter(is_decided).map(|payment| payment.order_id).collect();
    let wanted = commands.filter_map(|command| match command {
        Command::Charge { user_id, .. } => Some(user_id),
        Command::Pay { order_id, user_id, .. } | Command::Process { order_id, user_id, .. } => {
            Some(user_id).filter(|_| !decided.contains(order_id))
        }
        // Who gets money back is who paid, whatever the request says.
        Command::Hold { .. } | Command::Refund { .. } => None,
    });
    let refundable = stored.iter().filter(|payment| matches!(payment.state, PaymentState::Completed { .. }));
    wanted.chain(refundable.map(|payment| &payment.user_id)).map(UserId::as_str).collect()
}

#[cfg(test)]
mod tests;
