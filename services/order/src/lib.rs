//! The order service: orders, and the saga that carries them through stock, coupon, payment and shipment.
//!
//! Reading guide:
//! - `domain/`: the order aggregate, pure: statuses, prices, and what a command leads to (`decide`, `evolve`);
//! - `saga/`: the step table and `next(saga, signal)`, pure;
//! - `application/`: one batch in, one outcome a command out; `working_set` loads, has the domain decide, and saves;
//! - `persistence/`: all the SQL; `consumers/`: which events of others are signals here;
//! - `grpc/`: parse, call, answer; `grpc/immediate.rs` holds stock and coupon before it answers, `grpc/parcel.rs` asks the
//!   shipping service before an order with a parcel is changed;
//! - [`serve`]: how it is put together.

#![allow(missing_docs, reason = "no crate imports the rules of a service: where a name says it all, it stands alone")]

mod application;
mod config;
mod consumers;
pub mod domain;
mod grpc;
mod persistence;
mod present;
pub mod saga;

use std::sync::{Arc, LazyLock};

use anyhow::Context;
use openorder_messaging::RouteMonitor;
use openorder_pipeline::Pipeline;
use openorder_proto::{
    inventory::v1::inventory_service_client::InventoryServiceClient,
    product::v1::product_service_client::ProductServiceClient,
    promotion::v1::promotion_service_client::PromotionServiceClient,
    shipping::v1::shipping_service_client::ShippingServiceClient, topics,
};
use openorder_runtime::wait_for;
use openorder_service::{Host, ServiceSpec, Serving};
use openorder_types::Sku;
use sqlx::migrate::Migrator;
use uuid::Uuid;

pub use config::{HintSettings, OrderSettings};
pub use consumers::subscription;

use crate::application::{Catalogue, CatalogueAge, OrderHints, Orders};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec = ServiceSpec {
    role: "order",
    grpc_services: &["openorder.order.v1.OrderService"],
    publishes: &[
        topics::ORDER_LIFECYCLE,
        topics::INVENTORY_STOCK,
        topics::PAYMENT_TRANSACTION,
        topics::PROMOTION_COUPON,
    ],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<OrderSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<OrderSettings>) -> anyhow::Result<()> {
    host.settings.check()?;
    let products = host.channel("product", &host.settings.client)?;
    let inventory = host.channel("inventory", &host.settings.client)?;
    let promotion = host.channel("promotion", &host.settings.client)?;
    let shipping = host.channel("shipping", &host.settings.client)?;
    let redis = OrderHints::connection(&host.settings.hints, &host.settings.redis_url, &host.role.telemetry);
    let redis = redis.context("order.redis_url")?;
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let (settings, backbone) = (service.settings().clone(), Arc::clone(service.backbone()));
    // What happened to an order is looked at until its saga is at its end.
    backbone.keep_events_since(|pool| async move { persistence::oldest_unsettled_saga(&pool).await });
    let committer = service.run_with(Arc::new(Orders::new(settings.saga_settings())), consumers::subscription());
    let route = Arc::new(RouteMonitor::new(Arc::clone(&backbone), settings.route_behind_max()));
    let age = Arc::new(CatalogueAge::new(&settings));
    let watch = Arc::clone(&age).watch(Arc::clone(&backbone), Arc::clone(&route), settings.clone());
    service.task("catalogue-age", watch);
    let deadlines = application::watch_deadlines(Arc::clone(&backbone), committer.clone(), route, settings.clone());
    service.task("saga-deadlines", deadlines);
    let role = service.role();
    let database = role.dependency(openorder_messaging::POSTGRES);
    let store_id = wait_for(&database, &role.shutdown, || persistence::hint_store_id(backbone.pool())).await?;
    let pipeline = application::with_saga_counts(Pipeline::new(&backbone), &backbone);
    let orders = backbone.shared_reads(|pool, ids: Vec<Uuid>| async move {
        let found = persistence::find_orders(&pool, &ids).await?;
        Ok(found.into_iter().map(|record| (record.order.order_id, record)).collect())
    });
    let products_read = backbone.shared_reads(|pool, skus: Vec<Sku>| async move {
        let names: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let found = persistence::load_catalogue(&pool, &names).await?;
        Ok(found.into_iter().map(|item| (item.sku.clone(), item)).collect())
    });
    let routes = grpc::service(grpc::OrderGrpc {
        orders,
        products: products_read,
        hints: OrderHints::new(redis, store_id, &settings.hints),
        catalogue: Catalogue::new(backbone.pool().clone(), ProductServiceClient::new(products), age),
        inventory: InventoryServiceClient::new(inventory),
        promotion: PromotionServiceClient::new(promotion),
        shipping: ShippingServiceClient::new(shipping),
        committer,
        page_tokens: service.page_tokens(),
        watchers: Arc::new(tokio::sync::Semaphore::new(settings.watchers_max)),
        settings,
        backbone,
    });
    service.serve_with(pipeline, routes).await;
    Ok(())
}
