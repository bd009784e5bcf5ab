//! The promotion service: coupons, who has them, and the orders that use them.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: as many are issued as the limits say, and no more; a coupon is used for one order;
//!   `discount` says what it takes off;
//! - `application/`: one batch in, one outcome a command out; `working_set` is load, decide, save;
//! - `persistence/`: all the SQL;
//! - `consumers/`: which events of others are commands here (a file a topic);
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

use openorder_proto::topics;
use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;

pub use config::PromotionSettings;
pub use consumers::subscription;

use crate::application::Promotions;

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec = ServiceSpec {
    role: "promotion",
    grpc_services: &["openorder.promotion.v1.PromotionService"],
    publishes: &[topics::PROMOTION_CATALOG, topics::PROMOTION_COUPON],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<PromotionSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<PromotionSettings>) -> anyhow::Result<()> {
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let committer = service.run_with(Arc::new(Promotions), consumers::subscription());
    let routes = grpc::service(Arc::clone(service.backbone()), committer, service.page_tokens());
    service.serve(routes).await;
    Ok(())
}
