//! Everything that one batch touches, loaded and locked once, changed in memory, written once.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::SubsecRound;
use openorder_messaging::{Envelope, UnitOfWork};
use openorder_types::{Fault, Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::{
    application::{PaymentReply, events::Events},
    domain::{Amount, Bill, Command, Payment, PaymentState, RefundReason, Wallet, already_decided},
    persistence, present,
};

type Outcome = Result<PaymentReply, Rejection>;

/// The wallets and payments of a batch.
pub(crate) struct WorkingSet {
    wallets: HashMap<UserId, Wallet>,
    payments: HashMap<Uuid, Payment>,
    stored_wallets: HashSet<UserId>,
    stored_payments: HashSet<Uuid>,
    changed_wallets: BTreeSet<UserId>,
    changed_payments: BTreeSet<Uuid>,
    events: Events,
    now: Timestamp,
}

impl WorkingSet {
    /// Locks payments first, then wallets, each sorted: no two transactions wait for each other in a circle.
    pub(crate) async fn load(unit: &mut UnitOfWork, batch: &[Envelope<Command>]) -> Result<Self, Fault> {
        let now = unit.now();
        let orders: BTreeSet<Uuid> = batch.iter().filter_map(|envelope| order_of(&envelope.command)).collect();
        let orders: Vec<Uuid> = orders.into_iter().collect();
        let payments =
            if orders.is_empty() { Vec::new() } else { persistence::lock_payments(unit.connection(), &orders).await? };
        let users: Vec<&str> =
            wallets_of(batch.iter().map(|envelope| &envelope.command), &payments).into_iter().collect();
        let wallets =
            if users.is_empty() { Vec::new() } else { persistence::lock_wallets(unit.connection(), &users).await? };
        Ok(Self::new(wallets, payments, now))
    }

    fn new(wallets: Vec<Wallet>, payments: Vec<Payment>, now: Timestamp) -> Self {
        Self {
            stored_wallets: wallets.iter().map(|wallet| wallet.user_id.clone()).collect(),
            stored_payments: payments.iter().map(|payment| payment.order_id).collect(),
            wallets: wallets.into_iter().map(|wallet| (wallet.user_id.clone(), wallet)).collect(),
            payments: payments.into_iter().map(|payment| (payment.order_id, payment)).collect(),
            changed_wallets: BTreeSet::new(),
            changed_payments: BTreeSet::new(),
            events: Events::default(),
            // PostgreSQL keeps microseconds: what is answered now is what is read later.
            now: now.trunc_subsecs(6),
        }
    }

    /// Decides one command on what the commands before it have left.
    ///
    /// # Errors
    /// A permanent fault when money cannot be given back where it was taken.
    pub(crate) fn decide(&mut self, command: &Command, cause: usize) -> Result<Outcome, Fault> {
        match command {
            Command::Charge { user_id, amount } => Ok(self.charge(user_id, *amount, cause)),
            Command::Pay { order_id, user_id, amount } => Ok(self.pay(*order_id, user_id, *amount, cause)),
            Command::Refund { order_id, user_id, amount, reason, answer_again } => {
                self.refund(*order_id, user_id, *amount, *reason, *answer_again, cause)
            }
        }
    }

    fn charge(&mut self, user_id: &UserId, amount: Amount, cause: usize) -> Outcome {
        let now = self.now;
        let wallet = self.wallets.get_mut(user_id);
        let mut opened = None;
        let wallet = match wallet {
            Some(wallet) => wallet,
            None => opened.insert(Wallet::unopened(user_id.clone(), amount.currency(), now)),
        };
        wallet.charge(amount, now)?;
        self.events.topped_up(wallet, amount, cause);
        let reply = PaymentReply::Wallet(present::wallet(wallet));
        if let Some(wallet) = opened {
            self.wallets.insert(user_id.clone(), wallet);
        }
        self.changed_wallets.insert(user_id.clone());
        Ok(reply)
    }

    fn pay(&mut self, order_id: Uuid, user_id: &UserId, amount: Amount, cause: usize) -> Outcome {
        if self.payments.contains_key(&order_id) {
            return Err(already_decided(order_id));
        }
        let bill = Bill { payment_id: Uuid::now_v7(), order_id, user_id: user_id.clone(), amount };
        let mut wallet = self.wallets.get_mut(user_id);
        let payment = Payment::decide(bill, wallet.as_deref_mut(), self.now);
        self.events.stands(&payment, cause);
        if let (PaymentState::Completed { amount }, Some(wallet)) = (payment.state, wallet) {
            self.events.debited(wallet, amount, &payment, cause);
            self.changed_wallets.insert(user_id.clone());
        }
        self.changed_payments.insert(order_id);
        self.payments.insert(order_id, payment);
        // A payment that fails is a fact that is committed and told, not a command without effect.
        Ok(PaymentReply::Noted)
    }

    fn refund(
        &mut self,
        order_id: Uuid,
        user_id: &UserId,
        amount: Option<Amount>,
        reason: RefundReason,
        answer_again: bool,
        cause: usize,
    ) -> Result<Outcome, Fault> {
        let decided = self.payments.get(&order_id);
        if decided.is_some_and(|payment| !payment.is_refundable()) && !answer_again {
            // Decided and published before: an event would tell of nothing.
            return Ok(Ok(PaymentReply::Noted));
        }
        self.changed_payments.insert(order_id);
        let Some(payment) = self.payments.get_mut(&order_id) else {
            let tombstone = Payment::tombstone(Uuid::now_v7(), order_id, user_id.clone(), amount, self.now);
            self.events.stands(&tombstone, cause);
            self.payments.insert(order_id, tombstone);
            return Ok(Ok(PaymentReply::Noted));
        };
        let mut wallet = self.wallets.get_mut(&payment.user_id);
        let given_back = payment.refund(reason, wallet.as_deref_mut(), self.now)?;
        self.events.stands(payment, cause);
        if let (Some(amount), Some(wallet)) = (given_back, wallet) {
            self.events.given_back(wallet, amount, payment, cause);
            self.changed_wallets.insert(wallet.user_id.clone());
        }
        Ok(Ok(PaymentReply::Noted))
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let changed = self.changed_payments.iter().filter_map(|order_id| self.payments.get(order_id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|one| self.stored_payments.contains(&one.order_id));
        persistence::save_payments(unit.connection(), &new, &stored).await?;
        let changed = self.changed_wallets.iter().filter_map(|user_id| self.wallets.get(user_id));
        let (stored, new): (Vec<_>, Vec<_>) = changed.partition(|one| self.stored_wallets.contains(&one.user_id));
        persistence::save_wallets(unit.connection(), &new, &stored).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

fn order_of(command: &Command) -> Option<Uuid> {
    match command {
        Command::Pay { order_id, .. } | Command::Refund { order_id, .. } => Some(*order_id),
        Command::Charge { .. } => None,
    }
}

/// Whose wallets the commands may change.
fn wallets_of<'a>(commands: impl Iterator<Item = &'a Command>, stored: &'a [Payment]) -> BTreeSet<&'a str> {
    let decided: HashSet<Uuid> = stored.iter().map(|payment| payment.order_id).collect();
    let asked = commands.filter_map(|command| match command {
        Command::Charge { user_id, .. } => Some(user_id),
        Command::Pay { order_id, user_id, .. } => Some(user_id).filter(|_| !decided.contains(order_id)),
        // Who gets money back is who paid, whatever the request says.
        Command::Refund { .. } => None,
    });
    let refundable = stored.iter().filter(|payment| matches!(payment.state, PaymentState::Completed { .. }));
    asked.chain(refundable.map(|payment| &payment.user_id)).map(UserId::as_str).collect()
}

#[cfg(test)]
mod tests;
