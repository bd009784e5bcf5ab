//! What the rules of wallets and payments decide on.

use openorder_types::UserId;
use uuid::Uuid;

use crate::domain::{Amount, RefundReason};

/// A command of a caller or of another service's event: the rules do not ask where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Money is put into a wallet; the first charge opens it.
    Charge { user_id: UserId, amount: Amount },
    /// An order is to be paid from its customer's wallet.
    Pay {
        /// UUID v7 of the payment to be; not used if there is one for the order.
        payment_id: Uuid,
        order_id: Uuid,
        user_id: UserId,
        /// The order's total.
        amount: Amount,
    },
    /// A caller pays an order from its customer's wallet.
    Process {
        /// UUID v7 of the payment to be; not used if there is one for the order.
        payment_id: Uuid,
        order_id: Uuid,
        /// Version of the order that is paid.
        order_version: i64,
        user_id: UserId,
        /// The order's total at that version.
        amount: Amount,
    },
    /// No payment of the order as it stands is to be taken, unless one was: its lines are being changed.
    Hold {
        /// UUID v7 of the payment that is recorded; not used if there is one for the order.
        payment_id: Uuid,
        order_id: Uuid,
        /// Version of the order that asks.
        order_version: i64,
        user_id: UserId,
        /// The order's total so far.
        amount: Amount,
    },
    /// What was paid for an order is given back; if nothing was, nothing will be.
    Refund {
        /// UUID v7 of the payment that is recorded as voided; not used if there is one for the order.
        payment_id: Uuid,
        order_id: Uuid,
        /// Customer of the order; who gets money back is who paid.
        user_id: UserId,
        /// The order's total, where it is known.
        amount: Option<Amount>,
        reason: RefundReason,
        /// Whether the answer is published even if it was before.
        answer_again: bool,
    },
}
