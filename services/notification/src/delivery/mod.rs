//! Messages that leave the machine. An effect outside the database: each one is claimed, attempted and recorded.
//!
//! - [`workers`]: one worker for each channel that leaves the machine;
//! - [`worker`]: takes what is due of one channel in bounded batches, one of an order at a time;
//! - [`attempt`]: one message: claimed, attempted, recorded;
//! - [`claim`]: who may send a notification now, and that it was sent, in Redis;
//! - [`provider`]: what every provider is to the worker, and what its answers mean;
//! - [`smtp`], [`http`]: the providers;
//! - [`breaker`]: a provider that fails is left alone for a while;
//! - [`certificates`]: whom the connections trust.
//!
//! What is promised and what is not: docs/notifications.md.

mod attempt;
mod breaker;
mod certificates;
mod claim;
mod http;
mod provider;
mod smtp;
mod worker;
mod workers;

pub(crate) use workers::Workers;
