//! The delivery guarantees of OpenOrder; knows no business.
//!
//! Reading guide, in the order of an order's way:
//! - [`application`]: the one shape of all work, a use case takes a batch;
//! - [`committer`]: group commit for gRPC callers, with [`request_results`] for repeated commands;
//! - [`unit_of_work`] and [`event_log`]: state and events in one transaction; the log is event store and outbox;
//! - [`relay`]: publishes the log to Kafka by cursor, fenced;
//! - [`consumer`]: batches from Kafka, each event once in effect (inbox), failing keys parked;
//! - [`backbone`]: puts these together for a service.
//! - [`tail`]: watches a topic from outside.

mod application;
mod backbone;
mod committer;
mod consumer;
mod database;
mod deliveries;
mod event;
pub mod event_log;
mod kafka;
mod maintenance;
mod metrics;
mod relay;
mod request_results;
mod settings;
mod tail;
mod unit_of_work;

pub use application::{Application, Envelope, Outcomes, Reply};
pub use backbone::{Backbone, Changes, RoleContext};
pub use committer::Committer;
pub use consumer::{Decode, PassesOver, Subscription};
pub use database::{OpenError, POSTGRES, fault, open};
pub use event::{DecodeError, LoggedEvent, NewEvent, RawHeaders, Received};
pub use kafka::KAFKA;
pub use request_results::RequestKey;
pub use settings::{CommitterSettings, ConsumerSettings, DatabaseSettings, KafkaSettings, RelaySettings};
pub use tail::{Tail, TailError};
pub use unit_of_work::UnitOfWork;
