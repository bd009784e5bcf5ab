//! The payment service: wallets, and the payments of orders that are taken from them.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: a wallet never goes below nothing, an order is charged once at most;
//! - `application/`: one batch in, one outcome a command out; `working_set` is load, decide, save; `orders` asks the order
//!   service about an order that a caller wants to pay;
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

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use openorder_proto::{order::v1::order_service_client::OrderServiceClient, topics};
use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;

pub use config::PaymentSettings;
pub use consumers::subscription;

use crate::application::{Orders, Payments};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec = ServiceSpec {
    role: "payment",
    grpc_services: &["openorder.payment.v1.PaymentService"],
    publishes: &[topics::PAYMENT_TRANSACTION, topics::PAYMENT_WALLET],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<PaymentSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<PaymentSettings>) -> anyhow::Result<()> {
    let orders = host.channel("order", &host.settings.client)?;
    let timeout = Duration::from_millis(host.settings.order_look_up_timeout_ms);
    let orders = Orders::new(OrderServiceClient::new(orders), timeout);
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let committer = service.run_with(Arc::new(Payments), consumers::subscription());
    let routes = grpc::service(Arc::clone(service.backbone()), committer, orders, service.page_tokens());
    service.serve(routes).await;
    Ok(())
}
