//! The payment service over real PostgreSQL and Kafka: what other services and callers see of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod histories;
mod lists;
mod orders;
mod restarts;
mod support;
mod wallets;
