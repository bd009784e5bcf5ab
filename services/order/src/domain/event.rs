//! Facts about orders.

use openorder_types::{Money, numbered};
use uuid::Uuid;

use crate::{domain::OrderLine, saga::Saga};

numbered! {
    /// Why an order was cancelled; numbered as `openorder.order.v1.CancellationCause`.
    pub enum CancellationCause {
        /// The customer called it off.
        Customer = 1 "CUSTOMER",
        /// An operator or a service called it off.
        Operator = 2 "OPERATOR",
        /// The payment failed.
        PaymentFailed = 3 "PAYMENT_FAILED",
        /// A step of the saga did not answer in time.
        StepTimedOut = 4 "STEP_TIMED_OUT",
        /// The held stock was given back, and the order had not asked for it.
        ReservationExpired = 5 "RESERVATION_EXPIRED",
    }
}

/// What happened to an order; each makes one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    /// It was accepted: it begins with its lines and its total, and only a modification changes them.
    Created {
        /// The checkout of a cart that it was made by.
        checkout_id: Option<Uuid>,
    },
    /// The stock of all lines is held, and the coupon if there is one.
    Confirmed {
        /// What the coupon takes off each line; empty without one.
        line_discounts: Vec<Money>,
    },
    /// Other lines were asked for. Its status stays, and so do its lines until [`Self::Modified`].
    ModificationRequested {
        lines: Vec<OrderLine>,
        /// Of these lines.
        total: Money,
    },
    /// It has the lines that were asked for. Its status stays.
    Modified,
    /// It keeps its lines. Its status stays.
    ModificationRejected {
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// The total was taken.
    Paid { payment_id: String },
    /// It is made ready for the carrier.
    Preparing,
    /// It is with the carrier.
    Shipped,
    /// The customer has it.
    Delivered,
    /// It was called off.
    Cancelled {
        cause: CancellationCause,
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// It could not be fulfilled.
    Rejected {
        /// Stable, `UPPER_SNAKE`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// Giving back was not answered: an operator has to look. Its status stays.
    CompensationFailed {
        /// Whether stock may still be held.
        stock_open: bool,
        /// Whether money may still have been taken.
        payment_open: bool,
        /// Whether a coupon may still be held.
        coupon_open: bool,
        /// How often it was asked for again.
        undo_attempts: u32,
    },
    /// An operator has it tried again. Its status stays.
    CompensationRetried { operator: String, reason: String },
    /// An operator has put it right by hand. Its status stays.
    CompensationSettled {
        operator: String,
        reason: String,
        /// Whether it was stock.
        stock: bool,
        /// Whether it was money.
        payment: bool,
        /// Whether it was a coupon.
        coupon: bool,
    },
}

/// What follows from a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A fact about the order.
    Order(OrderEvent),
    /// Where the saga stands from now on.
    Saga(Saga),
    /// No payment of the order as it stands is to be taken.
    PaymentHoldRequested,
    /// The stock of the new lines is asked for.
    StockModificationRequested,
    /// The stock is asked back.
    ReleaseRequested {
        cause: CancellationCause,
        /// Whether an answer that was given before is wanted again.
        answer_again: bool,
    },
    /// The money is asked back, or never to be taken.
    RefundRequested {
        cause: CancellationCause,
        /// Whether an answer that was given before is wanted again.
        answer_again: bool,
    },
    /// The coupon is to be held.
    CouponHoldRequested,
    /// The held coupon is used.
    CouponRedeemRequested,
    /// The coupon is asked back, or never to be held.
    CouponReleaseRequested {
        /// Whether an answer that was given before is wanted again.
        answer_again: bool,
    },
    /// The stock of a shipped order was released: the counts of the warehouse are wrong, and a person has to look.
    StockLost,
    /// The parcel of an order that was called off left all the same: a person has to look.
    ParcelLost,
}
