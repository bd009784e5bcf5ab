//! The saga as a pure machine: every step's failure, timeout and lost answer, every compensation and its failure.
//!
//! - `steps`: each signal at each step has a defined answer;
//! - `participants`, `world`: stock and payment as they promise to behave, and the messages between them and the order;
//! - `clean_slate`: each step fails in each way, each undo is slow, doubled or lost, and all is as it was before;
//! - `histories`: the same over random histories, where everything is late, doubled and out of order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clean_slate;
mod histories;
mod participants;
mod steps;
mod world;

use std::time::Duration;

use chrono::{TimeZone, Utc};
use openorder_order::saga::{SagaTimeouts, Signal};
use openorder_types::Timestamp;

const TIMEOUTS: SagaTimeouts = SagaTimeouts {
    step: Duration::from_secs(60),
    completion: None,
    compensation: Duration::from_secs(10),
    compensation_max: Duration::from_secs(60),
    compensation_attempts_max: 5,
};

fn at(seconds: i64) -> Timestamp {
    Utc.timestamp_opt(1_800_000_000 + seconds, 0).unwrap()
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
