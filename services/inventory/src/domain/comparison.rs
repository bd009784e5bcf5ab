//! What a reservation and its order say of each other.

use chrono::TimeDelta;
use openorder_types::Timestamp;

use crate::domain::{Reservation, ReservationState};

/// Where an order stands, as far as its stock goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its stock or its payment is not decided.
    Open,
    /// Paid: its stock must stay.
    Paid,
    /// With the carrier or the customer: its stock has left.
    Shipped,
    /// Cancelled or rejected: it needs no stock.
    Settled,
}

/// An order as its service told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderState {
    /// Where it stands.
    pub standing: Standing,
    /// Number of its status in `openorder.order.v1.OrderStatus`.
    pub status: i16,
    /// When it last changed.
    pub update_time: Timestamp,
}

/// A contradiction that no rule resolves; numbered as `openorder.inventory.v1.ReservationMismatchKind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MismatchKind {
    /// The reservation has run out of time, and the order is neither paid nor settled: its saga is stuck.
    OpenButExpired = 1,
    /// The order was shipped, and its pieces still count as held.
    ShippedButHeld = 2,
    /// The order is paid or shipped, and nothing is held.
    PaidButReleased = 3,
}

impl MismatchKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenButExpired, Self::ShippedButHeld, Self::PaidButReleased];

    /// From its number.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i16 == number)
    }

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenButExpired => "OPEN_BUT_EXPIRED",
            Self::ShippedButHeld => "SHIPPED_BUT_HELD",
            Self::PaidButReleased => "PAID_BUT_RELEASED",
        }
    }
}

/// What follows from comparing a reservation with its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They agree, or may still be about to.
    Fine,
    /// The order is paid: what is held is held for good.
    Keep,
    /// Nobody needs what is held: it is given back.
    GiveBack,
    /// They contradict each other: a person has to look.
    Mismatch(MismatchKind),
}

/// Judges what is held and has run out of time at `expired`. The order has the word: what it still may need is never
/// given back, and an order that its service does not know will never be paid.
pub fn judge_expired(order: Option<&OrderState>, expired: Timestamp, grace: TimeDelta, now: Timestamp) -> Verdict {
    match order.map(|order| order.standing) {
        Some(Standing::Paid | Standing::Shipped) => Verdict::Keep,
        Some(Standing::Open) if expired + grace <= now => Verdict::Mismatch(MismatchKind::OpenButExpired),
        Some(Standing::Open) => Verdict::Fine,
        Some(Standing::Settled) | None => Verdict::GiveBack,
    }
}

/// Judges any reservation; a contradiction counts once what both say is older than `grace`: before, the news may be on
/// its way.
pub fn judge(reservation: &Reservation, order: Option<&OrderState>, grace: TimeDelta, now: Timestamp) -> Verdict {
    let Some(order) = order else { return Verdict::Fine };
    if reservation.update_time.max(order.update_time) + grace > now {
        return Verdict::Fine;
    }
    match (reservation.state, order.standing) {
        (ReservationState::Held, Standing::Settled) => Verdict::GiveBack,
        (ReservationState::Held, Standing::Shipped) => Verdict::Mismatch(MismatchKind::ShippedButHeld),
        (ReservationState::Held, Standing::Open) => match reservation.expire_time {
            Some(time) if time + grace <= now => Verdict::Mismatch(MismatchKind::OpenButExpired),
            _ => Verdict::Fine,
        },
        (ReservationState::Released | ReservationState::Rejected, Standing::Paid | Standing::Shipped) => {
            Verdict::Mismatch(MismatchKind::PaidButReleased)
        }
        _ => Verdict::Fine,
    }
}
