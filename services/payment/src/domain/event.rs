//! Facts that the rules of wallets and payments decide; all are published.

use openorder_types::{Money, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{Amount, Payment, RefundReason};

/// A fact about a payment or a wallet. Each is one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A payment was decided: completed, or failed; or held back before that.
    PaymentDecided(Payment),
    /// A completed payment is given back.
    PaymentRefunded { order_id: Uuid, amount: Amount, reason: RefundReason, time: Timestamp },
    /// The state of a payment is answered again, as an operator wants it.
    PaymentAnsweredAgain { order_id: Uuid, time: Timestamp },
    /// The balance of a wallet changed.
    BalanceChanged {
        user_id: UserId,
        amount: Amount,
        /// Balance after it.
        balance: Money,
        /// Which way, and why.
        movement: Movement,
        time: Timestamp,
    },
}

/// Why the balance of a wallet changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// The owner, or an operator, put money in; the first time opens the wallet.
    TopUp,
    /// Money was taken out to pay this order.
    Payment(Uuid),
    /// The payment of this order was given back.
    Refund(Uuid),
}
