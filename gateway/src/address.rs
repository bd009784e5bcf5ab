//! Where the gateway may listen: beyond this machine only where it asks for a token and speaks TLS, unless it is allowed.

use std::net::SocketAddr;

use anyhow::{Context, bail};

use crate::config::GatewaySettings;
use crate::identity::Anonymous;

/// Refuses an address that other machines can reach, unless the operator allows it by a setting.
pub(crate) async fn check(settings: &GatewaySettings) -> anyhow::Result<()> {
    let address = &settings.listen_address;
    let resolved = tokio::net::lookup_host(address).await;
    let resolved: Vec<SocketAddr> =
        resolved.with_context(|| format!("gateway.listen_address {address:?} is no address (host:port)"))?.collect();
    if resolved.iter().all(|one| one.ip().is_loopback()) {
        return Ok(());
    }
    if settings.anonymous == Anonymous::Nobody && !settings.tls.certificate_file.is_empty() {
        return Ok(());
    }
    if settings.allow_insecure_listen {
        match settings.anonymous {
            Anonymous::Operator => {
                tracing::warn!(address, "the gateway listens beyond this machine, and who has no token is an operator");
            }
            Anonymous::Nobody => {
                tracing::warn!(
                    address,
                    "the gateway listens beyond this machine, and passwords and tokens are in clear"
                );
            }
        }
        return Ok(());
    }
    let danger = match settings.anonymous {
        Anonymous::Operator => "who has no token is an operator (gateway.anonymous)",
        Anonymous::Nobody => "passwords and tokens would be readable on their way (gateway.tls)",
    };
    bail!(
        "gateway.listen_address {address} can be reached from other machines, and {danger}. Listen on 127.0.0.1, or set \
         gateway.allow_insecure_listen=true where the network itself keeps strangers out"
    )
}
