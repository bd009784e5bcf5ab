//! The payment of one order.

use openorder_types::{Timestamp, UserId, numbered};
use uuid::Uuid;

use crate::domain::Amount;

numbered! {
    /// Why no money was taken; numbered as `openorder.payment.v1.PaymentFailureReason`.
    pub enum FailureReason {
        /// There is less in the wallet than is to be paid.
        InsufficientBalance = 1 "INSUFFICIENT_BALANCE",
        /// The user has no wallet.
        WalletNotFound = 2 "WALLET_NOT_FOUND",
        /// The wallet holds another currency.
        CurrencyMismatch = 3 "CURRENCY_MISMATCH",
        /// The order was called off before it was paid.
        Voided = 4 "VOIDED",
    }
}

impl FailureReason {
    /// For people to read; names nobody and no amount.
    pub const fn text(self) -> &'static str {
        match self {
            Self::InsufficientBalance => "there is less in the wallet than the order costs",
            Self::WalletNotFound => "the customer has no wallet",
            Self::CurrencyMismatch => "the wallet holds another currency than the order's",
            Self::Voided => "the order was called off before it was paid",
        }
    }
}

numbered! {
    /// Why money is given back; numbered as `openorder.payment.v1.PaymentRefundReason`.
    pub enum RefundReason {
        /// For a reason that this version does not know.
        Other = 0 "UNSPECIFIED",
        /// The order was called off.
        OrderCancelled = 1 "ORDER_CANCELLED",
        /// The saga of the order gave up waiting.
        StepTimedOut = 2 "STEP_TIMED_OUT",
    }
}

/// State of a payment. It is decided at once: nothing is ever on its way. Only one whose order was, or is being, changed
/// before it was paid exists before it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentState {
    /// Not decided.
    Initiated {
        /// What was to be taken when it was held back.
        amount: Amount,
    },
    /// The money was taken.
    Completed {
        /// What was taken.
        amount: Amount,
    },
    /// Final: no money was taken.
    Failed {
        /// What was to be taken, where it is known.
        amount: Option<Amount>,
        /// Why it was not.
        reason: FailureReason,
    },
    /// Final: the money was given back.
    Refunded {
        /// What was taken and given back.
        amount: Amount,
        /// Why it was given back.
        reason: RefundReason,
    },
}

/// The payment of one order. There is one at most for an order, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// UUID v7.
    pub payment_id: Uuid,
    /// Order that is paid.
    pub order_id: Uuid,
    /// Customer who pays.
    pub user_id: UserId,
    /// Current state.
    pub state: PaymentState,
    /// Payments of the order as it was at this version, or before, are not taken; none, nothing was held back.
    pub held_order_version: Option<i64>,
    /// One more for every event of the payment.
    pub version: i64,
    /// When it was decided.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
}

impl Payment {
    /// The payment after one more event.
    pub(crate) fn after(&self, state: PaymentState, now: Timestamp) -> Self {
        Self { state, version: self.version + 1, update_time: now, ..self.clone() }
    }

    /// What was or was to be taken, where it is known.
    pub fn amount(&self) -> Option<Amount> {
        match self.state {
            PaymentState::Initiated { amount }
            | PaymentState::Completed { amount }
            | PaymentState::Refunded { amount, .. } => Some(amount),
            PaymentState::Failed { amount, .. } => amount,
        }
    }
}
