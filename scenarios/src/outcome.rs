//! What came of a scenario: one line of the table.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use openorder_proto::order::v1::OrderStatus;
use sqlx::Row;
use uuid::Uuid;

use crate::load::{Ledger, Names};
use crate::{Fleet, Verified};

/// How long the last orders may take to come to their end once nothing is broken any more.
const SETTLE_BOUND: Duration = Duration::from_secs(120);

/// Violations that are told with a failed scenario.
const VIOLATIONS_SHOWN: usize = 10;

/// What came of a scenario.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was broken.
    pub broken: String,
    /// How often.
    pub times: usize,
    /// Orders that callers wanted.
    pub offered: u64,
    /// Orders that were answered.
    pub accepted: usize,
    /// Accepted orders that came to their end: prepared, sent or delivered, cancelled or rejected.
    pub completed: usize,
    /// Of these, prepared.
    pub prepared: usize,
    /// Accepted orders that nobody knows.
    pub lost: usize,
    /// Orders that nobody asked for, and requests that made two.
    pub doubled: usize,
    /// Gaps and turned-round versions, in logs and topics.
    pub out_of_order: i64,
    /// Stock levels and reservations that do not add up.
    pub oversold: i64,
    /// The longest time from the end of a break until a new order was at its end.
    pub recovery: Duration,
    /// What else is wrong.
    pub wrong: Vec<String>,
    /// What else is worth telling.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Waits until all orders are at their end, then compares the ledger with what the system holds and has it verified.
    pub async fn of(fleet: &Fleet, names: &Names, ledger: Ledger) -> Self {
        let mut outcome = Self::at_end(fleet, names, ledger).await;
        outcome.verified(fleet.verify(&["--settle", "10s"]).await);
        outcome
    }

    /// Waits until all orders are at their end, then compares the ledger with what the system holds.
    pub async fn at_end(fleet: &Fleet, names: &Names, ledger: Ledger) -> Self {
        let mut outcome = Self { offered: ledger.offered, ..Self::default() };
        let accepted: HashSet<&String> = ledger.accepted.values().collect();
        outcome.accepted = accepted.len();
        let orders = settled(fleet, names).await;
        let known: HashSet<String> = orders.iter().map(|(order_id, ..)| order_id.to_string()).collect();
        outcome.completed = orders.iter().filter(|(_, status, is_settled)| *is_settled && is_end(*status)).count();
        outcome.prepared = orders.iter().filter(|(_, status, _)| *status == OrderStatus::Preparing as i32).count();
        outcome.lost = accepted.iter().filter(|order_id| !known.contains(**order_id)).count();
        let unasked = known.iter().filter(|order_id| !accepted.contains(order_id)).count();
        // A refused request made no order.
        outcome.doubled = unasked + ledger.answered_twice.len() + (ledger.accepted.len() - accepted.len());
        if ledger.unanswered_tries > 0 {
            outcome.notes.push(format!("{} tries repeated", ledger.unanswered_tries));
        }
        if let Some(first) = ledger.refused.first() {
            outcome.wrong.push(format!("{} requests refused, such as {first}", ledger.refused.len()));
        }
        outcome
    }

    /// Takes over what came of another load.
    pub fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.accepted += other.accepted;
        self.completed += other.completed;
        self.prepared += other.prepared;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.oversold += other.oversold;
        self.wrong.extend(other.wrong);
        self.notes.extend(other.notes);
    }

    /// How many orders of a load are at their end now.
    pub async fn at_rest(fleet: &Fleet, names: &Names) -> usize {
        orders(fleet, names).await.iter().filter(|(_, status, is_settled)| *is_settled && is_end(*status)).count()
    }

    /// Takes over what `openorder verify` said.
    pub fn verified(&mut self, verified: Verified) {
        self.out_of_order += verified.number("versions", "violations");
        self.oversold += verified.number("stock", "violations");
        if verified.code == 0 {
            return;
        }
        self.wrong.push(format!("verify ended with {}", verified.code));
        self.wrong.extend(verified.describe(VIOLATIONS_SHOWN));
        self.wrong.extend(verified.errors());
    }

    /// Names what was broken, and how long the system took afterwards.
    #[must_use]
    pub fn broken(mut self, what: &str, times: usize, recovery: Duration) -> Self {
        (self.broken, self.times, self.recovery) = (what.to_owned(), times, recovery);
        self
    }

    /// Notes something that has to be so.
    pub fn expect(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.wrong.push(what.into());
        }
    }

    /// Whether all is as it should be.
    pub fn is_sound(&self) -> bool {
        self.lost == 0
            && self.doubled == 0
            && self.out_of_order == 0
            && self.oversold == 0
            && self.completed == self.accepted
            && self.accepted > 0
            && self.wrong.is_empty()
    }

    /// The line of the table, and what is wrong behind it.
    pub fn line(&self, name: &str) -> String {
        let verdict = if self.is_sound() { "ok" } else { "FAILED" };
        let mut line = format!(
            "{name:<14} {verdict:<7} {times:>3} × {broken:<44} offered {offered:>6} accepted {accepted:>6} completed {completed:>6} \
             lost {lost} doubled {doubled} out of order {out_of_order} oversold {oversold} recovered in {recovery:.1} s",
            times = self.times,
            broken = self.broken,
            offered = self.offered,
            accepted = self.accepted,
            completed = self.completed,
            lost = self.lost,
            doubled = self.doubled,
            out_of_order = self.out_of_order,
            oversold = self.oversold,
            recovery = self.recovery.as_secs_f64(),
        );
        if !self.notes.is_empty() {
            line.push_str(&format!(" ({})", self.notes.join(", ")));
        }
        for wrong in &self.wrong {
            line.push_str(&format!("\n{:14} {wrong}", ""));
        }
        line
    }
}

/// All orders of a load, once they are at their end or the bound has passed.
async fn settled(fleet: &Fleet, names: &Names) -> Vec<(Uuid, i32, bool)> {
    let started = Instant::now();
    loop {
        let orders = orders(fleet, names).await;
        let is_done = orders.iter().all(|(_, status, is_settled)| *is_settled && is_end(*status));
        if is_done || started.elapsed() > SETTLE_BOUND {
            return orders;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// All orders of a load: id, status, whether the saga rests.
async fn orders(fleet: &Fleet, names: &Names) -> Vec<(Uuid, i32, bool)> {
    let mut connection = fleet.database("order").await;
    let rows = sqlx::query("select order_id, status, saga_step from orders where customer_id like $1")
        .bind(format!("{}%", names.customers()))
        .fetch_all(&mut connection)
        .await
        .expect("the orders");
    let orders = rows.iter().map(|row| {
        let (status, step): (i16, i16) = (row.get("status"), row.get("saga_step"));
        (row.get("order_id"), i32::from(status), [3, 5, 7].contains(&step))
    });
    orders.collect()
}

fn is_end(status: i32) -> bool {
    let ends = [
        OrderStatus::Preparing,
        OrderStatus::Shipped,
        OrderStatus::Delivered,
        OrderStatus::Cancelled,
        OrderStatus::Rejected,
    ];
    ends.iter().any(|end| *end as i32 == status)
}
