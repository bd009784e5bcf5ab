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

#![allow(missing_docs, reason = "no crate imports the rules of a service: where a name says it all, it stands alone")]

mod application;
mod config;
mod consumers;
mod delivery;
pub mod domain;
mod grpc;
mod persistence;
mod present;

use std::sync::{Arc, LazyLock};

use openorder_proto::topics;
use openorder_service::{Host, ServiceSpec, Serving};
use sqlx::migrate::Migrator;

pub use config::{
    DeliverySettings, EmailTransport, HttpProviderSettings, HttpTransport, NotificationSettings, SmtpSecurity,
    SmtpSettings,
};
pub use consumers::subscription;

use crate::{application::Notifications, delivery::Workers};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it.
pub const SPEC: ServiceSpec = ServiceSpec {
    role: "notification",
    grpc_services: &["openorder.notification.v1.NotificationService"],
    publishes: &[topics::NOTIFICATION_DELIVERY],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used or the port cannot be bound.
pub fn serve(host: Host<NotificationSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<NotificationSettings>) -> anyhow::Result<()> {
    let workers = Workers::new(&host.settings)?;
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let notifications = Notifications::new(service.role().telemetry.clone(), service.settings());
    let committer = service.run_with(Arc::new(notifications), consumers::subscription());
    workers.start(service.role(), service.backbone(), &committer, service.settings());
    let routes = grpc::service(Arc::clone(service.backbone()), committer, service.page_tokens());
    service.serve(routes).await;
    Ok(())
}
