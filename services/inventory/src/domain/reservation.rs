//! What is held for one order: all of its lines or none.

use std::collections::HashMap;

use openorder_types::{Quantity, Sku, Timestamp};
use uuid::Uuid;

use crate::domain::StockLevel;

/// Pieces of one SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Stock keeping unit.
    pub sku: Sku,
    /// Pieces.
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

/// Where a reservation stands; numbered as `openorder.inventory.v1.ReservationState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationState {
    /// The pieces are held.
    Held = 1,
    /// The pieces left with the order.
    Shipped = 2,
    /// Given back, or called off before anything was held.
    Released = 3,
    /// The stock did not suffice.
    Rejected = 4,
}

impl ReservationState {
    /// From its number.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Held, Self::Shipped, Self::Released, Self::Rejected].into_iter().find(|state| *state as i16 == number)
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
    /// Why.
    pub reason: ShortfallReason,
}

/// What is held for one order. There is one at most for an order, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The order.
    pub order_id: Uuid,
    /// What is or was to be held.
    pub lines: Vec<Line>,
    /// Where it stands.
    pub state: ReservationState,
    /// Why it was released or rejected; else empty.
    pub reason: String,
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
    /// Decides on holding `lines` and takes them from `levels`: all or none. At `expire_time` it is looked at whether
    /// the order still needs them.
    pub fn decide(
        order_id: Uuid,
        mut lines: Vec<Line>,
        levels: &mut HashMap<Sku, StockLevel>,
        now: Timestamp,
        expire_time: Timestamp,
    ) -> (Self, Vec<Shortfall>) {
        let shortfalls: Vec<Shortfall> = lines.iter().filter_map(|line| shortfall(line, levels)).collect();
        let (state, reason) = match rejection_reason(&shortfalls) {
            None => (ReservationState::Held, String::new()),
            Some(reason) => (ReservationState::Rejected, reason.as_str().to_owned()),
        };
        if state == ReservationState::Held {
            for line in &mut lines {
                if let Some(level) = levels.get_mut(&line.sku) {
                    level.reserve(line.quantity.get());
                    line.product_number = level.product_number;
                }
            }
        }
        let expire_time = (state == ReservationState::Held).then_some(expire_time);
        let (create_time, update_time) = (now, now);
        let made = Self { order_id, lines, state, reason, version: 1, create_time, update_time, expire_time };
        (made, shortfalls)
    }

    /// An order that was called off before its stock was held: nothing will be held for it.
    pub fn tombstone(order_id: Uuid, reason: String, now: Timestamp) -> Self {
        let (create_time, update_time) = (now, now);
        Self {
            order_id,
            lines: Vec::new(),
            state: ReservationState::Released,
            reason,
            version: 1,
            create_time,
            update_time,
            expire_time: None,
        }
    }

    /// Whether what is held has run out of time.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.state == ReservationState::Held && self.expire_time.is_some_and(|time| time <= now)
    }

    /// Gives back what is held. Returns the lines that were; `None` when they have left the warehouse.
    /// A second release gives nothing back and is answered all the same.
    pub fn release(
        &mut self,
        reason: String,
        levels: &mut HashMap<Sku, StockLevel>,
        now: Timestamp,
    ) -> Option<Vec<Line>> {
        let given_back = match self.state {
            ReservationState::Shipped => return None,
            ReservationState::Held => self.lines.clone(),
            ReservationState::Released | ReservationState::Rejected => Vec::new(),
        };
        for line in &given_back {
            if let Some(level) = levels.get_mut(&line.sku) {
                if level.is_later_than(line.product_number) {
                    level.retire(line.quantity.get());
                } else {
                    level.release(line.quantity.get());
                }
            }
        }
        if self.state != ReservationState::Released {
            self.reason = reason;
        }
        self.state = ReservationState::Released;
        self.expire_time = None;
        self.version += 1;
        self.update_time = now;
        Some(given_back)
    }

    /// The held pieces leave. Returns the lines that left; none unless they were held.
    pub fn ship(&mut self, levels: &mut HashMap<Sku, StockLevel>, now: Timestamp) -> Vec<Line> {
        if self.state != ReservationState::Held {
            return Vec::new();
        }
        for line in &self.lines {
            if let Some(level) = levels.get_mut(&line.sku) {
                level.ship(line.quantity.get());
            }
        }
        self.state = ReservationState::Shipped;
        self.expire_time = None;
        self.update_time = now;
        self.lines.clone()
    }
}

/// An unknown SKU outweighs one that is out of stock.
fn rejection_reason(shortfalls: &[Shortfall]) -> Option<ShortfallReason> {
    let unknown = shortfalls.iter().find(|shortfall| shortfall.reason == ShortfallReason::UnknownSku);
    unknown.or(shortfalls.first()).map(|shortfall| shortfall.reason)
}

fn shortfall(line: &Line, levels: &HashMap<Sku, StockLevel>) -> Option<Shortfall> {
    let requested_quantity = line.quantity.get();
    let (available_quantity, reason) = match levels.get(&line.sku) {
        None => (0, ShortfallReason::UnknownSku),
        // The product that was ordered is no longer sold, or not known here; the one that has its SKU is another.
        Some(level) if level.is_of_another(line.product_number) => (0, ShortfallReason::UnknownSku),
        Some(level) if level.available_quantity() < requested_quantity => {
            (level.available_quantity(), ShortfallReason::OutOfStock)
        }
        Some(_) => return None,
    };
    Some(Shortfall { sku: line.sku.clone(), requested_quantity, available_quantity, reason })
}
