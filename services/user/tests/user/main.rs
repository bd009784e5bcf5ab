//! The user service over real PostgreSQL and Kafka: what callers and the gateway see of it, and what nobody is to see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot have what it needs fails"
)]

mod accounts;
mod keys;
mod passwords;
mod refreshes;
mod secrets;
mod world;
