//! The product service: the catalogue that orders are made from.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: what a product is, how it changes;
//! - `application/`: one batch in, one outcome a command out; `working_set` is load, decide, save;
//! - `persistence/`: all the SQL;
//! - `grpc/`: parse, call, answer;
//! - [`serve`]: how it is put together.

mod application;
mod config;
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

pub use config::ProductSettings;

use crate::application::Catalogue;

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// Services whose health the role tells.
const SERVICES: &[&str] = &["openorder.product.v1.ProductService"];
/// Topics that the service publishes to.
pub const PUBLISHES: &[&str] = &[topics::PRODUCT_CATALOG];

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub async fn serve(
    role: RoleContext,
    settings: ProductSettings,
    kafka: KafkaSettings,
    page_tokens: PageTokens,
) -> anyhow::Result<()> {
    let listener = openorder_rpc::listen(&settings.listen_address).await?;
    let starting = Backbone::start(&role, &settings.database_url, &settings.database, &kafka, &MIGRATIONS);
    // Boxed: the future of opening a database is large, and needed once.
    let backbone = Box::pin(starting).await?;
    let committer = backbone.committer(Arc::new(Catalogue), &settings.committer);
    backbone.relay(&settings.relay, PUBLISHES);
    let pipeline = Pipeline::new(&backbone);
    let service = grpc::service(Arc::clone(&backbone), committer, page_tokens);
    let service = pipeline.mount(service, &role);
    let service = openorder_rpc::with_health(service, role.telemetry.role(), SERVICES, &role.readiness);
    openorder_rpc::serve(role.telemetry.clone(), listener, &settings.server, service, &role.shutdown).await;
    Ok(())
}
