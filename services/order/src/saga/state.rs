//! Where a saga stands, and the signals that move it.

use std::time::Duration;

use openorder_types::{Money, Timestamp, numbered};

use crate::domain::CancellationCause;

numbered! {
    /// How far the saga is.
    pub enum Step {
        /// Stock was asked for, and the coupon if there is one.
        Reserving = 1 "RESERVING",
        /// Payment was asked for, or is waited for.
        Paying = 2 "PAYING",
        /// Paid; the order goes its way.
        Completed = 3 "COMPLETED",
        /// What was held or taken is being given back.
        Compensating = 4 "COMPENSATING",
        /// All was given back.
        Compensated = 5 "COMPENSATED",
        /// Giving back was asked for as often as it may be and not answered: an operator has to look.
        CompensationFailed = 6 "COMPENSATION_FAILED",
        /// Nothing was held, nothing is to be given back.
        Rejected = 7 "REJECTED",
        /// Other lines were asked for: what is held is being changed.
        Modifying = 8 "MODIFYING",
    }
}

impl Step {
    /// The steps that a saga does not end at.
    pub const UNSETTLED: [Self; 5] =
        [Self::Reserving, Self::Paying, Self::Modifying, Self::Compensating, Self::CompensationFailed];
}

numbered! {
    /// What is known of one participant: the stock, the payment, the coupon or the shipment.
    pub enum Participant {
        /// Not asked; also where the order has no need of it.
        Idle = 1 "IDLE",
        /// Asked, not answered.
        Asked = 2 "ASKED",
        /// Held, taken, or made.
        Done = 3 "DONE",
        /// Answered with no.
        Refused = 4 "REFUSED",
        /// Asked to give back, not answered.
        Undoing = 5 "UNDOING",
        /// Given back.
        Undone = 6 "UNDONE",
        /// The stock left the warehouse with the order; the parcel is with the carrier.
        Used = 7 "USED",
        /// An operator stated that it was put right by hand.
        Settled = 8 "SETTLED",
    }
}

impl Participant {
    /// Whether it still holds something, or may come to.
    pub(crate) const fn is_open(self) -> bool {
        matches!(self, Self::Asked | Self::Done | Self::Undoing)
    }
}

numbered! {
    /// What a modification waits for.
    pub enum Awaited {
        /// The stock of the order as it was made: what is not held cannot be changed.
        Reservation = 1 "RESERVATION",
        /// The payment: it is taken for the lines of before, or not for them any more.
        Payment = 2 "PAYMENT",
        /// The stock of the new lines.
        Change = 3 "CHANGE",
    }
}

/// A modification that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modifying {
    pub awaited: Awaited,
    /// Version of the order that asked for it.
    pub order_version: i64,
    /// When the step began that goes on afterwards.
    pub since: Timestamp,
}

/// The saga of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saga {
    pub step: Step,
    /// The inventory service's part.
    pub stock: Participant,
    /// The payment service's part.
    pub payment: Participant,
    /// The promotion service's part; idle where the order has no coupon.
    pub coupon: Participant,
    /// The shipping service's part; idle before the order is paid, and where there is no such service.
    pub shipment: Participant,
    /// What the coupon takes off each line, in the order of the lines; empty until it is held.
    pub line_discounts: Vec<Money>,
    /// What the order will be cancelled for once all is given back; none if it is already, or need not be.
    pub pending: Option<(CancellationCause, String)>,
    /// How often giving back was asked for again.
    pub undo_attempts: u32,
    /// The modification of its lines that is under way; at [`Step::Modifying`] alone.
    pub modifying: Option<Modifying>,
    /// How often stock was asked back or to be changed: the version of that stream of events.
    pub releases: i64,
    /// How often money was asked back or to be held back: the version of that stream of events.
    pub refunds: i64,
    /// How often the promotion service was asked for something: the version of that stream of events.
    pub coupon_requests: i64,
    /// When the step began, or the last asking for giving back.
    pub step_time: Timestamp,
}

/// Which steps the saga has, and how long it waits.
#[derive(Debug, Clone, Copy)]
pub struct SagaSettings {
    /// Whether there is a shipping service that makes the shipment of a paid order.
    pub ships: bool,
    /// For stock, coupon or payment, while the way is open.
    pub step: Duration,
    /// For a caller to pay a new order in manual mode, from its being CONFIRMED on, while the way is open.
    pub payment_window: Duration,
    /// From the making of the order to its payment, the way open or not; none, no limit. Not for the time that an order
    /// waits for a caller to pay it.
    pub completion: Option<Duration>,
    /// For giving back, at first; doubled with each attempt.
    pub compensation: Duration,
    /// For giving back at most, however often it was doubled.
    pub compensation_max: Duration,
    /// Attempts at giving back, before an operator has to look.
    pub compensation_attempts_max: u32,
}

/// Since when the ways that a saga waits on have been open; a blocked one, since now. A wait counts from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSince {
    /// From the order service to Kafka, and from Kafka to it.
    pub own: Timestamp,
    /// To the inventory service and back.
    pub stock: Timestamp,
    /// To the payment service and back.
    pub payment: Timestamp,
    /// To the promotion service and back.
    pub coupon: Timestamp,
}

