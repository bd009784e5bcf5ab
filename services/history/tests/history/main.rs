//! A running history service beside a log that publishes what services would.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot have what it needs fails"
)]

mod documents;
mod freshness;
mod lists;
mod rebuild;
mod story;
mod waiting;
mod world;
