//! Everything that the service can be asked or told.

use openorder_types::UserId;
use uuid::Uuid;

use crate::domain::{Amount, RefundReason};

/// A command; facts of other services arrive as commands too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Money is put into a wallet; the first charge opens it.
    Charge {
        /// Whose wallet.
        user_id: UserId,
        /// What is put in.
        amount: Amount,
    },
    /// An order is to be paid from its customer's wallet.
    Pay {
        /// The order.
        order_id: Uuid,
        /// The customer.
        user_id: UserId,
        /// The order's total.
        amount: Amount,
    },
    /// What was paid for an order is given back; if nothing was, nothing will be.
    Refund {
        /// The order.
        order_id: Uuid,
        /// The customer.
        user_id: UserId,
        /// The order's total, where it is known.
        amount: Option<Amount>,
        /// Why.
        reason: RefundReason,
        /// Whether the answer is published even if it was before.
        answer_again: bool,
    },
}
