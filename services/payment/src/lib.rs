//! The payment service: wallets, and the payments of orders that are taken from them.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: a wallet never goes below nothing, an order is charged once at most;
//! - `application/`: one batch in, one outcome a command out; `working_set` is load, decide, save;
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
use openorder_proto::topics;
use openorder_rpc::PageTokens;
use sqlx::migrate::Migrator;

pub use config::PaymentSettings;
pub use consumers::subscription;

use crate::application::Payments;

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// Services whose health the role tells.
const SERVICES: &[&str] = &["openorder.payment.v1.PaymentService"];
/// Topics that the service publishes to.
pub const PUBLISHES: &[&str] = &[topics::PAYMENT_TRANSACTION, topics::PAYMENT_WALLET];

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub async fn serve(
    role: RoleContext,
    settings: PaymentSettings,
    kafka: KafkaSettings,
    page_tokens: PageTokens,
) -> anyhow::Result<()> {
    let listener = openorder_rpc::listen(&settings.listen_address).await?;
    let backbone = Backbone::start(&role, &settings.database_url, &settings.database, &kafka, &MIGRATIONS).await?;
    let payments = Arc::new(Payments);
    let committer = backbone.committer(Arc::clone(&payments), &settings.committer);
    backbone.consumer(payments, consumers::subscription(), &settings.consumer);
    backbone.relay(&settings.relay, PUBLISHES);
    let pipeline = Pipeline::new(&backbone);
    let service = grpc::service(Arc::clone(&backbone), committer, page_tokens);
    let service = pipeline.mount(service, &role);
    let service = openorder_rpc::with_health(service, role.telemetry.role(), SERVICES, &role.readiness);
    openorder_rpc::serve(role.telemetry.clone(), listener, &settings.server, service, &role.shutdown).await;
    Ok(())
}
