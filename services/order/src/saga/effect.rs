//! What a saga wants done.

use openorder_types::Money;

use crate::domain::CancellationCause;

/// What is to be done; the runner does it, in this order, in one transaction with the new saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The order becomes CONFIRMED: payment is asked for by that.
    Confirm {
        /// What the coupon takes off each line; empty without one.
        line_discounts: Vec<Money>,
    },
    /// The order becomes PAID: a shipment is asked for by that, where there is a shipping service.
    MarkPaid { payment_id: String },
    /// The order becomes PREPARING.
    Prepare,
    /// The order becomes REJECTED.
    Reject {
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// The order becomes CANCELLED.
    Cancel {
        cause: CancellationCause,
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// No payment of the order as it stands is to be taken.
    RequestHold,
    /// The stock of the new lines is asked for, in place of that of the former ones.
    RequestModification,
    /// The order has the new lines.
    ApplyModification,
    /// The order keeps its lines.
    RejectModification {
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// Stock is asked back.
    RequestRelease { cause: CancellationCause },
    /// Money is asked back, or never to be taken.
    RequestRefund { cause: CancellationCause },
    /// The coupon is asked back, or never to be held.
    RequestCouponRelease,
    /// The held coupon is used.
    RequestRedemption,
    /// Giving back was asked for as often as it may be: an operator has to look.
    FailCompensation {
        /// Whether stock may still be held.
        stock_open: bool,
        /// Whether money may still have been taken.
        payment_open: bool,
        /// Whether a coupon may still be held.
        coupon_open: bool,
        /// How often it was asked for again.
        undo_attempts: u32,
    },
    /// The history says who has the failed compensation tried again, and why.
    NoteRetry { operator: String, reason: String },
    /// The history says who has put right by hand what the failed compensation owed, and how.
    NoteSettlement {
        operator: String,
        reason: String,
        /// Whether it was stock.
        stock: bool,
        /// Whether it was money.
        payment: bool,
        /// Whether it was a coupon.
        coupon: bool,
    },
    /// The stock of a shipped order was released: the counts of the warehouse are wrong, and a person has to look.
    ReportStockLost,
}
