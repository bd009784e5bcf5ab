//! Facts that the rules of wallets and payments decide; all are published.

use openorder_types::{Money, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{Amount, Payment, RefundReason};

/// A fact about a payment or a wallet. Each is one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A payment was decided: completed, or failed.
    PaymentDecided(Payment),
    /// A completed payment is given back.
    PaymentRefunded {
        /// Order that was paid.
        order_id: Uuid,
        /// Money that is given back.
        amount: Amount,
        /// Why it is given back.
        reason: RefundReason,
        /// Time of the decision.
        time: Timestamp,
    },
    /// The state of a payment is answered again, as an operator wants it.
    PaymentAnsweredAgain {
        /// Order of the payment.
        order_id: Uuid,
        /// Time of the decision.
        time: Timestamp,
    },
    /// The balance of a wallet changed.
    BalanceChanged {
        /// Owner of the wallet.
        user_id: UserId,
        /// Money that moved.
        amount: Amount,
        /// Balance after it.
        balance: Money,
        /// Which way, and why.
        movement: Movement,
        /// Time of the decision.
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
