//! What facts change in the sums. All of it is added: in whatever order and in whatever batches facts come, and however
//! they are spread over shards, the sums end up the same.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use openorder_types::{Currency, Sku, Timestamp};
use uuid::Uuid;

use crate::domain::{Change, Fact, Hour, OrderStatus, Origin, Reason, Sale, Trade, window::kept_day};

/// What sums hold from the beginning: the events of the order service's log up to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Base {
    pub position: i64,
    /// The newest id among these events: a log that was restored gives their positions to others, with later ids.
    pub newest_id: Uuid,
}

impl Base {
    /// Whether the event is counted already.
    pub fn holds(&self, origin: &Origin) -> bool {
        let stood_there = origin.position.is_none_or(|position| position <= self.position);
        origin.is_logged && stood_there && origin.event_id <= self.newest_id
    }
}

/// Sums of one hour and one currency, or what is to be added to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SalesSums {
    pub orders: i64,
    pub quantity: i64,
    /// Minor units, like the others.
    pub gross_minor: i128,
    pub net_minor: i128,
    pub refunded_orders: i64,
    pub refunded_quantity: i64,
    pub refunded_minor: i128,
}

/// A product's sums are of a day and a currency.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProductKey {
    pub sku: Sku,
    pub currency: Currency,
    pub day: NaiveDate,
}

/// What is to be added to a product's sums, and its name by the newest of the events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProductDelta {
    pub quantity: i64,
    pub revenue_minor: i128,
    pub display_name: String,
    pub named_by: Uuid,
}

/// What a batch changes, in the order of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deltas {
    pub sales: BTreeMap<(Hour, Currency), SalesSums>,
    pub products: BTreeMap<ProductKey, ProductDelta>,
    /// By the hour in which orders were made.
    pub orders: BTreeMap<(Hour, OrderStatus, Reason), i64>,
}

impl Deltas {
    /// Adds what a fact changes. `now` is of the batch: it stands for the time of a fact that does not tell it, and says
    /// which days are old.
    pub fn add(&mut self, fact: &Fact, now: Timestamp) {
        let Change { made, from, to, reason, trade } = &fact.change;
        if let Some(from) = from {
            *self.orders.entry((*made, *from, Reason::none())).or_default() -= 1;
        }
        *self.orders.entry((*made, *to, reason.clone())).or_default() += 1;
        let time = fact.time.unwrap_or(now);
        match trade {
            Some(Trade::Sold(sale)) => {
                let sums = self.sales.entry((Hour::of(time), sale.total.currency())).or_default();
                sums.orders += 1;
                sums.quantity += quantity(sale);
                sums.gross_minor += gross_minor(sale);
                sums.net_minor += i128::from(sale.total.minor_units());
                self.add_products(sale, 1, time, now, fact.origin.event_id);
            }
            Some(Trade::GivenBack(sale)) => {
                let sums = self.sales.entry((Hour::of(time), sale.total.currency())).or_default();
                sums.refunded_orders += 1;
                sums.refunded_quantity += quantity(sale);
                sums.refunded_minor += i128::from(sale.total.minor_units());
                self.add_products(sale, -1, time, now, fact.origin.event_id);
            }
            None => {}
        }
    }

    fn add_products(&mut self, sale: &Sale, sign: i64, time: Timestamp, now: Timestamp, event_id: Uuid) {
        let (currency, day) = (sale.total.currency(), kept_day(time.date_naive(), now.date_naive()));
        for line in &sale.lines {
            let key = ProductKey { sku: line.sku.clone(), currency, day };
            let delta = self.products.entry(key).or_default();
            delta.quantity += sign * line.quantity;
            let revenue = i128::from(line.gross_minor) - i128::from(line.discount_minor);
            delta.revenue_minor += i128::from(sign) * revenue;
            if event_id >= delta.named_by {
                delta.named_by = event_id;
                delta.display_name.clone_from(&line.display_name);
            }
        }
    }

    /// Forgets what came to nothing, such as of an order that was accepted and confirmed in one batch.
    #[must_use]
    pub fn without_zeroes(mut self) -> Self {
        self.orders.retain(|_, orders| *orders != 0);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.sales.is_empty() && self.products.is_empty() && self.orders.is_empty()
    }
}

fn quantity(sale: &Sale) -> i64 {
    sale.lines.iter().map(|line| line.quantity).sum()
}

fn gross_minor(sale: &Sale) -> i128 {
    sale.lines.iter().map(|line| i128::from(line.gross_minor)).sum()
}

#[cfg(test)]
mod tests;
