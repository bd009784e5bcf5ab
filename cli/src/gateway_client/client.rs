//! Calls through the gateway, as any caller makes them: no trace is begun here and nothing is said about who calls, so
//! that the system does what it does for everybody.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use anyhow::Context as _;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use openorder_rpc::{Outbound, Refusal, Resend, RpcClientSettings, Upstream, UpstreamUrlError, timeout};
use tonic::Status;
use tonic::body::Body;

use super::Address;

/// The gateway, for generated clients. Every call is sent again while the gateway is away or has no room: all of them are
/// reads, or carry a request id, or do no harm twice.
#[derive(Clone)]
pub(crate) struct GatewayClient {
    upstream: Arc<Upstream>,
    authorization: Option<HeaderValue>,
}

impl GatewayClient {
    /// The gateway at this address; nothing is connected yet.
    ///
    /// # Errors
    /// An address that is none.
    pub(crate) fn new(address: &Address) -> Result<Self, UpstreamUrlError> {
        let settings = RpcClientSettings {
            default_timeout_ms: 10_000,
            attempts_max: 10,
            retry_percent: 100,
            waits_for_room: true,
            ..Default::default()
        };
        Ok(Self { upstream: Arc::new(address.upstream(&settings)?), authorization: None })
    }

    /// The same gateway, called with an API key or an access token; without one, as whoever says nothing of itself.
    ///
    /// # Errors
    /// What cannot be a token.
    pub(crate) fn with_token(self, token: Option<&str>) -> anyhow::Result<Self> {
        let authorization = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose();
        let mut authorization = authorization.ok().context("the token has characters that no token has")?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self { authorization, ..self })
    }

    /// What its calls say of who makes them.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// `host:port`, as grpcurl wants it.
    pub(crate) fn authority(&self) -> &str {
        self.upstream.authority().as_str()
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let bound = timeout::parse(&parts.headers).unwrap_or(self.upstream.default_timeout());
        let deadline = Some(Instant::now() + bound);
        let mut headers = parts.headers;
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers.insert(timeout::GRPC_TIMEOUT, timeout::header(bound));
        let path = parts.uri.into_parts().path_and_query.ok_or_else(Refusal::internal)?;
        let outbound =
            Outbound { path, headers, body, deadline, body_deadline: deadline, resend: Resend::Safe, batchable: false };
        Ok(self.upstream.call(outbound).await?.map(Body::new))
    }
}

impl tower::Service<Request<Body>> for GatewayClient {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::service::interceptor::InterceptedService;
    use tonic::transport::Server;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::server::health_reporter;

    use super::*;

    #[tokio::test]
    async fn a_call_that_finds_no_room_is_sent_again_until_it_is_answered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::in_the_clear(&listener.local_addr().unwrap().to_string());
        let calls = Arc::new(AtomicU32::new(0));
        let counted = calls.clone();
        let (_, health) = health_reporter();
        // More often than a call is attempted.
        let health = InterceptedService::new(health, move |request| match counted.fetch_add(1, Ordering::Relaxed) {
            0..12 => Err(Refusal::overloaded(Duration::from_millis(10))),
            _ => Ok(request),
        });
        tokio::spawn(Server::builder().add_service(health).serve_with_incoming(TcpListenerStream::new(listener)));
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.set_timeout(Duration::from_secs(60));
        HealthClient::new(GatewayClient::new(&address).unwrap()).check(request).await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 13);
    }
}
