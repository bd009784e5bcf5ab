//! The operations service: what operators see of the pipeline and do to it, with an audit trail.
//!
//! It owns no message. Each service's database is the authority on its own dead letters, and each service does the
//! work on them; this one asks all of them, and keeps who did what, when and why.
//!
//! Reading guide:
//! - `domain/`: pure: what is asked for, what an operator should look at;
//! - `application/`: one file a use case; `act.rs` is what all acts have in common: intent, audit, work, outcome;
//! - `services.rs`: the services that are asked;
//! - `persistence/`: all the SQL: intents and the trail;
//! - `grpc.rs`: parse, call, answer;
//! - [`serve`]: how it is put together.

#![allow(missing_docs, reason = "no crate imports the rules of a service: where a name says it all, it stands alone")]

mod application;
mod config;
pub mod domain;
mod grpc;
mod persistence;
mod services;

use std::sync::{Arc, LazyLock};

use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;

pub use config::OperationsSettings;

use crate::{application::Operations, services::Services};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec =
    ServiceSpec { role: "operations", grpc_services: &["openorder.operations.v1.OperationsService"], publishes: &[] };

/// Runs the service until shutdown. `services` are the roles that have events, dead letters and consumer groups.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<OperationsSettings>, services: &'static [&'static str]) -> Serving {
    Box::pin(run(host, services))
}

async fn run(host: Host<OperationsSettings>, services: &'static [&'static str]) -> anyhow::Result<()> {
    let services = Services::new(&host, services)?;
    let kafka = host.kafka.clone();
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let (role, settings, backbone) =
        (service.role().clone(), service.settings().clone(), Arc::clone(service.backbone()));
    let operations = Operations::new(role, settings, &kafka, backbone, services, service.page_tokens())?;
    service.serve_alone(grpc::service(Arc::new(operations))).await;
    Ok(())
}
