//! The saga as a pure machine: every step's failure, timeout and lost answer, every compensation and its failure.
//!
//! - `steps`: each signal at each step has a defined answer;
//! - `participants`, `case`, `world`: stock, payment, coupon and parcel as they promise to behave, and the messages between them
//!   and the order;
//! - `coupons`: what an order with a coupon or a parcel does at each step;
//! - `by_hand`: what an order does that waits for its customer to pay it;
//! - `modifications`: an order whose lines are changed;
//! - `clean_slate`: each step fails in each way, each undo is slow, doubled or lost, and all is as it was before;
//! - `histories`: the same over random histories, where everything is late, doubled and out of order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod by_hand;
mod case;
mod clean_slate;
mod coupons;
mod histories;
mod modifications;
mod participants;
mod steps;
mod world;

use std::time::Duration;

use chrono::{TimeZone, Utc};
use openorder_order::saga::{SagaSettings, Signal};
use openorder_types::{Currency, Money, Timestamp};

const SETTINGS: SagaSettings = SagaSettings {
    ships: false,
    step: Duration::from_secs(60),
    payment_window: Duration::from_secs(900),
    completion: None,
    compensation: Duration::from_secs(10),
    compensation_max: Duration::from_secs(60),
    compensation_attempts_max: 5,
};

fn at(seconds: i64) -> Timestamp {
    Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
}

/// In minor units.
fn euros(minor_units: i64) -> Money {
    Money::new(minor_units, Currency::parse("EUR").unwrap())
}

fn paid() -> Signal {
    Signal::PaymentCompleted { payment_id: "p".to_owned() }
}

fn refused() -> Signal {
    Signal::PaymentFailed { reason: "INSUFFICIENT_BALANCE".to_owned() }
}

fn out_of_stock() -> Signal {
    Signal::StockRejected { reason: "OUT_OF_STOCK".to_owned(), detail: String::new() }
}
