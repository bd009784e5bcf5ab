//! The gateway, as commands call it.
//!
//! - `client.rs`: calls through it, for generated clients;
//! - `stranger.rs`: who listens at its address when it is not the gateway.

mod client;
mod stranger;

use std::time::Duration;

use anyhow::bail;
use openorder_rpc::status::{is_unavailable, reason_or_code, violations_of};
use tokio::net::TcpStream;
use tonic::Status;

use crate::check::is_address;
use crate::config;
use crate::settings_args::SettingsArgs;

pub(crate) use client::GatewayClient;

/// How long to wait for somebody to listen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the gateway is: the flag, or what the settings say of its own address.
///
/// # Errors
/// Settings that cannot be used, or a flag that is no address.
pub(crate) fn address(settings: &SettingsArgs, flag: Option<&String>) -> anyhow::Result<String> {
    match flag {
        Some(text) => url(text),
        None => Ok(url_of(&config::load(settings, &[])?.settings.gateway.listen_address)),
    }
}

/// The gateway at `url`, once it is known that somebody listens there who may be one.
///
/// # Errors
/// Nobody is there, or somebody else: who, and what to do.
pub(crate) async fn connect(url: &str) -> anyhow::Result<GatewayClient> {
    let client = GatewayClient::new(url)?;
    reach(client.authority(), url).await?;
    stranger::recognise_service(&client).await?;
    Ok(client)
}

/// The URL of a gateway that is given as `host:port` or as `http://host:port`.
fn url(text: &str) -> anyhow::Result<String> {
    let form = "--gateway is host:port, such as 127.0.0.1:8080";
    let address = match text.trim().split_once("://") {
        None => text.trim(),
        Some(("http", address)) => address,
        Some(("https", _)) => bail!("{text}: the gateway does not speak TLS itself; {form}"),
        Some((scheme, _)) => bail!("{text}: a gateway is not spoken to by {scheme}; {form}"),
    };
    let address = address.strip_suffix('/').unwrap_or(address);
    if !is_address(address) {
        bail!("{text} is no address of a gateway: {form}");
    }
    Ok(url_of(address))
}

/// An address that is listened on, as one to connect to: "every address" is this machine.
pub(crate) fn url_of(listen_address: &str) -> String {
    let address = listen_address.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1);
    format!("http://{address}")
}

/// Tells "nobody is there" and "somebody else is there" from "somebody is not ready", which a call cannot.
async fn reach(authority: &str, url: &str) -> anyhow::Result<()> {
    let failure = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(authority)).await {
        Ok(Ok(_)) => return stranger::recognise(authority).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {CONNECT_TIMEOUT:?}"),
    };
    bail!(
        "no gateway at {url}: {failure}. Start the system (`make demo`, `openorder serve all`), or name its gateway: \
         --gateway host:port"
    )
}

/// A failed call in words: what was tried, what came back, and what to do where that is known.
pub(crate) fn failed(what: &str, status: &Status) -> anyhow::Error {
    let reason = reason_or_code(status);
    let advice = match is_unavailable(status) {
        true => ". `openorder probe` says what the system waits for",
        false => "",
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
    fn an_address_that_is_listened_on_can_be_connected_to() {
        assert_eq!(url_of("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(url_of("[::]:8080"), "http://[::1]:8080");
        assert_eq!(url_of("127.0.0.1:80"), "http://127.0.0.1:80");
        assert_eq!(url_of("gateway:8080"), "http://gateway:8080");
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
        ] {
            assert_eq!(url(given).unwrap(), understood, "{given}");
        }
        for bad in
            ["", "gateway", "8080", "https://gateway:8080", "tcp://gateway:8080", "http://gateway:8080/v1", "a b:1"]
        {
            let error = url(bad).unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:8080"), "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_with_advice() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = connect(&url).await.err().unwrap().to_string();
        assert!(error.contains(&url) && error.contains("serve all") && error.contains("--gateway"), "{error}");
    }
}
