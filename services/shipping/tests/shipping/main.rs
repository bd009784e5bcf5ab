//! The shipping service over real PostgreSQL and Kafka: what other services and callers see of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot have what it needs fails"
)]

mod callers;
mod carriers;
mod orders;
mod races;
mod support;
