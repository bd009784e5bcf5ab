//! The history service: the read side. One document an order, with everything that became of it, made of the events of all
//! services, and found by customer, product, status, reason, time, total and free words.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: a document is a merge of parts, so that events may come in any order and any number of times;
//! - `consumers/`: what the events of others say of a document (a file a topic);
//! - `application/`: a batch of events into documents; reading them; `rebuilder` builds all of them anew from the logs that
//!   `sources` reads; `freshness` knows up to when everything is in;
//! - `persistence/`: all the SQL; `body` is the stored form, `search` the ways to a page, `halves` which documents are in use;
//! - `grpc/`: parse, call, answer;
//! - [`serve`]: how it is put together.

#![allow(missing_docs, reason = "no crate imports the rules of a service: where a name says it all, it stands alone")]

mod application;
mod config;
mod consumers;
pub mod domain;
mod grpc;
mod persistence;
mod present;

use std::sync::{Arc, LazyLock};

use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;
use tokio::sync::Semaphore;

pub use config::HistorySettings;
pub use consumers::subscription;

use crate::application::{AsOf, History, Rebuilder, Sources, Views, watch_freshness};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec =
    ServiceSpec { role: "history", grpc_services: &["openorder.history.v1.HistoryService"], publishes: &[] };

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<HistorySettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<HistorySettings>) -> anyhow::Result<()> {
    let sources = Sources::new(&host)?;
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let (settings, backbone) = (service.settings().clone(), Arc::clone(service.backbone()));
    let subscription = consumers::subscription();
    let (freshness, as_of) = (backbone.follow_freshness(settings.freshness_interval()), AsOf::default());
    let (topics, interval) = (subscription.topics.clone(), settings.freshness_interval());
    let watch = watch_freshness(Arc::clone(&backbone), freshness, topics, as_of.clone(), interval);
    service.task("freshness", watch);
    let committer = service.run_with(Arc::new(History::new(&sources)), subscription);
    service.task("rebuild", Rebuilder::new(&backbone, sources, &settings).run());
    let routes = grpc::service(grpc::HistoryGrpc {
        views: Views::new(&backbone),
        as_of,
        committer,
        page_tokens: service.page_tokens(),
        waiters: Semaphore::new(settings.waiters_max),
        settings,
        backbone,
    });
    service.serve(routes).await;
    Ok(())
}
