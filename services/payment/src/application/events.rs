//! From the facts of the domain to protobuf events.

use openorder_proto::payment::v1 as proto;
use openorder_service::{Aggregate, NewEvents};
use uuid::Uuid;

use crate::{
    domain::{Amount, Event, Movement, Payment, PaymentState, State, Wallet},
    present,
};

/// Adds the message of an event, with the payment and the wallet as it left them.
pub(crate) fn publish(events: &mut NewEvents, event: &Event, state: &State) {
    match event {
        Event::PaymentDecided(payment) => payment_decided(events, payment),
        Event::PaymentRefunded { order_id, .. } | Event::PaymentAnsweredAgain { order_id, .. } => {
            if let Some(payment) = state.payments.get(order_id) {
                payment_decided(events, payment);
            }
        }
        Event::BalanceChanged { user_id, amount, movement, .. } => {
            if let Some(wallet) = state.wallets.get(user_id) {
                balance_changed(events, wallet, *amount, *movement, state);
            }
        }
    }
}

/// The event of the payment's state: completed, failed or refunded.
fn payment_decided(events: &mut NewEvents, payment: &Payment) {
    let (payment_id, order_id) = (payment.payment_id.to_string(), payment.order_id.to_string());
    let (user_id, version) = (payment.user_id.to_string(), payment.version);
    let amount = payment.amount().map(present::amount);
    let aggregate = Aggregate::new("payment", payment.order_id, version);
    match payment.state {
        PaymentState::Completed { .. } => {
            let message = proto::PaymentCompleted { payment_id, order_id, user_id, amount, version };
            events.append(&message, aggregate);
        }
        PaymentState::Failed { reason, .. } => {
            let detail = reason.text().to_owned();
            let reason = present::failure_reason(reason).into();
            let message = proto::PaymentFailed { payment_id, order_id, user_id, amount, version, reason, detail };
            events.append(&message, aggregate);
        }
        PaymentState::Refunded { reason, .. } => {
            let reason = present::refund_reason(reason).into();
            let message = proto::PaymentRefunded { payment_id, order_id, user_id, amount, version, reason };
            events.append(&message, aggregate);
        }
    }
}

fn balance_changed(events: &mut NewEvents, wallet: &Wallet, amount: Amount, movement: Movement, state: &State) {
    let (amount, shown) = (Some(present::amount(amount)), Some(present::wallet(wallet)));
    let ids = |order_id: Uuid| {
        let payment_id = state.payments.get(&order_id).map(|payment| payment.payment_id.to_string());
        (payment_id.unwrap_or_default(), order_id.to_string())
    };
    let aggregate = Aggregate::new("wallet", &wallet.user_id, wallet.version);
    match movement {
        Movement::Payment(order_id) => {
            let (payment_id, order_id) = ids(order_id);
            let message = proto::WalletDebited { wallet: shown, amount, payment_id, order_id };
            events.append(&message, aggregate);
        }
        Movement::TopUp => {
            let cause = proto::WalletChargeCause::TopUp.into();
            let (payment_id, order_id) = (String::new(), String::new());
            let message = proto::WalletCharged { wallet: shown, amount, cause, payment_id, order_id };
            events.append(&message, aggregate);
        }
        Movement::Refund(order_id) => {
            let cause = proto::WalletChargeCause::Refund.into();
            let (payment_id, order_id) = ids(order_id);
            let message = proto::WalletCharged { wallet: shown, amount, cause, payment_id, order_id };
            events.append(&message, aggregate);
        }
    }
}
