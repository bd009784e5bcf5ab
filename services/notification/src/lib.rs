//! The notification service: what customers are told about their orders, and what they want to be told.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: one notification from decision to end, preferences, templates;
//! - `application/`: one batch in, one outcome a command out; `working_set` is load, decide, save;
//! - `persistence/`: all the SQL; the natural key (order, kind, channel) keeps a doubled event from doubling a mail;
//! - `consumers/`: which events of others are commands here (a file a topic);
//! - `delivery/`: what leaves the machine: mail by SMTP, text messages and messages to apps by HTTP;
//! - `grpc/`: parse, call, answer;
//! - [`serve`]: how it is put together.

mod application;
mod config;
mod consumers;
mod delivery;
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

pub use config::{
    DeliverySettings, EmailTransport, HttpProviderSettings, HttpTransport, NotificationSettings, SmtpSecurity,
    SmtpSettings,
};
pub use consumers::subscription;

use crate::{application::Notifications, delivery::Workers};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// Services whose health the role tells.
const SERVICES: &[&str] = &["openorder.notification.v1.NotificationService"];
/// Topics that the service publishes to.
pub const PUBLISHES: &[&str] = &[topics::NOTIFICATION_DELIVERY];

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub async fn serve(
    role: RoleContext,
    settings: NotificationSettings,
    kafka: KafkaSettings,
    page_tokens: PageTokens,
) -> anyhow::Result<()> {
    let workers = Workers::new(&settings)?;
    let listener = openorder_rpc::listen(&settings.listen_address).await?;
    let backbone = Backbone::start(&role, &settings.database_url, &settings.database, &kafka, &MIGRATIONS).await?;
    let notifications = Arc::new(Notifications::new(role.telemetry.clone(), &settings));
    let committer = backbone.committer(Arc::clone(&notifications), &settings.committer);
    backbone.consumer(notifications, consumers::subscription(), &settings.consumer);
    backbone.relay(&settings.relay, PUBLISHES);
    workers.start(&role, &backbone, &committer, &settings);
    let pipeline = Pipeline::new(&backbone);
    let service = grpc::service(Arc::clone(&backbone), committer, page_tokens);
    let service = pipeline.mount(service, &role);
    let service = openorder_rpc::with_health(service, role.telemetry.role(), SERVICES, &role.readiness);
    openorder_rpc::serve(role.telemetry.clone(), listener, &settings.server, service, &role.shutdown).await;
    Ok(())
}
