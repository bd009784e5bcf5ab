//! The engine against real Kafka and PostgreSQL. One program: what each of so many would link again is most of their build.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

mod clients;
mod committer;
mod consumer;
mod desk;
mod event_log;
mod failures;
mod foreign;
mod former_headers;
mod former_results;
mod prepare;
mod rebalance;
mod relay;
