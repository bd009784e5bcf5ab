//! What an event says of an order, as far as it is counted.

use openorder_types::{Money, Sku, Timestamp, numbered};
use uuid::Uuid;

use crate::domain::Hour;

numbered! {
    /// Status of an order; numbered as `openorder.order.v1.OrderStatus`.
    pub enum OrderStatus {
        Pending = 5 "PENDING",
        Confirmed = 10 "CONFIRMED",
        Paid = 15 "PAID",
        Preparing = 20 "PREPARING",
        Shipped = 25 "SHIPPED",
        Delivered = 80 "DELIVERED",
        Cancelled = 90 "CANCELLED",
        Rejected = 95 "REJECTED",
    }
}

impl OrderStatus {
    /// Whether the order was paid and is not called off.
    pub const fn is_sold(self) -> bool {
        matches!(self, Self::Paid | Self::Preparing | Self::Shipped | Self::Delivered)
    }

    /// Whether nothing follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Cancelled | Self::Rejected)
    }
}

/// Why an order is cancelled or rejected: a stable word, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Reason(String);

impl Reason {
    /// Stands for what is no stable word: each reason has rows of its own, so that they have to be few.
    const OTHER: &str = "OTHER";
    const LENGTH_MAX: usize = 64;

    pub fn of(text: &str) -> Self {
        let is_word = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        let is_stable = !text.is_empty() && text.len() <= Self::LENGTH_MAX && text.chars().all(is_word);
        Self(if is_stable { text } else { Self::OTHER }.to_owned())
    }

    /// Of an order that is neither cancelled nor rejected.
    pub const fn none() -> Self {
        Self(String::new())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An event of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub origin: Origin,
    /// When it happened, where its id tells.
    pub time: Option<Timestamp>,
    pub change: Change,
}

/// Which event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub event_id: Uuid,
    /// Whether it stands in the log of the order service, as events of nobody else do.
    pub is_logged: bool,
    /// Where it stands there; none where its record does not say so, as those of former versions.
    pub position: Option<i64>,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The hour in which the order was made.
    pub made: Hour,
    /// None of a new order.
    pub from: Option<OrderStatus>,
    pub to: OrderStatus,
    /// Why it has its new status; of a former one it has none.
    pub reason: Reason,
    pub trade: Option<Trade>,
}

/// What changes hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trade {
    /// The order was paid.
    Sold(Sale),
    /// A paid order was called off.
    GivenBack(Sale),
}

/// What an order is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// What was paid: the lines less their discounts.
    pub total: Money,
    pub lines: Vec<SoldLine>,
}

/// A line, in the currency of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoldLine {
    pub sku: Sku,
    pub display_name: String,
    pub quantity: i64,
    /// Before the discount.
    pub gross_minor: i64,
    /// This line's part of the order's discount.
    pub discount_minor: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_stable_word_or_another_one() {
        for (text, expected) in [
            ("OUT_OF_STOCK", "OUT_OF_STOCK"),
            ("", "OTHER"),
            ("out of stock", "OTHER"),
            ("Ä", "OTHER"),
            (&"A".repeat(65), "OTHER"),
            (&"A".repeat(64), &"A".repeat(64)),
        ] {
            assert_eq!(Reason::of(text).as_str(), expected);
        }
        assert_eq!(Reason::none().as_str(), "");
    }
}
