//! The user service: users, and how they sign in.
//!
//! Reading guide:
//! - `domain/`: the rules, pure: what a sign-in, a refresh token or an operator changes, and how fast passwords are tried;
//! - `credentials/`: what hashes, seals, signs and derives; every secret of the service lives there;
//! - `application/`: one batch in, one outcome a command out; `working_set` is load, decide, save;
//! - `persistence/`: all the SQL;
//! - `grpc/`: parse, call, answer; for callers, and for the gateway;
//! - `upkeep`: keys come and go, what is needed no more goes;
//! - [`serve`]: how it is put together.

#![allow(missing_docs, reason = "no crate imports the rules of a service: where a name says it all, it stands alone")]

mod application;
mod config;
mod credentials;
pub mod domain;
mod grpc;
mod persistence;
mod present;
mod upkeep;

use std::sync::{Arc, LazyLock};

use openorder_proto::topics;
use openorder_runtime::wait_for;
use openorder_service::{Host, ServiceSpec, Serving};
use openorder_types::Fault;
use sqlx::migrate::Migrator;

pub use config::UserSettings;

use crate::{
    application::{Users, milliseconds},
    credentials::{Hasher, Keyring, Sealer, Tokens},
};

static MIGRATIONS: LazyLock<Migrator> = openorder_messaging::migrations!();

/// What the service is to the processes that run it. What it answers to the gateway alone is not routed by it.
pub const SPEC: ServiceSpec = ServiceSpec {
    role: "user",
    grpc_services: &["openorder.user.v1.UserService"],
    publishes: &[topics::USER_PROFILE, topics::USER_ACTIVITY, topics::USER_SESSION],
};

/// Runs the service until shutdown.
///
/// # Errors
/// When a setting cannot be used, the keys in the database are sealed with another key, or the port cannot be bound.
pub fn serve(host: Host<UserSettings>) -> Serving {
    Box::pin(run(host))
}

async fn run(host: Host<UserSettings>) -> anyhow::Result<()> {
    let settings = host.settings.clone();
    let is_loopback = is_loopback(&settings.listen_address);
    let sealer = Arc::new(Sealer::new(&settings.sealing_key, &settings.sealing_key_before, is_loopback)?);
    let hasher = Hasher::new(&settings)?;
    let service = host.start(&SPEC, &MIGRATIONS).await?;
    let (backbone, role) = (Arc::clone(service.backbone()), service.role());
    let (database, telemetry) = (role.dependency(openorder_messaging::POSTGRES), role.telemetry.clone());
    // What is sealed with another key does not open by waiting.
    let read = || async {
        match upkeep::first_keys(backbone.pool(), &sealer).await {
            Err(fault @ Fault::Permanent { .. }) => Ok(Err(fault)),
            other => other.map(Ok),
        }
    };
    let keys = wait_for(&database, &role.shutdown, read).await??;
    let keyring = Keyring::new(keys);
    let tokens = Tokens::new(keyring.clone(), settings.issuer.clone(), milliseconds(settings.access_token_life_ms));
    let committer = service.run(Arc::new(Users::new(tokens.clone(), &settings)));
    service.task("keys", upkeep::keep_keys(Arc::clone(&backbone), Arc::clone(&sealer), keyring, settings.clone()));
    service.task("upkeep", upkeep::delete_old(Arc::clone(&backbone), settings.clone()));
    let page_tokens = service.page_tokens();
    let parts = grpc::Parts { backbone, committer, page_tokens, tokens, sealer, hasher, telemetry };
    let routes = grpc::service(parts, &settings)?;
    service.serve(routes).await;
    Ok(())
}

/// Whether nobody beyond this machine reaches the address.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_alone_are_loopback() {
        for inside in ["127.0.0.1:8112", "127.9.9.9:1", "[::1]:8112", "localhost:8112"] {
            assert!(is_loopback(inside), "{inside}");
        }
        for outside in ["0.0.0.0:8112", "[::]:8112", "192.0.2.1:8112", "user:8112", ""] {
            assert!(!is_loopback(outside), "{outside}");
        }
    }
}
