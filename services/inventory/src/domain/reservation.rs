//! What is held for one order: all of its lines or none.

use openorder_types::{Quantity, Sku, Timestamp, numbered};
use uuid::Uuid;

/// Pieces of one SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Stock keeping unit.
    pub sku: Sku,
    /// Pieces to hold.
    pub quantity: Quantity,
    /// Which of the products that had this SKU was ordered; 0: not known, the present one.
    pub product_number: i64,
}

impl Line {
    /// Whether the two ask for the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.sku == other.sku && self.quantity == other.quantity
    }
}

numbered! {
    /// State of a reservation; numbered as `openorder.inventory.v1.ReservationState`.
    pub enum ReservationState {
        /// The pieces are held.
        Held = 1 "HELD",
        /// The pieces left with the order.
        Shipped = 2 "SHIPPED",
        /// Given back, or called off before anything was held.
        Released = 3 "RELEASED",
        /// The stock did not suffice.
        Rejected = 4 "REJECTED",
    }
}

/// Why a line cannot be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortfallReason {
    /// Fewer pieces are available.
    OutOfStock,
    /// There is no such SKU.
    UnknownSku,
}

impl ShortfallReason {
    /// Stable, `UPPER_SNAKE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfStock => "OUT_OF_STOCK",
            Self::UnknownSku => "UNKNOWN_SKU",
        }
    }
}

/// A line that cannot be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// The line's SKU.
    pub sku: Sku,
    /// Pieces asked for.
    pub requested_quantity: i64,
    /// Pieces available.
    pub available_quantity: i64,
    /// Why it cannot be held.
    pub reason: ShortfallReason,
}

/// What is held for one order. There is one at most for an order, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Order that the pieces are held for.
    pub order_id: Uuid,
    /// What is or was to be held.
    pub lines: Vec<Line>,
    /// Current state.
    pub state: ReservationState,
    /// Why it was released or rejected; else empty.
    pub reason: String,
    /// Version of the order that last asked for other lines; none, none did.
    pub modified_order_version: Option<i64>,
    /// One more for every event of the reservation.
    pub version: i64,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it is looked at whether the order still needs what is held; none once it is known to be paid, and when
    /// nothing is held.
    pub expire_time: Option<Timestamp>,
}

impl Reservation {
    /// All lines are held. At `expire_time` it is looked at whether the order still needs them.
    pub(crate) fn held(order_id: Uuid, lines: Vec<Line>, now: Timestamp, expire_time: Timestamp) -> Self {
        let made = Self::new(order_id, lines, ReservationState::Held, String::new(), now);
        Self { expire_time: Some(expire_time), ..made }
    }

    /// None of the lines is held.
    pub(crate) fn rejected(order_id: Uuid, lines: Vec<Line>, reason: ShortfallReason, now: Timestamp) -> Self {
        Self::new(order_id, lines, ReservationState::Rejected, reason.as_str().to_owned(), now)
    }

    /// The order was called off before its stock was held: nothing will be held for it.
    pub(crate) fn called_off(order_id: Uuid, reason: String, now: Timestamp) -> Self {
        Self::new(order_id, Vec::new(), ReservationState::Released, reason, now)
    }

    fn new(order_id: Uuid, lines: Vec<Line>, state: ReservationState, reason: String, now: Timestamp) -> Self {
        Self {
            order_id,
            lines,
            state,
            reason,
            modified_order_version: None,
            version: 1,
            create_time: now,
            update_time: now,
            expire_time: None,
        }
    }

    /// It was decided on a request for other lines.
    pub(crate) fn decide_modification(&mut self, order_version: i64, now: Timestamp) {
        self.modified_order_version = Some(order_version);
        self.version += 1;
        self.update_time = now;
    }

    /// Whether its lines ask for the same SKUs and quantities, in the same order.
    pub(crate) fn has_lines(&self, lines: &[Line]) -> bool {
        self.lines.len() == lines.len() && self.lines.iter().zip(lines).all(|(held, wanted)| held.is_same(wanted))
    }

    /// Whether what is held has run out of time.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.state == ReservationState::Held && self.expire_time.is_some_and(|time| time <= now)
    }
}
