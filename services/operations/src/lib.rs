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

mod application;
mod config;
pub mod domain;
mod grpc;
mod persistence;
mod services;

use std::sync::{Arc, LazyLock};

use openorder_messaging::{Backbone, KafkaSettings, RoleContext};
use openorder_rpc::PageTokens;
use sqlx::migrate::Migrator;

pub use config::OperationsSettings;

use crate::{application::Operations, services::Services};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// Services whose health the role tells.
const SERVICES: &[&str] = &["openorder.operations.v1.OperationsService"];

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub async fn serve(
    role: RoleContext,
    settings: OperationsSettings,
    kafka: KafkaSettings,
    page_tokens: PageTokens,
) -> anyhow::Result<()> {
    let listener = openorder_rpc::listen(&settings.listen_address).await?;
    let services = Services::new(&role.telemetry, &settings)?;
    let starting = Backbone::start(&role, &settings.database_url, &settings.database, &kafka, &MIGRATIONS);
    // Boxed: the future of opening a database is large, and needed once.
    let backbone = Box::pin(starting).await?;
    let operations = Operations::new(role.clone(), settings.clone(), &kafka, backbone, services, page_tokens)?;
    let service = openorder_rpc::with_health(
        grpc::service(Arc::new(operations)),
        role.telemetry.role(),
        SERVICES,
        &role.readiness,
    );
    openorder_rpc::serve(role.telemetry.clone(), listener, &settings.server, service, &role.shutdown).await;
    Ok(())
}
