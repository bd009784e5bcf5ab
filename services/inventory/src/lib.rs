//! The inventory service: stock levels, and what is held of them for orders.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: levels, reservations (all lines of an order or none);
//! - `application/`: one batch in, one outcome a command out; `working_set` is load, decide, save; `expiry` and
//!   `reconciler` look at reservations that nobody asks about;
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

use openorder_proto::{
    order::v1::order_service_client::OrderServiceClient, product::v1::product_service_client::ProductServiceClient,
    topics,
};
use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;

pub use config::InventorySettings;
pub use consumers::subscription;

use crate::application::{Inventory, Orders, Seeds};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec = ServiceSpec {
    role: "inventory",
    grpc_services: &["openorder.inventory.v1.InventoryService"],
    publishes: &[topics::INVENTORY_STOCK],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<InventorySettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<InventorySettings>) -> anyhow::Result<()> {
    let products = host.channel("product", &host.settings.client)?;
    let orders = host.channel("order", &host.settings.client)?;
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let (settings, backbone) = (service.settings().clone(), Arc::clone(service.backbone()));
    let seeds = Arc::new(Seeds::new(backbone.pool().clone(), ProductServiceClient::new(products)));
    let committer = service.run_with(Arc::new(Inventory::new(seeds, &settings)), consumers::subscription());
    let orders = Orders::new(OrderServiceClient::new(orders));
    let expiry =
        application::watch_reservations(Arc::clone(&backbone), committer.clone(), orders.clone(), settings.clone());
    service.task("reservation-expiry", expiry);
    let reconciler = application::reconcile(Arc::clone(&backbone), committer.clone(), orders, settings);
    service.task("reservation-reconciler", reconciler);
    let routes = grpc::service(backbone, committer, service.page_tokens());
    service.serve(routes).await;
    Ok(())
}
