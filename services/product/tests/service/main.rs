//! The product service over real PostgreSQL and Kafka, as its callers and its followers see it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot have what it needs fails")]

mod catalogue;
mod events;
mod world;
