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

mod application;
mod config;
mod consumers;
pub mod domain;
mod grpc;
mod persistence;
mod present;

use std::sync::{Arc, LazyLock};

use openorder_messaging::{Backbone, KafkaSettings, RoleContext};
use openorder_pipeline::Pipeline;
use openorder_proto::{
    order::v1::order_service_client::OrderServiceClient, product::v1::product_service_client::ProductServiceClient,
    topics,
};
use openorder_rpc::PageTokens;
use openorder_runtime::OnExit;
use sqlx::migrate::Migrator;

pub use config::InventorySettings;
pub use consumers::subscription;

use crate::application::{Inventory, Orders, Seeds};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// Services whose health the role tells.
const SERVICES: &[&str] = &["openorder.inventory.v1.InventoryService"];
/// Topics that the service publishes to.
pub const PUBLISHES: &[&str] = &[topics::INVENTORY_STOCK];

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub async fn serve(
    role: RoleContext,
    settings: InventorySettings,
    kafka: KafkaSettings,
    page_tokens: PageTokens,
) -> anyhow::Result<()> {
    let listener = openorder_rpc::listen(&settings.listen_address).await?;
    let backbone = Backbone::start(&role, &settings.database_url, &settings.database, &kafka, &MIGRATIONS).await?;
    let products = openorder_rpc::channel(&role.telemetry, &settings.product_url, &settings.client)?;
    let seeds = Arc::new(Seeds::new(backbone.pool().clone(), ProductServiceClient::new(products)));
    let inventory = Arc::new(Inventory::new(seeds, &settings));
    let committer = backbone.committer(Arc::clone(&inventory), &settings.committer);
    let orders = openorder_rpc::channel(&role.telemetry, &settings.order_url, &settings.client)?;
    let orders = Orders::new(OrderServiceClient::new(orders));
    let expiry =
        application::watch_reservations(Arc::clone(&backbone), committer.clone(), orders.clone(), settings.clone());
    role.tasks.spawn("reservation-expiry", OnExit::StopProcess, expiry);
    let reconciler = application::reconcile(Arc::clone(&backbone), committer.clone(), orders, settings.clone());
    role.tasks.spawn("reservation-reconciler", OnExit::StopProcess, reconciler);
    backbone.consumer(inventory, consumers::subscription(), &settings.consumer);
    backbone.relay(&settings.relay, PUBLISHES);
    let pipeline = Pipeline::new(&backbone);
    let service = grpc::service(Arc::clone(&backbone), committer, page_tokens);
    let service = pipeline.mount(service, &role);
    let service = openorder_rpc::with_health(service, role.telemetry.role(), SERVICES, &role.readiness);
    openorder_rpc::serve(role.telemetry.clone(), listener, &settings.server, service, &role.shutdown).await;
    Ok(())
}
