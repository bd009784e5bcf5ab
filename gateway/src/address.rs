//! Where the gateway may listen: beyond this machine only where callers sign in, over TLS of its own or of a proxy.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, anyhow};

use crate::config::GatewaySettings;
use crate::identity::Anonymous;

/// What a caller without a token is let do, and how what is said is protected.
#[derive(Clone, Copy, Debug)]
struct Door {
    anonymous: Anonymous,
    is_loopback: bool,
    speaks_tls: bool,
    /// Whether proxies stand in front of it.
    has_proxies: bool,
}

impl Door {
    /// # Errors
    ///
    /// What would go wrong, and what to do about it.
    fn check(self) -> Result<(), &'static str> {
        match self {
            Self { anonymous: Anonymous::Operator, is_loopback: false, .. } => Err(
                "it can be reached from other machines, and who has no token is an operator. Leave gateway.anonymous at \
                 none, and make the first operator by `openorder user create-operator`; or listen on 127.0.0.1",
            ),
            Self { anonymous: Anonymous::Operator, has_proxies: true, .. } => Err(
                "callers of other machines come by gateway.trusted_proxies, and who has no token is an operator. Leave \
                 gateway.anonymous at none, and make the first operator by `openorder user create-operator`",
            ),
            Self { is_loopback: false, speaks_tls: false, has_proxies: false, .. } => Err(
                "it can be reached from other machines, and passwords and tokens could be read on their way. Give the \
                 gateway a certificate (gateway.tls.certificate_file and gateway.tls.private_key_file; `openorder certs \
                 init` makes one), or name the proxies that end TLS before it (gateway.trusted_proxies); or listen on \
                 127.0.0.1",
            ),
            _ => Ok(()),
        }
    }
}

/// Refuses an address that is not protected as it has to be.
pub(crate) async fn check(settings: &GatewaySettings) -> anyhow::Result<()> {
    let address = &settings.listen_address;
    let resolved = tokio::net::lookup_host(address).await;
    let resolved: Vec<SocketAddr> =
        resolved.with_context(|| format!("gateway.listen_address {address:?} is no address (host:port)"))?.collect();
    let door = Door {
        anonymous: settings.anonymous,
        is_loopback: resolved.iter().all(|one| one.ip().is_loopback()),
        speaks_tls: settings.speaks_tls(),
        has_proxies: !settings.trusted_proxies.is_empty(),
    };
    door.check().map_err(|refusal| anyhow!("gateway.listen_address {address} is refused: {refusal}"))
}

/// Whether nobody else can read what is said over a connection from this address: it is TLS, comes from a proxy that ends
/// TLS, or does not leave this machine. Where proxies are named, the gateway's address is open to others all the same.
pub(crate) fn is_protected(address: IpAddr, speaks_tls: bool, by_proxy: bool) -> bool {
    speaks_tls || by_proxy || address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn who_comes_from_elsewhere_and_is_no_proxy_speaks_tls() {
        let (here, mapped) = (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.to_ipv6_mapped().into());
        let elsewhere = IpAddr::from([192, 0, 2, 7]);
        assert!(!is_protected(elsewhere, false, false));
        assert!(is_protected(elsewhere, true, false) && is_protected(elsewhere, false, true));
        assert!(is_protected(here, false, false) && is_protected(mapped, false, false));
    }

    #[test]
    fn beyond_this_machine_callers_sign_in_over_tls_or_through_a_proxy() {
        for number in 0..16_u8 {
            let is = |bit: u8| number & bit != 0;
            let anonymous = if is(1) { Anonymous::Operator } else { Anonymous::Nobody };
            let door = Door { anonymous, is_loopback: is(2), speaks_tls: is(4), has_proxies: is(8) };
            let comes_from_elsewhere = !door.is_loopback || door.has_proxies;
            let signs_in = anonymous == Anonymous::Nobody || !comes_from_elsewhere;
            let is_protected = door.is_loopback || door.speaks_tls || door.has_proxies;
            assert_eq!(door.check().is_ok(), signs_in && is_protected, "{door:?}");
        }
    }
}
