//! The cart service over real Redis, PostgreSQL and Kafka, as its callers see it. The order service and the product service
//! are played.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot have what it needs fails"
)]

mod changes;
mod checkouts;
mod merges;
mod orders;
mod outages;
mod played;
mod world;
