//! The analytics service over real PostgreSQL, Kafka and Redis, as its callers see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot have what it needs fails"
)]

mod counts;
mod orders;
mod periods;
mod ranking;
mod rebuilds;
mod world;
