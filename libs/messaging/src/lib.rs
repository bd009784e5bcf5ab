//! The delivery guarantees of OpenOrder; knows no business.
//!
//! Reading guide, in the order of an order's way:
//! - [`application`]: the one shape of all work, a use case takes a batch; [`stored_reply!`] for what it answers;
//! - [`committer`]: group commit for gRPC callers, with [`request_results`] for repeated commands;
//! - [`unit_of_work`] and [`event_log`]: state and events in one transaction; the log is event store and outbox;
//! - [`relay`]: publishes the log to Kafka by cursor, in batches that its topics take ([`fit`]); what its own process
//!   wrote comes to it by [`handoff`]; [`headers`] writes and reads the headers of its records;
//! - [`consumer`]: batches from Kafka, each event once in effect (inbox), failing keys parked, tried again, dead;
//! - [`dead_letters`]: copies of dead messages on their topic, for Kafka's tools;
//! - [`retention`]: the beginning of the log goes once it is old, and nothing of it that is needed;
//! - [`backbone`]: puts these together for a service.
//! - [`Table`]: the columns of a service's table, each named once, and the statements that write a batch of its rows;
//! - [`desk`]: what an operator does with what failed: look, replay, discard, redeliver;
//! - [`Freshness`]: up to when a consumer has taken over what Kafka had;
//! - [`lag`]: how far consumer groups are behind, as Kafka tells it;
//! - [`SharedReads`]: questions for single rows that are asked at the same time share a query;
//! - [`client`]: Kafka clients that live long: watched, replaced, closed;
//! - [`route`]: whether what is asked of others reaches them, so that a deadline may count;
//! - [`tail`], [`scan`]: watch a topic, or read all of it, from outside.

// What `migrations!` writes names this crate, also within it.
extern crate self as openorder_messaging;

#[cfg(test)]
mod allocations;
mod application;
mod backbone;
mod backlog;
mod client;
mod committer;
mod consumer;
mod database;
mod dead_letters;
mod deliveries;
pub mod desk;
mod event;
pub mod event_log;
mod fit;
mod handoff;
mod headers;
mod kafka;
pub mod lag;
mod linger;
mod locks;
mod maintenance;
mod metrics;
mod outage;
mod record;
mod relay;
#[doc(hidden)]
pub mod reply;
mod request_results;
mod retention;
mod route;
mod scan;
mod security;
mod settings;
mod shared_reads;
mod startup;
mod table;
mod tail;
mod unit_of_work;

pub use application::{Application, Envelope, Outcomes, Reply};
pub use backbone::{Backbone, Changes, RoleContext};
pub use backlog::{Unpublished, unpublished};
pub use client::{KafkaClient, group_offsets};
pub use committer::Committer;
pub use consumer::{
    Decode, Injects, Interest, InterestIn, Subscription,
    freshness::{Freshness, Seen, TopicPartition, oldest_parked},
};
pub use database::{OpenError, POSTGRES, migrator, open};
pub use event::{DecodeError, LoggedEvent, NewEvent, RawHeaders, Received};
pub use kafka::KAFKA;
pub use maintenance::first_id_of;
pub use openorder_migrations::migrations;
pub use request_results::RequestKey;
pub use route::RouteMonitor;
pub use scan::{ScanFrom, Scanned, Sequence, TopicScan, committed_offsets};
pub use settings::{CommitterSettings, ConsumerSettings, DatabaseSettings, KafkaSettings, RelaySettings, UnknownTypes};
pub use shared_reads::SharedReads;
pub use table::Table;
pub use tail::{Tail, TailError};
pub use unit_of_work::UnitOfWork;
