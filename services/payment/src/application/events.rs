//! From the facts of the domain to protobuf events.

use openorder_messaging::{NewEvent, UnitOfWork};
use openorder_proto::{EventMessage, payment::v1 as proto};
use uuid::Uuid;

use crate::{
    domain::{Amount, Event, Movement, Payment, PaymentState, State, Wallet},
    present,
};

/// Events of a batch in the order in which they were decided.
#[derive(Default)]
pub(crate) struct Events(Vec<NewEvent>);

impl Events {
    pub(crate) fn append_to(self, unit: &mut UnitOfWork) {
        for event in self.0 {
            unit.append(event);
        }
    }

    /// Adds the message of an event, with the payment and the wallet as it left them.
    pub(crate) fn publish(&mut self, event: &Event, state: &State, cause: usize) {
        match event {
            Event::PaymentDecided(payment) => self.payment_decided(payment, cause),
            Event::PaymentRefunded { order_id, .. } | Event::PaymentAnsweredAgain { order_id, .. } => {
                if let Some(payment) = state.payments.get(order_id) {
                    self.payment_decided(payment, cause);
                }
            }
            Event::BalanceChanged { user_id, amount, movement, .. } => {
                if let Some(wallet) = state.wallets.get(user_id) {
                    self.balance_changed(wallet, *amount, *movement, state, cause);
                }
            }
        }
    }

    /// The event of the payment's state: completed, failed or refunded.
    fn payment_decided(&mut self, payment: &Payment, cause: usize) {
        let (payment_id, order_id) = (payment.payment_id.to_string(), payment.order_id.to_string());
        let (user_id, version) = (payment.user_id.to_string(), payment.version);
        let amount = payment.amount().map(present::amount);
        match payment.state {
            PaymentState::Completed { .. } => {
                let message = proto::PaymentCompleted { payment_id, order_id, user_id, amount, version };
                self.of_payment(payment, &message, cause);
            }
            PaymentState::Failed { reason, .. } => {
                let detail = reason.text().to_owned();
                let reason = present::failure_reason(reason).into();
                let message = proto::PaymentFailed { payment_id, order_id, user_id, amount, version, reason, detail };
                self.of_payment(payment, &message, cause);
            }
            PaymentState::Refunded { reason, .. } => {
                let reason = present::refund_reason(reason).into();
                let message = proto::PaymentRefunded { payment_id, order_id, user_id, amount, version, reason };
                self.of_payment(payment, &message, cause);
            }
        }
    }

    fn balance_changed(&mut self, wallet: &Wallet, amount: Amount, movement: Movement, state: &State, cause: usize) {
        let (amount, shown) = (Some(present::amount(amount)), Some(present::wallet(wallet)));
        let ids = |order_id: Uuid| {
            let payment_id = state.payments.get(&order_id).map(|payment| payment.payment_id.to_string());
            (payment_id.unwrap_or_default(), order_id.to_string())
        };
        match movement {
            Movement::Payment(order_id) => {
                let (payment_id, order_id) = ids(order_id);
                let message = proto::WalletDebited { wallet: shown, amount, payment_id, order_id };
                self.of_wallet(wallet, &message, cause);
            }
            Movement::TopUp => {
                let charge_cause = proto::WalletChargeCause::TopUp.into();
                let (payment_id, order_id) = (String::new(), String::new());
                let message = proto::WalletCharged { wallet: shown, amount, cause: charge_cause, payment_id, order_id };
                self.of_wallet(wallet, &message, cause);
            }
            Movement::Refund(order_id) => {
                let charge_cause = proto::WalletChargeCause::Refund.into();
                let (payment_id, order_id) = ids(order_id);
                let message = proto::WalletCharged { wallet: shown, amount, cause: charge_cause, payment_id, order_id };
                self.of_wallet(wallet, &message, cause);
            }
        }
    }

    fn of_payment<M: EventMessage>(&mut self, payment: &Payment, message: &M, cause: usize) {
        self.push("payment", payment.order_id.to_string(), payment.version, message, cause);
    }

    fn of_wallet<M: EventMessage>(&mut self, wallet: &Wallet, message: &M, cause: usize) {
        self.push("wallet", wallet.user_id.to_string(), wallet.version, message, cause);
    }

    fn push<M: EventMessage>(
        &mut self,
        aggregate_type: &'static str,
        id: String,
        version: i64,
        message: &M,
        cause: usize,
    ) {
        self.0.push(NewEvent {
            event_type: M::EVENT_TYPE,
            topic: M::TOPIC,
            key: id.clone(),
            aggregate_type,
            aggregate_id: id,
            aggregate_version: version,
            payload: message.encode_to_vec(),
            cause,
        });
    }
}

#[cfg(test)]
impl Events {
    pub(crate) fn all(&self) -> &[NewEvent] {
        &self.0
    }
}
