//! What a reservation and its order say of each other.

use chrono::TimeDelta;
use openorder_types::{Timestamp, numbered};

use crate::domain::{Reservation, ReservationState};

/// Phase of an order, as far as its stock goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderPhase {
    /// Its stock or its payment is not decided.
    Open,
    /// Paid: its stock must stay.
    Paid,
    /// With the carrier or the customer: its stock has left.
    Shipped,
    /// Cancelled or rejected: it needs no stock.
    Settled,
}

/// State of an order, as its service answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderState {
    /// Phase of the order.
    pub phase: OrderPhase,
    /// Number of its status in `openorder.order.v1.OrderStatus`.
    pub status: i16,
    /// When it last changed.
    pub update_time: Timestamp,
    /// Until when it may wait for its customer to pay it; none if it does not.
    pub payment_deadline: Option<Timestamp>,
}

impl OrderState {
    /// Since when an order that is neither paid nor settled should be one of them, where what is held for it was held
    /// until `expired`.
    fn is_late_since(&self, expired: Timestamp) -> Timestamp {
        self.payment_deadline.map_or(expired, |deadline| deadline.max(expired))
    }
}

numbered! {
    /// A contradiction that no rule resolves; numbered as `openorder.inventory.v1.ReservationMismatchKind`.
    pub enum MismatchKind {
        /// The reservation has run out of time, and the order is neither paid nor settled: its saga is stuck.
        OpenButExpired = 1 "OPEN_BUT_EXPIRED",
        /// The order was shipped, and its pieces still count as held.
        ShippedButHeld = 2 "SHIPPED_BUT_HELD",
        /// The order is paid or shipped, and nothing is held.
        PaidButReleased = 3 "PAID_BUT_RELEASED",
    }
}

/// What follows from comparing a reservation with its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationCheck {
    /// They agree, or may still be about to.
    Fine,
    /// The order is paid: what is held is held for good.
    Keep,
    /// Nobody needs what is held: it is given back.
    GiveBack,
    /// They contradict each other: a person has to look.
    Mismatch(MismatchKind),
}

/// Checks a reservation that ran out of time at `expired`. The order decides: what it still may need is never
/// given back, and an order that its service does not know will never be paid.
pub fn check_expired(
    order: Option<&OrderState>,
    expired: Timestamp,
    grace: TimeDelta,
    now: Timestamp,
) -> ReservationCheck {
    let Some(order) = order else { return ReservationCheck::GiveBack };
    match order.phase {
        OrderPhase::Paid | OrderPhase::Shipped => ReservationCheck::Keep,
        OrderPhase::Open if order.is_late_since(expired) + grace <= now => {
            ReservationCheck::Mismatch(MismatchKind::OpenButExpired)
        }
        OrderPhase::Open => ReservationCheck::Fine,
        OrderPhase::Settled => ReservationCheck::GiveBack,
    }
}

/// Checks any reservation; a contradiction counts once what both say is older than `grace`: before, the news may be on
/// its way.
pub fn check_reservation(
    reservation: &Reservation,
    order: Option<&OrderState>,
    grace: TimeDelta,
    now: Timestamp,
) -> ReservationCheck {
    let Some(order) = order else { return ReservationCheck::Fine };
    if reservation.update_time.max(order.update_time) + grace > now {
        return ReservationCheck::Fine;
    }
    match (reservation.state, order.phase) {
        (ReservationState::Held, OrderPhase::Settled) => ReservationCheck::GiveBack,
        (ReservationState::Held, OrderPhase::Shipped) => ReservationCheck::Mismatch(MismatchKind::ShippedButHeld),
        (ReservationState::Held, OrderPhase::Open) => match reservation.expire_time {
            Some(time) if order.is_late_since(time) + grace <= now => {
                ReservationCheck::Mismatch(MismatchKind::OpenButExpired)
            }
            _ => ReservationCheck::Fine,
        },
        (ReservationState::Released | ReservationState::Rejected, OrderPhase::Paid | OrderPhase::Shipped) => {
            ReservationCheck::Mismatch(MismatchKind::PaidButReleased)
        }
        _ => ReservationCheck::Fine,
    }
}
