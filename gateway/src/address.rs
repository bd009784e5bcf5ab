//! Where the gateway may listen while its callers are not authenticated.

use std::net::SocketAddr;

use anyhow::{Context, bail};

use crate::config::GatewaySettings;

/// Refuses an address that other machines can reach, unless the operator allows it by a setting.
pub(crate) async fn check(settings: &GatewaySettings) -> anyhow::Result<()> {
    let address = &settings.listen_address;
    let resolved = tokio::net::lookup_host(address).await;
    let resolved: Vec<SocketAddr> =
        resolved.with_context(|| format!("gateway.listen_address {address:?} is no address (host:port)"))?.collect();
    if resolved.iter().all(|one| one.ip().is_loopback()) {
        return Ok(());
    }
    if settings.allow_insecure_listen {
        tracing::warn!(address, "the gateway listens beyond this machine, and every caller is an operator");
        return Ok(());
    }
    bail!(
        "gateway.listen_address {address} can be reached from other machines, and callers are not authenticated: \
         every caller would be an operator. Listen on 127.0.0.1, or set gateway.allow_insecure_listen=true where the \
         network itself keeps strangers out"
    )
}
