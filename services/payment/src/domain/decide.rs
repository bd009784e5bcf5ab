//! From a state and a command to the facts that follow, and from those to the next state. Pure: time arrives in
//! [`Decision`], ids in the command.

use std::collections::HashMap;

use openorder_types::{Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{
    Amount, Command, Event, FailureReason, Movement, Payment, PaymentState, RefundReason, Wallet, rejection,
};

/// Wallets and payments that commands are decided on. One that is missing does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub wallets: HashMap<UserId, Wallet>,
    pub payments: HashMap<Uuid, Payment>,
}

/// What a decision depends on besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub now: Timestamp,
}

/// Decides one command. No events: the command repeats one that has taken effect.
///
/// # Errors
/// Of a charge `CURRENCY_MISMATCH` and `WALLET_LIMIT_EXCEEDED`; of a payment `PAYMENT_ALREADY_DECIDED`; of one that a
/// caller asks for `ORDER_ALREADY_PAID`, `ORDER_NOT_PAYABLE`, `ORDER_NOT_FOUND`, `MODIFICATION_UNDER_WAY`, and why the money
/// cannot be taken. Of a refund
/// `WALLET_NOT_FOUND`, `CURRENCY_MISMATCH` and `WALLET_LIMIT_EXCEEDED`, which no history of charges, payments and refunds
/// leads to. Then nothing changes.
pub fn decide(state: &State, command: &Command, context: &Decision) -> Result<Vec<Event>, Rejection> {
    match command {
        Command::Charge { user_id, amount } => charge(state, user_id, *amount, context.now),
        Command::Pay { payment_id, order_id, user_id, amount } => {
            let payment = NewPayment { payment_id: *payment_id, order_id: *order_id, user_id, now: context.now };
            pay(state, &payment, *amount)
        }
        Command::Process { payment_id, order_id, order_version, user_id, amount } => {
            let payment = NewPayment { payment_id: *payment_id, order_id: *order_id, user_id, now: context.now };
            process(state, &payment, *order_version, *amount)
        }
        Command::Hold { payment_id, order_id, order_version, user_id, amount } => {
            let payment = NewPayment { payment_id: *payment_id, order_id: *order_id, user_id, now: context.now };
            Ok(hold(state, &payment, *order_version, *amount).into_iter().collect())
        }
        Command::Refund { payment_id, order_id, user_id, amount, reason, answer_again } => {
            match state.payments.get(order_id) {
                Some(payment) => refund(state, payment, *reason, *answer_again, context.now),
                None => {
                    let payment =
                        NewPayment { payment_id: *payment_id, order_id: *order_id, user_id, now: context.now };
                    Ok(vec![payment.failed(*amount, FailureReason::Voided)])
                }
            }
        }
    }
}

fn charge(state: &State, user_id: &UserId, amount: Amount, time: Timestamp) -> Result<Vec<Event>, Rejection> {
    let balance = match state.wallets.get(user_id) {
        Some(wallet) => wallet.charged(amount)?,
        None => Wallet::unopened(user_id.clone(), amount.currency(), time).charged(amount)?,
    };
    let user_id = user_id.clone();
    Ok(vec![Event::BalanceChanged { user_id, amount, balance, movement: Movement::TopUp, time }])
}

/// A payment that fails is a fact that is committed and published, not a rejection.
fn pay(state: &State, new: &NewPayment<'_>, amount: Amount) -> Result<Vec<Event>, Rejection> {
    if state.payments.contains_key(&new.order_id) {
        return Err(rejection::already_decided(new.order_id));
    }
    Ok(take(state, new, amount).unwrap_or_else(|reason| vec![new.failed(Some(amount), reason)]))
}

/// What a caller asks for and cannot be taken decides nothing: it may be asked for again.
fn process(state: &State, new: &NewPayment<'_>, order_version: i64, amount: Amount) -> Result<Vec<Event>, Rejection> {
    let known = state.payments.get(&new.order_id);
    match known.map(|payment| payment.state) {
        None | Some(PaymentState::Initiated { .. }) => {}
        Some(PaymentState::Completed { .. }) => return Err(rejection::order_already_paid(new.order_id)),
        Some(PaymentState::Failed { .. } | PaymentState::Refunded { .. }) => {
            return Err(rejection::order_called_off(new.order_id));
        }
    }
    // An order has one customer; whoever else would pay it is not let to.
    if known.is_some_and(|payment| payment.user_id != *new.user_id) {
        return Err(rejection::order_not_found(new.order_id));
    }
    // The order has changed since it was asked about, or is about to.
    if known.and_then(|payment| payment.held_order_version).is_some_and(|held| order_version <= held) {
        return Err(rejection::modification_under_way(new.order_id));
    }
    let refused = |reason| rejection::not_taken(new.order_id, new.user_id, reason);
    let mut events = take(state, new, amount).map_err(refused)?;
    if let (Some(known), Some(Event::PaymentDecided(decided))) = (known, events.first_mut()) {
        *decided = known.after(decided.state, new.now);
    }
    Ok(events)
}

