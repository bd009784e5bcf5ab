//! The cart service: what customers, and visitors who did not sign in, mean to order.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: what a change makes of a cart, what two carts make together, what an order takes out;
//! - `store/`: carts in Redis, one hash each, written by compare and set;
//! - `application/`: a change is read, decided and written; checkouts, one batch in, one outcome a command out;
//! - `persistence/`: all the SQL; what is ordered stands in PostgreSQL, carts do not;
//! - `consumers/`: an order that was made takes its lines out of the cart;
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
mod store;
mod upkeep;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use anyhow::Context;
use openorder_proto::{
    order::v1::order_service_client::OrderServiceClient, product::v1::product_service_client::ProductServiceClient,
};
use openorder_runtime::wait_for;
use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;

pub use config::CartSettings;
pub use consumers::subscription;

use crate::{
    application::{Carts, Checkouts, Prices},
    grpc::CartGrpc,
    store::{Keys, Lives, Store},
};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec =
    ServiceSpec { role: "cart", grpc_services: &["openorder.cart.v1.CartService"], publishes: &[] };

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<CartSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<CartSettings>) -> anyhow::Result<()> {
    let products = host.channel("product", &host.settings.client)?;
    let orders = host.channel("order", &host.settings.client)?;
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let (settings, backbone) = (service.settings().clone(), Arc::clone(service.backbone()));
    let role = service.role();
    let database = role.dependency(openorder_messaging::POSTGRES);
    let store_id = wait_for(&database, &role.shutdown, || persistence::store_id(backbone.pool())).await?;
    let lives = Lives { customer_ms: settings.customer_cart_keep_ms, visitor_ms: settings.visitor_cart_keep_ms };
    let timeout = Duration::from_millis(settings.redis_timeout_ms);
    let store = Store::new(&settings.redis_url, timeout, Keys::new(store_id), lives, role.telemetry.clone());
    let store = Arc::new(store.context("cart.redis_url")?);
    let interval = Duration::from_millis(settings.redis_check_interval_ms);
    let watch =
        store::watch(Arc::clone(&store), Arc::clone(&backbone), role.background(openorder_redis::REDIS), interval);
    service.task("redis", watch);
    let carts = Arc::new(Carts::new(store, &settings));
    let checkouts = Checkouts::new(backbone.pool().clone(), Arc::clone(&carts));
    let committer = service.run_with(Arc::new(checkouts), consumers::subscription());
    service.task("upkeep", upkeep::run(backbone, settings.clone()));
    let prices = Prices::new(ProductServiceClient::new(products), Duration::from_millis(settings.price_timeout_ms));
    let routes = grpc::service(CartGrpc { carts, prices, orders: OrderServiceClient::new(orders), committer });
    service.serve(routes).await;
    Ok(())
}
