//! The notification service over real PostgreSQL, Kafka and Redis, as its callers and its neighbours see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot have what it needs fails"
)]

mod crashes;
mod history;
mod http_channels;
mod http_provider;
mod lists;
mod mail;
mod maildev;
mod outages;
mod sending;
mod tls;
mod world;
