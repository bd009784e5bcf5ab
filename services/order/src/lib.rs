//! The order service: orders, and the saga that carries them through stock and payment.
//!
//! Reading guide:
//! - `domain/`: the order aggregate, pure: statuses, prices, and what a command leads to (`decide`, `evolve`);
//! - `saga/`: the step table and `next(saga, signal)`, pure;
//! - `application/`: one batch in, one outcome a command out; `working_set` loads, has the domain decide, and saves;
//! - `persistence/`: all the SQL; `consumers/`: which events of others are signals here;
//! - `grpc/`: parse, call, answer; `grpc/immediate.rs` holds stock before it answers;
//! - [`serve`]: how it is put together.

mod application;
mod config;
mod consumers;
pub mod domain;
mod grpc;
mod persistence;
mod present;
pub mod saga;

use std::sync::{Arc, LazyLock};

use openorder_messaging::{Backbone, KafkaSettings, RoleContext, RouteMonitor};
use openorder_pipeline::Pipeline;
use openorder_proto::{
    inventory::v1::inventory_service_client::InventoryServiceClient,
    product::v1::product_service_client::ProductServiceClient, topics,
};
use openorder_rpc::PageTokens;
use openorder_runtime::OnExit;
use sqlx::migrate::Migrator;

pub use config::OrderSettings;
pub use consumers::subscription;

use crate::application::{Catalogue, CatalogueAge, Orders};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// Services whose health the role reports.
const SERVICES: &[&str] = &["openorder.order.v1.OrderService"];
/// Topics that the service publishes to: its own, and its requests to stock and payment.
pub const PUBLISHES: &[&str] = &[topics::ORDER_LIFECYCLE, topics::INVENTORY_STOCK, topics::PAYMENT_TRANSACTION];

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub async fn serve(
    role: RoleContext,
    settings: OrderSettings,
    kafka: KafkaSettings,
    page_tokens: PageTokens,
) -> anyhow::Result<()> {
    let listener = openorder_rpc::listen(&settings.listen_address).await?;
    let products = openorder_rpc::channel(&role.telemetry, &settings.product_url, &settings.client)?;
    let inventory = openorder_rpc::channel(&role.telemetry, &settings.inventory_url, &settings.client)?;
    let backbone = Backbone::start(&role, &settings.database_url, &settings.database, &kafka, &MIGRATIONS).await?;
    let orders = Arc::new(Orders::new(settings.timeouts()));
    let committer = backbone.committer(Arc::clone(&orders), &settings.committer);
    backbone.consumer(orders, consumers::subscription(), &settings.consumer);
    backbone.relay(&settings.relay, PUBLISHES);
    let route = Arc::new(RouteMonitor::new(Arc::clone(&backbone), settings.route_behind_max()));
    let age = Arc::new(CatalogueAge::new(&settings));
    let watch = Arc::clone(&age).watch(Arc::clone(&backbone), Arc::clone(&route), settings.clone());
    role.tasks.spawn("catalogue-age", OnExit::StopProcess, watch);
    let deadlines = application::watch_deadlines(Arc::clone(&backbone), committer.clone(), route, settings.clone());
    role.tasks.spawn("saga-deadlines", OnExit::StopProcess, deadlines);
    let pipeline = application::with_saga_counts(Pipeline::new(&backbone), &backbone);
    let service = grpc::service(grpc::OrderGrpc {
        catalogue: Catalogue::new(backbone.pool().clone(), ProductServiceClient::new(products), age),
        inventory: InventoryServiceClient::new(inventory),
        committer,
        page_tokens,
        watchers: Arc::new(tokio::sync::Semaphore::new(settings.watchers_max)),
        settings: settings.clone(),
        backbone,
    });
    let service = pipeline.mount(service, &role);
    let service = openorder_rpc::with_health(service, role.telemetry.role(), SERVICES, &role.readiness);
    openorder_rpc::serve(role.telemetry.clone(), listener, &settings.server, service, &role.shutdown).await;
    Ok(())
}
