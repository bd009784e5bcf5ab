//! The gateway, as commands call it.
//!
//! - `client.rs`: calls through it, for generated clients;
//! - `stranger.rs`: who listens at its address when it is not the gateway.

mod client;
mod stranger;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use http::uri::Authority;
use openorder_rpc::status::{is_unavailable, reason_or_code, violations_of};
use openorder_rpc::tls::ClientTls;
use openorder_rpc::{RpcClientSettings, Upstream, UpstreamUrlError};
use tokio::net::TcpStream;
use tonic::Status;

use crate::check::is_address;
use crate::config;
use crate::settings_args::SettingsArgs;

pub(crate) use client::GatewayClient;

/// How long to wait for somebody to listen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the gateway is, and whose certificates are believed there.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    url: String,
    /// None in the clear.
    tls: Option<ClientTls>,
}

/// Where a command finds the gateway.
#[derive(Clone, Debug, Args)]
pub struct GatewayArgs {
    /// The gateway [default: gateway.listen_address of the settings, http://127.0.0.1:8080].
    #[arg(long = "gateway", value_name = "URL")]
    pub url: Option<String>,
    /// Certificates to trust at a gateway that is called by https, in a PEM file [default: gateway.tls.ca_file of the
    /// settings, else those of the system].
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
}

impl GatewayArgs {
    /// Where the gateway is: the flag, or what the settings say of its own address; and whom to trust there, likewise.
    ///
    /// # Errors
    /// Settings or certificates that cannot be used, or a flag that is no address.
    pub(crate) fn address(&self, settings: &SettingsArgs) -> anyhow::Result<Address> {
        let of_settings = || anyhow::Ok(config::load(settings, &[])?.settings.gateway);
        let text = match &self.url {
            Some(text) => text.clone(),
            None => {
                let gateway = of_settings()?;
                let scheme = if gateway.speaks_tls() { "https" } else { "http" };
                format!("{scheme}://{}", gateway.listen_address)
            }
        };
        let trusted = || match &self.ca_file {
            Some(file) => anyhow::Ok(file.clone()),
            None => Ok(of_settings()?.tls.ca_file),
        };
        let address = Address::new(&text, trusted)?;
        let is_used = self.ca_file.is_none() || address.is_protected();
        ensure!(is_used, "--ca-file is for a gateway that is called by https://");
        Ok(address)
    }
}

/// The gateway at an address, once it is known that somebody listens there who may be one.
///
/// # Errors
/// Nobody is there, or somebody else: who, and what to do.
pub(crate) async fn connect(address: &Address) -> anyhow::Result<GatewayClient> {
    let client = GatewayClient::new(address)?;
    address.reach().await?;
    stranger::recognise_service(&client).await?;
    Ok(client)
}

impl Address {
    /// The address that is given as `host:port`, `http://host:port` or `https://host:port`; `trusted` gives the file of
    /// the certificates that are believed, empty for those of the system.
    ///
    /// # Errors
    /// A text that is no address, certificates that cannot be used.
    pub(crate) fn new(text: &str, trusted: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<Self> {
        let form = "--gateway is host:port, http://host:port or https://host:port, such as 127.0.0.1:8080";
        let (scheme, address) = match text.trim().split_once("://") {
            None => ("http", text.trim()),
            Some((scheme @ ("http" | "https"), address)) => (scheme, address),
            Some((scheme, _)) => bail!("{text}: a gateway is not spoken to by {scheme}; {form}"),
        };
        let address = address.strip_suffix('/').unwrap_or(address);
        if !is_address(address) {
            bail!("{text} is no address of a gateway: {form}");
        }
        let tls = match scheme {
            "https" => Some(ClientTls::trusting("--ca-file", &trusted()?)?),
            _ => None,
        };
        Ok(Self { url: url_of(scheme, address), tls })
    }

    /// Calls to it.
    ///
    /// # Errors
    /// A host that is no name.
    pub(crate) fn upstream(&self, settings: &RpcClientSettings) -> Result<Upstream, UpstreamUrlError> {
        match &self.tls {
            Some(tls) => Upstream::over_tls(&self.url, settings, tls),
            None => Upstream::new(&self.url, settings),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is called over TLS.
    pub(crate) fn is_protected(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(test)]
    pub(crate) fn in_the_clear(address: &str) -> Self {
        Self { url: url_of("http", address), tls: None }
    }

    /// Tells "nobody is there" and "somebody else is there" from "somebody is not ready", which a call cannot.
    async fn reach(&self) -> anyhow::Result<()> {
        let url = &self.url;
        let authority = url.split_once("://").map_or(url.as_str(), |(_, authority)| authority);
        let failure = match &self.tls {
            Some(tls) => {
                let host: Authority = authority.parse().with_context(|| format!("{url} is no address"))?;
                match tls.reach(&host, CONNECT_TIMEOUT).await {
                    Ok(()) => return Ok(()),
                    Err(error) if error.to_string().contains("certificate") => bail!(
                        "the gateway at {url} is not trusted: {error}. Name the certificates that you trust: --ca-file FILE"
                    ),
                    Err(error) if ClientTls::is_in_the_clear(&error) => bail!(
                        "who listens at {url} speaks no TLS: call a gateway in the clear by http://, such as \
                         --gateway http://127.0.0.1:8080"
                    ),
                    Err(error) => error.to_string(),
                }
            }
            None => match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(authority)).await {
                Ok(Ok(_)) => return stranger::recognise(authority).await,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {CONNECT_TIMEOUT:?}"),
            },
        };
        bail!(
            "no gateway at {url}: {failure}. Start the system (`make demo`, `openorder serve all`), or name its gateway: \
             --gateway host:port"
        )
    }
}

/// An address that is listened on, as one to connect to: "every address" is this machine.
pub(crate) fn url_of(scheme: &str, listen_address: &str) -> String {
    let address = listen_address.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1);
    format!("{scheme}://{address}")
}

/// A failed call in words: what was tried, what came back, and what to do where that is known.
pub(crate) fn failed(what: &str, status: &Status) -> anyhow::Error {
    let reason = reason_or_code(status);
    let advice = match reason.as_str() {
        "TOKEN_MISSING" => {
            ". Sign in by `openorder login --email ADDRESS`, or give an API key: OPENORDER_TOKEN, or --token. The first \
             operator is made by `openorder user create-operator`"
        }
        "TOKEN_EXPIRED" | "TOKEN_REVOKED" => {
            ". Sign in anew by `openorder login --email ADDRESS`, or give an API key: OPENORDER_TOKEN, or --token"
        }
        _ if is_unavailable(status) => ". `openorder probe` says what the system waits for",
        _ => "",
    };
    // One wrong field is named by the message itself.
    let fields = match violations_of(status) {
        fields if fields.len() > 1 => fields.iter().map(|(field, wrong)| format!("\n  {field}: {wrong}")).collect(),
        _ => String::new(),
    };
    anyhow::anyhow!("{what}: {reason}: {}{fields}{advice}", status.message())
}

#[cfg(test)]
mod tests {
    use openorder_rpc::rejection;
    use openorder_types::{FieldViolation, Rejection};