/// A payment that is decided is not held back: its own event says what became of it.
fn hold(state: &State, new: &NewPayment<'_>, order_version: i64, amount: Amount) -> Option<Event> {
    let initiated = PaymentState::Initiated { amount };
    let held = match state.payments.get(&new.order_id) {
        None => new.payment(initiated),
        Some(known) if !matches!(known.state, PaymentState::Initiated { .. }) => return None,
        // Repeated, or overtaken.
        Some(known) if known.held_order_version.is_some_and(|held| held >= order_version) => return None,
        Some(known) => known.after(initiated, new.now),
    };
    Some(Event::PaymentDecided(Payment { held_order_version: Some(order_version), ..held }))
}

/// All that is to be paid, or nothing and why.
fn take(state: &State, new: &NewPayment<'_>, amount: Amount) -> Result<Vec<Event>, FailureReason> {
    let wallet = state.wallets.get(new.user_id).ok_or(FailureReason::WalletNotFound)?;
    let balance = wallet.debited(amount)?;
    let (user_id, movement) = (new.user_id.clone(), Movement::Payment(new.order_id));
    let debited = Event::BalanceChanged { user_id, amount, balance, movement, time: new.now };
    Ok(vec![new.decided(PaymentState::Completed { amount }), debited])
}

/// Gives back what was taken, once. A payment of which nothing is left to give back stays as it is.
fn refund(
    state: &State,
    payment: &Payment,
    reason: RefundReason,
    answer_again: bool,
    time: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    let order_id = payment.order_id;
    if let PaymentState::Initiated { amount } = payment.state {
        let voided = PaymentState::Failed { amount: Some(amount), reason: FailureReason::Voided };
        return Ok(vec![Event::PaymentDecided(payment.after(voided, time))]);
    }
    let PaymentState::Completed { amount } = payment.state else {
        // Decided and published before: an event would say nothing new.
        return Ok(if answer_again { vec![Event::PaymentAnsweredAgain { order_id, time }] } else { Vec::new() });
    };
    let user_id = payment.user_id.clone();
    let wallet = state.wallets.get(&user_id).ok_or_else(|| rejection::wallet_not_found(&user_id))?;
    let (balance, movement) = (wallet.credited(amount)?, Movement::Refund(order_id));
    let credited = Event::BalanceChanged { user_id, amount, balance, movement, time };
    Ok(vec![Event::PaymentRefunded { order_id, amount, reason, time }, credited])
}

/// Applies an event to the state that it was decided on. A payment that the state lacks is not changed.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::PaymentDecided(payment) => {
            state.payments.insert(payment.order_id, payment.clone());
        }
        Event::PaymentRefunded { order_id, amount, reason, time } => {
            if let Some(payment) = state.payments.get_mut(order_id) {
                payment.state = PaymentState::Refunded { amount: *amount, reason: *reason };
                payment.version += 1;
                payment.update_time = *time;
            }
        }
        Event::PaymentAnsweredAgain { order_id, time } => {
            if let Some(payment) = state.payments.get_mut(order_id) {
                payment.version += 1;
                payment.update_time = *time;
            }
        }
        Event::BalanceChanged { user_id, balance, time, .. } => {
            let wallet = state
                .wallets
                .entry(user_id.clone())
                .or_insert_with(|| Wallet::unopened(user_id.clone(), balance.currency(), *time));
            wallet.change(*balance, *time);
        }
    }
}

/// The payment of an order that has none.
struct NewPayment<'a> {
    payment_id: Uuid,
    order_id: Uuid,
    user_id: &'a UserId,
    now: Timestamp,
}

impl NewPayment<'_> {
    fn failed(&self, amount: Option<Amount>, reason: FailureReason) -> Event {
        self.decided(PaymentState::Failed { amount, reason })
    }

    fn decided(&self, state: PaymentState) -> Event {
        Event::PaymentDecided(self.payment(state))
    }

    fn payment(&self, state: PaymentState) -> Payment {
        Payment {
            payment_id: self.payment_id,
            order_id: self.order_id,
            user_id: self.user_id.clone(),
            state,
            held_order_version: None,
            version: 1,
            create_time: self.now,
            update_time: self.now,
        }
    }
}

#[cfg(test)]
mod tests;
