//! The loyalty service: points for paid orders, to be spent.
#![allow(missing_docs, reason = "no crate imports the rules of a service")]

mod application;
mod consumers;
mod domain;
mod grpc;
mod persistence;

use std::sync::{Arc, LazyLock};

use openorder_proto::topics;
use openorder_service::{Host, ServiceSpec, Serving, service_settings};
use sqlx::migrate::Migrator;

pub use consumers::subscription;

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

service_settings! {
    /// Loyalty service.
    pub struct LoyaltySettings(8199, "loyalty", consumer) {}
}

pub const SPEC: ServiceSpec = ServiceSpec {
    role: "loyalty",
    grpc_services: &["openorder.loyalty.v1.LoyaltyService"],
    publishes: &[topics::LOYALTY_POINTS],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<LoyaltySettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<LoyaltySettings>) -> anyhow::Result<()> {
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let committer = service.run_with(Arc::new(application::Loyalty), consumers::subscription());
    service.serve(grpc::service(committer)).await;
    Ok(())
}
