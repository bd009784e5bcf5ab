//! The shipping service: parcels, from the paid order to the customer's door.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: a parcel leaves or is called off, never both, and nothing goes back;
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

pub use config::ShippingSettings;
pub use consumers::subscription;

use crate::application::Shipments;

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec = ServiceSpec {
    role: "shipping",
    grpc_services: &["openorder.shipping.v1.ShippingService"],
    publishes: &[topics::SHIPPING_SHIPMENT],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<ShippingSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<ShippingSettings>) -> anyhow::Result<()> {
    let shipments = Shipments::new(&host.settings);
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let committer = service.run_with(Arc::new(shipments), consumers::subscription());
    let routes = grpc::service(Arc::clone(service.backbone()), committer, service.page_tokens());
    service.serve(routes).await;
    Ok(())
}
