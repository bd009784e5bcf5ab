//! The product service: the catalogue that orders are made from.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: what a product is, how it changes;
//! - `application/`: one batch in, one outcome a command out; `working_set` is load, decide, save;
//! - `persistence/`: all the SQL;
//! - `grpc/`: parse, call, answer;
//! - [`serve`]: how it is put together.

#![allow(missing_docs, reason = "no crate imports the rules of a service: where a name says it all, it stands alone")]

mod application;
mod config;
pub mod domain;
mod grpc;
mod persistence;
mod present;

use std::sync::{Arc, LazyLock};

use openorder_proto::topics;
use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;

pub use config::ProductSettings;

use crate::application::Catalogue;

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec = ServiceSpec {
    role: "product",
    grpc_services: &["openorder.product.v1.ProductService"],
    publishes: &[topics::PRODUCT_CATALOG],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<ProductSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<ProductSettings>) -> anyhow::Result<()> {
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let committer = service.run(Arc::new(Catalogue));
    let routes = grpc::service(Arc::clone(service.backbone()), committer, service.page_tokens());
    service.serve(routes).await;
    Ok(())
}
