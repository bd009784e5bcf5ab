//! From the facts of the domain to protobuf events.

use openorder_proto::payment::v1 as proto;
use openorder_rpc::money_to_proto;
use openorder_service::{Aggregate, NewEvents};

use crate::{
    domain::{Amount, Event, Movement, Payment, PaymentState, State, Wallet},
    present,
};

/// Adds the message of an event, with the payment and the wallet as it left them.
pub(crate) fn publish(events: &mut NewEvents, event: &Event, state: &State) {
    match event {
        // Told below, with what is in the wallet afterwards.
        Event::PaymentDecided(Payment { state: PaymentState::Completed { .. }, .. }) => {}
        Event::PaymentDecided(payment) => payment_decided(events, payment, None),
        Event::PaymentRefunded { order_id, .. } | Event::PaymentAnsweredAgain { order_id, .. } => {
            if let Some(payment) = state.payments.get(order_id) {
                payment_decided(events, payment, None);
            }
        }
        Event::BalanceChanged { user_id, amount, movement, .. } => {
            let Some(wallet) = state.wallets.get(user_id) else { return };
            match movement {
                Movement::Payment(order_id) => {
                    if let Some(payment) = state.payments.get(order_id) {
                        payment_decided(events, payment, Some(wallet));
                    }
                }
                Movement::TopUp => charged(events, wallet, *amount, None),
                Movement::Refund(order_id) => charged(events, wallet, *amount, state.payments.get(order_id)),
            }
        }
    }
}

/// The event of the payment's state: initiated, completed, failed or refunded. A completed one tells of the wallet that
/// it was taken from.
fn payment_decided(events: &mut NewEvents, payment: &Payment, wallet: Option<&Wallet>) {
    let (payment_id, order_id) = (payment.payment_id.to_string(), payment.order_id.to_string());
    let (user_id, version) = (payment.user_id.to_string(), payment.version);
    let amount = payment.amount().map(present::amount);
    let aggregate = Aggregate::new("payment", payment.order_id, version);
    match payment.state {
        PaymentState::Initiated { .. } => {
            let order_version = payment.held_order_version.unwrap_or_default();
            let message = proto::PaymentInitiated { payment_id, order_id, user_id, amount, version, order_version };
            events.append(&message, aggregate);
        }
        PaymentState::Completed { .. } => {
            let wallet_balance = wallet.map(|wallet| money_to_proto(&wallet.balance));
            let wallet_version = wallet.map_or(0, |wallet| wallet.version);
            let message = proto::PaymentCompleted {
                payment_id,
                order_id,
                user_id,
                amount,
                version,
                wallet_balance,
                wallet_version,
            };
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

/// The event of money that was put in: by its owner, or as a payment that was given back.
fn charged(events: &mut NewEvents, wallet: &Wallet, amount: Amount, refunded: Option<&Payment>) {
    let cause = if refunded.is_some() { proto::WalletChargeCause::Refund } else { proto::WalletChargeCause::TopUp };
    let message = proto::WalletCharged {
        wallet: Some(present::wallet(wallet)),
        amount: Some(present::amount(amount)),
        cause: cause.into(),
        payment_id: refunded.map(|payment| payment.payment_id.to_string()).unwrap_or_default(),
        order_id: refunded.map(|payment| payment.order_id.to_string()).unwrap_or_default(),
    };
    events.append(&message, Aggregate::new("wallet", &wallet.user_id, wallet.version));
}