    use super::*;

    #[test]
    fn all_wrong_fields_of_a_request_are_named() {
        let violation = |field: &str| FieldViolation::new(field, "SKU_MALFORMED", "must be a SKU");
        let one = failed("no order", &rejection(Rejection::invalid(vec![violation("lines[0].sku")]))).to_string();
        assert_eq!(one, "no order: SKU_MALFORMED: lines[0].sku: must be a SKU");
        let two = Rejection::invalid(vec![violation("lines[0].sku"), violation("lines[1].sku")]);
        let two = failed("no order", &rejection(two)).to_string();
        assert!(two.ends_with("\n  lines[0].sku: must be a SKU\n  lines[1].sku: must be a SKU"), "{two}");
    }

    #[test]
    fn who_has_no_token_is_told_how_to_get_one() {
        let missing = rejection(Rejection::unauthenticated("TOKEN_MISSING", "the call has no token"));
        let told = failed("no orders", &missing).to_string();
        for way in ["openorder login", "OPENORDER_TOKEN", "--token", "openorder user create-operator"] {
            assert!(told.contains(way), "{told}");
        }
    }

    #[test]
    fn an_address_that_is_listened_on_can_be_connected_to() {
        assert_eq!(url_of("http", "0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(url_of("https", "[::]:8080"), "https://[::1]:8080");
        assert_eq!(url_of("http", "127.0.0.1:80"), "http://127.0.0.1:80");
        assert_eq!(url_of("http", "gateway:8080"), "http://gateway:8080");
    }

    #[test]
    fn a_gateway_is_named_by_its_address_with_or_without_a_scheme() {
        for (given, understood) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://gateway:8080/", "http://gateway:8080"),
            (" gateway:8080 ", "http://gateway:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("https://gateway:8443/", "https://gateway:8443"),
        ] {
            let address = Address::new(given, || Ok(String::new())).unwrap();
            assert_eq!(
                (address.url(), address.is_protected()),
                (understood, understood.starts_with("https")),
                "{given}"
            );
        }
        for bad in ["", "gateway", "8080", "https://gateway", "tcp://gateway:8080", "http://gateway:8080/v1", "a b:1"] {
            let error = Address::new(bad, || Ok(String::new())).unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:8080"), "{bad}: {error}");
        }
    }

    #[test]
    fn whom_to_trust_is_said_of_https_alone() {
        let trusting = |gateway: &str| {
            let args = GatewayArgs { url: Some(gateway.to_owned()), ca_file: Some("Cargo.toml".to_owned()) };
            args.address(&SettingsArgs::default()).unwrap_err().to_string()
        };
        assert!(trusting("https://gateway:8443").contains("holds no certificate"));
        assert!(trusting("gateway:8080").contains("https://"));
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_with_advice() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::in_the_clear(&listener.local_addr().unwrap().to_string());
        let url = address.url().to_owned();
        drop(listener);
        let error = connect(&address).await.err().unwrap().to_string();
        assert!(error.contains(&url) && error.contains("serve all") && error.contains("--gateway"), "{error}");
    }
}
