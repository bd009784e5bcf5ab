//! What the order service tells of an order.

use std::collections::BTreeMap;

use openorder_types::{Money, Timestamp, UserId};

use crate::domain::{Latest, Stamp};

/// Steps in the trouble of giving back that a document keeps, the last ones: operators may have it tried again for ever.
const COMPENSATIONS_MAX: usize = 20;
/// Statuses whose times a document keeps: there are eight, and a newer version may know more.
const STATUSES_MAX: usize = 32;

/// What is said when an order is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub customer_id: UserId,
    pub create_time: Timestamp,
    /// Of the call that made it; empty: none.
    pub trace_id: String,
    /// Empty: none.
    pub issued_coupon_id: String,
}

/// Where the order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of the status, which a newer version may have added.
    pub status: i32,
    /// None where a SKU was unknown.
    pub total: Option<Money>,
}

/// One position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub sku: String,
    pub display_name: String,
    pub quantity: i32,
    pub unit_price: Option<Money>,
    pub line_total: Option<Money>,
    /// What the coupon takes off it.
    pub discount: Option<Money>,
    pub product_number: i64,
}

/// Why an order is cancelled or rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Stable, `UPPER_SNAKE`.
    pub reason: String,
    /// For people.
    pub detail: String,
    /// Number of what called it off; 0: nothing did.
    pub cause: i32,
}

/// One step in the trouble of giving back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compensation {
    /// Number of the step.
    pub step: i32,
    pub stock: bool,
    pub payment: bool,
    pub coupon: bool,
    pub undo_attempts: i32,
    /// In the operator's words; empty where there is none.
    pub reason: String,
    /// Empty where there is none.
    pub operator: String,
}

/// What one event of an order says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderSaid {
    pub head: Head,
    pub created: Option<Created>,
    pub lines: Option<Vec<Line>>,
    /// What the coupon takes off.
    pub discount: Option<Money>,
    pub ending: Option<Ending>,
    /// With it, the order is at the status that it was at before.
    pub compensation: Option<Compensation>,
}

/// What the events of an order have said. Each part is told by some of them only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderPart {
    pub created: Latest<Created>,
    pub head: Latest<Head>,
    pub lines: Latest<Vec<Line>>,
    pub discount: Latest<Money>,
    pub ending: Latest<Ending>,
    /// By the number of the status.
    pub reached: BTreeMap<i32, Stamp>,
    /// By the version of the order.
    pub compensations: BTreeMap<i64, (Stamp, Compensation)>,
}

impl OrderPart {
    pub(super) fn hear(&mut self, stamp: Stamp, said: &OrderSaid) {
        self.head.hear(stamp, said.head.clone());
        if let Some(created) = &said.created {
            self.created.hear(stamp, created.clone());
        }
        if let Some(lines) = &said.lines {
            self.lines.hear(stamp, lines.clone());
        }
        if let Some(discount) = said.discount {
            self.discount.hear(stamp, discount);
        }
        if let Some(ending) = &said.ending {
            self.ending.hear(stamp, ending.clone());
        }
        match &said.compensation {
            Some(compensation) => self.add_compensation(stamp, compensation.clone()),
            None => self.reach(said.head.status, stamp),
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.created.merge(other.created);
        self.head.merge(other.head);
        self.lines.merge(other.lines);
        self.discount.merge(other.discount);
        self.ending.merge(other.ending);
        for (status, stamp) in other.reached {
            self.reach(status, stamp);
        }
        for (stamp, compensation) in other.compensations.into_values() {
            self.add_compensation(stamp, compensation);
        }
    }

    /// An order comes to a status once; where versions are given once more, the later event stays.
    fn reach(&mut self, status: i32, stamp: Stamp) {
        let known = self.reached.entry(status).or_insert(stamp);
        *known = stamp.max(*known);
        while self.reached.len() > STATUSES_MAX {
            // Those that are kept are the same in whatever order they came.
            self.reached.pop_last();
        }
    }

    fn add_compensation(&mut self, stamp: Stamp, compensation: Compensation) {
        let known = self.compensations.entry(stamp.version).or_insert_with(|| (stamp, compensation.clone()));
        if known.0 < stamp {
            *known = (stamp, compensation);
        }
        while self.compensations.len() > COMPENSATIONS_MAX {
            self.compensations.pop_first();
        }
    }

    /// Whether it is known who made it, and when.
    pub fn is_made(&self) -> bool {
        self.created.value().is_some()
    }
}
