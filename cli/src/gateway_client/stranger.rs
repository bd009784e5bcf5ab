//! Who listens where the gateway was said to be, when it is not the gateway: told by name, before a call fails with
//! words that only a library understands.

use std::time::Duration;

use anyhow::bail;
use openorder_rpc::status::{is_not_found, is_unimplemented};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::client::GatewayClient;
use crate::http;
use crate::port::{self, Speaks};
use crate::roles::Role;

/// How long one question may take. Whoever takes longer may be a gateway that starts, or that has much to do.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Where the gateway listens by default, for advice.
const USUAL: &str = "127.0.0.1:8080 by default";

/// An ApiVersions request of Kafka, version 0, without a client id; its correlation id comes back with the answer.
const KAFKA_REQUEST: &[u8] = b"\x00\x00\x00\x0a\x00\x12\x00\x00open\xff\xff";

/// Whether whoever listens at `host:port` may be a gateway.
///
/// # Errors
/// It speaks another protocol than gRPC's; which one, if it is known.
pub(crate) async fn recognise(address: &str) -> anyhow::Result<()> {
    match tokio::time::timeout(QUESTION_TIMEOUT, port::serves(address)).await {
        // A port is bound before it is served.
        Ok(Ok(Speaks::Http2)) | Err(_) => return Ok(()),
        Ok(Ok(Speaks::Tls)) => {
            bail!("{address} speaks TLS: --gateway https://{address}, and --ca-file for an authority of your own")
        }
        Ok(Err(_)) => {}
    }
    if let Some(who) = web_server(address).await {
        bail!("{address} {who}");
    }
    if tokio::time::timeout(QUESTION_TIMEOUT, is_kafka(address)).await.is_ok_and(|answer| answer.unwrap_or(false)) {
        bail!("{address} is a Kafka broker; orders are placed through the gateway, at {USUAL}");
    }
    // A gateway that closes a connection because it ends is asked again by the call itself.
    Ok(())
}

/// Who answers HTTP/1.1 at the address, if anybody does.
async fn web_server(address: &str) -> Option<String> {
    let answer = http::get(address, "/readyz", QUESTION_TIMEOUT).await.ok()?;
    let is_admin = serde_json::from_str::<Value>(&answer.body).is_ok_and(|body| body["dependencies"].is_array());
    Some(match is_admin {
        true => format!(
            "is the admin port of an openorder process, for /readyz and /metrics; the gateway has a port of its own: \
             gateway.listen_address, {USUAL}"
        ),
        false => format!("answers as a web server, and is no gateway; the gateway is at {USUAL}"),
    })
}

async fn is_kafka(address: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(KAFKA_REQUEST).await?;
    let mut head = [0; 8];
    stream.read_exact(&mut head).await?;
    Ok(head[4..] == KAFKA_REQUEST[8..12])
}

/// Whether it is the gateway that speaks gRPC here: it knows the health of every service, and a service that of itself.
///
/// # Errors
/// It is a service's own port, or none of OpenOrder's.
pub(crate) async fn recognise_service(gateway: &GatewayClient) -> anyhow::Result<()> {
    let mut known = Vec::new();
    for role in Role::ALL {
        let Some(service) = role.grpc_services().first() else { continue };
        match knows(gateway, service).await {
            Ok(()) => known.push(role),
            Err(status) if is_not_found(&status) => {}
            // A web server that speaks HTTP/2 as well, such as the admin port, or somebody else's gRPC.
            Err(status) if is_unimplemented(&status) => {
                let address = gateway.authority();
                match web_server(address).await {
                    Some(who) => bail!("{address} {who}"),
                    None => bail!("{address} speaks gRPC, and is no gateway of OpenOrder; the gateway is at {USUAL}"),
                }
            }
            // Whoever it is has no time, or is on its way up or down.
            Err(_) => return Ok(()),
        }
        if known.len() > 1 {
            return Ok(());
        }
    }
    if let [role] = known.as_slice() {
        bail!(
            "{} is the port of the {role} service alone, for calls between services; the gateway has a port of its own: \
             gateway.listen_address, {USUAL}",
            gateway.authority()
        );
    }
    Ok(())
}

fn brief<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(QUESTION_TIMEOUT);
    request
}

async fn knows(gateway: &GatewayClient, service: &str) -> Result<(), Status> {
    let request = brief(HealthCheckRequest { service: service.to_owned() });
    HealthClient::new(gateway.clone()).check(request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::Server;
    use tonic_health::server::health_reporter;

    use super::super::{Address, connect};
    use super::*;

    /// Somebody who answers every connection with these bytes, as soon as it has heard something.
    async fn somebody(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut heard = [0; 256];
                drop(stream.read(&mut heard).await);
                drop(stream.write_all(answer).await);
                drop(stream.shutdown().await);
            }
        });
        address
    }

    #[tokio::test]
    async fn an_admin_port_and_any_web_server_are_told_as_such() {
        let admin = somebody(b"HTTP/1.1 503 x\r\n\r\n{\"status\":\"waiting\",\"dependencies\":[]}").await;
        let error = recognise(&admin).await.unwrap_err().to_string();
        assert!(error.contains("admin port") && error.contains("gateway.listen_address"), "{error}");
        let web = somebody(b"HTTP/1.1 200 OK\r\n\r\n<html>").await;
        assert!(recognise(&web).await.unwrap_err().to_string().contains("web server"));
    }

    #[tokio::test]
    async fn a_broker_of_kafka_is_told_as_such() {
        let brokers = openorder_testing::brokers();
        let error = recognise(&brokers).await.unwrap_err().to_string();
        assert!(error.contains("is a Kafka broker") && error.contains("8080"), "{error}");
    }

    #[tokio::test]
    async fn whoever_hangs_up_may_be_a_gateway_that_ends() {
        assert!(recognise(&somebody(b"").await).await.is_ok());
    }

    #[tokio::test]
    async fn a_service_knows_its_own_health_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::in_the_clear(&listener.local_addr().unwrap().to_string());
        let (reporter, health) = health_reporter();
        reporter.set_service_status("openorder.payment.v1.PaymentService", tonic_health::ServingStatus::Serving).await;
        tokio::spawn(Server::builder().add_service(health).serve_with_incoming(TcpListenerStream::new(listener)));
        let error = connect(&address).await.err().unwrap().to_string();
        assert!(error.contains("payment service") && error.contains("gateway.listen_address"), "{error}");
        reporter.set_service_status("openorder.order.v1.OrderService", tonic_health::ServingStatus::NotServing).await;
        assert!(connect(&address).await.is_ok(), "a gateway may wait for its services");
    }
}