impl Saga {
    /// The saga of a new order: stock has been asked for.
    pub fn begin(now: Timestamp) -> Self {
        Self {
            step: Step::Reserving,
            stock: Participant::Asked,
            payment: Participant::Idle,
            coupon: Participant::Idle,
            shipment: Participant::Idle,
            line_discounts: Vec::new(),
            pending: None,
            undo_attempts: 0,
            modifying: None,
            releases: 0,
            refunds: 0,
            coupon_requests: 0,
            step_time: now,
        }
    }

    /// The saga of a new order with a coupon: that was asked for too.
    pub fn begin_with_coupon(now: Timestamp) -> Self {
        Self { coupon: Participant::Asked, coupon_requests: 1, ..Self::begin(now) }
    }

    /// When the present step's time is up if nothing blocks its way; none when it may take for ever.
    pub fn deadline(&self, settings: &SagaSettings) -> Option<Timestamp> {
        self.patience(settings).map(|patience| self.step_time + patience)
    }

    /// When the present step's time is up, counted from when its way was open: it has all of its time again after an
    /// outage. Giving back waits for the own part of the way alone: when the service that holds the stock or the money
    /// is away for long, an operator has to hear of it.
    pub fn deadline_on_open_way(&self, settings: &SagaSettings, open: &OpenSince) -> Option<Timestamp> {
        let since = match self.step {
            Step::Reserving => {
                let parts = [(self.stock, open.stock), (self.coupon, open.coupon)];
                let waited_for = parts.into_iter().filter(|(part, _)| *part == Participant::Asked);
                waited_for.map(|(_, since)| since).max().unwrap_or(open.own)
            }
            Step::Paying => open.payment,
            Step::Modifying => match self.modifying.map(|modifying| modifying.awaited) {
                Some(Awaited::Payment) => open.payment,
                _ => open.stock,
            },
            _ => open.own,
        };
        self.patience(settings).map(|patience| self.step_time.max(since) + patience)
    }

    /// When an order made at `create_time` has to be paid, the way open or not; none, whenever.
    pub fn completion_deadline(&self, settings: &SagaSettings, create_time: Timestamp) -> Option<Timestamp> {
        let waits = match self.step {
            Step::Reserving | Step::Paying => true,
            Step::Modifying => self.payment == Participant::Idle,
            _ => false,
        };
        settings.completion.filter(|_| waits).map(|limit| create_time + limit)
    }

    /// How long the present step may stay unanswered.
    fn patience(&self, settings: &SagaSettings) -> Option<Duration> {
        match self.step {
            Step::Reserving | Step::Paying | Step::Modifying => Some(settings.step),
            Step::Compensating => {
                let doubled = settings.compensation.saturating_mul(1_u32 << self.undo_attempts.min(20));
                Some(doubled.min(settings.compensation_max.max(settings.compensation)))
            }
            Step::Completed | Step::Compensated | Step::CompensationFailed | Step::Rejected => None,
        }
    }
}

/// What moves the saga.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The order names a SKU that the product service does not have; it has been asked.
    ProductsUnknown {
        /// Which, for people.
        detail: String,
    },
    /// The stock of all lines is held.
    StockReserved,
    /// The stock of a line cannot be held, and none is.
    StockRejected {
        /// `OUT_OF_STOCK` or `UNKNOWN_SKU`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// No stock is held any more, nor ever will be: the answer to a request, or a release that the order did not request.
    StockReleased {
        /// Whether it was held for too long.
        expired: bool,
    },
    /// The coupon is held.
    CouponHeld {
        /// What it takes off each line, in the order of the lines.
        line_discounts: Vec<Money>,
    },
    /// The coupon cannot be used for this order, and is not held.
    CouponRejected {
        /// `COUPON_EXPIRED`, `COUPON_ALREADY_USED` …
        reason: String,
        /// For people.
        detail: String,
    },
    /// No coupon is held any more, nor ever will be.
    CouponRestored,
    /// The coupon leaves nothing to pay.
    NothingToPay,
    /// The total was taken.
    PaymentCompleted { payment_id: String },
    /// The total was not taken, and will not be.
    PaymentFailed {
        /// `INSUFFICIENT_BALANCE`, `VOIDED` …
        reason: String,
    },
    /// The total was given back.
    PaymentRefunded,
    /// Other lines are wanted; the order has checked that they may be.
    ModificationRequested {
        /// Version of the order that asks.
        order_version: i64,
    },
    /// No payment of the order as it was at this version is taken any more.
    PaymentHeldBack { order_version: i64 },
    /// The stock of the new lines is held, in place of that of the former ones.
    StockModified {
        /// Version of the order that asked.
        order_version: i64,
    },
    /// The stock of a new line cannot be held; that of the former ones still is.
    StockModificationRejected {
        /// Version of the order that asked.
        order_version: i64,
        /// `OUT_OF_STOCK` or `UNKNOWN_SKU`.
        reason: String,
        /// For people.
        detail: String,
    },
    /// The step's time is up.
    DeadlinePassed,
    /// The time is up in which a caller had to pay.
    PaymentDeadlinePassed,
    /// The order was called off; the order has checked that it may be.
    CancelRequested { cause: CancellationCause, detail: String },
    /// There is a shipment.
    ShipmentCreated,
    /// Shipped: the stock has left the warehouse, nothing can be given back any more.
    Shipped,
    /// An operator has a failed compensation tried again.
    RetryRequested { operator: String, reason: String },
    /// An operator has put right by hand what a failed compensation owes.
    SettleRequested { operator: String, reason: String },
}
