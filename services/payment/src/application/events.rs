//! The facts that a batch brings about, as protobuf events.

use openorder_messaging::{NewEvent, UnitOfWork};
use openorder_proto::{EventMessage, payment::v1 as proto};

use crate::{
    domain::{Amount, Payment, PaymentState, Wallet},
    present,
};

/// Events in the order in which they happened.
#[derive(Default)]
pub(crate) struct Events(Vec<NewEvent>);

impl Events {
    pub(crate) fn append_to(self, unit: &mut UnitOfWork) {
        for event in self.0 {
            unit.append(event);
        }
    }

    /// Tells where a payment stands: completed, failed or refunded.
    pub(crate) fn stands(&mut self, payment: &Payment, cause: usize) {
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

    /// A payment took money out of a wallet.
    pub(crate) fn debited(&mut self, wallet: &Wallet, amount: Amount, payment: &Payment, cause: usize) {
        let message = proto::WalletDebited {
            wallet: Some(present::wallet(wallet)),
            amount: Some(present::amount(amount)),
            payment_id: payment.payment_id.to_string(),
            order_id: payment.order_id.to_string(),
        };
        self.of_wallet(wallet, &message, cause);
    }

    /// The owner, or an operator, put money into a wallet.
    pub(crate) fn topped_up(&mut self, wallet: &Wallet, amount: Amount, cause: usize) {
        let message = proto::WalletCharged {
            wallet: Some(present::wallet(wallet)),
            amount: Some(present::amount(amount)),
            cause: proto::WalletChargeCause::TopUp.into(),
            payment_id: String::new(),
            order_id: String::new(),
        };
        self.of_wallet(wallet, &message, cause);
    }

    /// A payment was given back to a wallet.
    pub(crate) fn given_back(&mut self, wallet: &Wallet, amount: Amount, payment: &Payment, cause: usize) {
        let message = proto::WalletCharged {
            wallet: Some(present::wallet(wallet)),
            amount: Some(present::amount(amount)),
            cause: proto::WalletChargeCause::Refund.into(),
            payment_id: payment.payment_id.to_string(),
            order_id: payment.order_id.to_string(),
        };
        self.of_wallet(wallet, &message, cause);
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
