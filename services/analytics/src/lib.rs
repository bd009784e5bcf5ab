//! The analytics service: what is sold, and what becomes of orders.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: what an event changes in which sums;
//! - `application/`: one batch in, one outcome a command out; a batch is added up and written with one statement a table;
//! - `persistence/`: all the SQL; sums are in shards, so that nobody waits for rows that everybody changes;
//! - `consumers/`: which events of others are counted (a file a topic);
//! - `ranking/`: the best products in Redis, written after the commit;
//! - `rebuild/`: all orders are counted anew, beside the sums that count;
//! - `upkeep`: what is needed no more goes;
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
mod ranking;
mod rebuild;
mod upkeep;

use std::sync::{Arc, LazyLock};

use anyhow::Context;
use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;

pub use config::{AnalyticsSettings, RankingSettings, RebuildSettings};
pub use consumers::subscription;

use crate::{
    application::{Analytics, TopProducts},
    grpc::AnalyticsGrpc,
    ranking::Connections,
    rebuild::Rebuilder,
};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec =
    ServiceSpec { role: "analytics", grpc_services: &["openorder.analytics.v1.AnalyticsService"], publishes: &[] };

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<AnalyticsSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<AnalyticsSettings>) -> anyhow::Result<()> {
    let orders = host.channel(consumers::ORDER_SERVICE, &host.settings.client)?;
    let redis = Connections::new(&host.settings, &host.role.telemetry).context("analytics.redis_url")?;
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let (settings, backbone) = (service.settings().clone(), Arc::clone(service.backbone()));
    let committer = service.run_with(Arc::new(Analytics::new(&settings)), consumers::subscription());
    let reader = match redis {
        Some(redis) => Some(redis.start(service.role(), &backbone, &settings).await?),
        None => None,
    };
    service.task("rebuild", Rebuilder::new(Arc::clone(&backbone), orders, &settings).run());
    service.task("upkeep", upkeep::run(Arc::clone(&backbone), settings.clone()));
    let top_products = TopProducts::new(&backbone, reader, &settings);
    let routes = grpc::service(AnalyticsGrpc { backbone, committer, top_products, settings });
    service.serve(routes).await;
    Ok(())
}
