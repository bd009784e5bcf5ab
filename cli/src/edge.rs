//! Calls through the gateway, as any caller makes them: no trace is begun here and nothing is said about who calls, so
//! that the system does what it does for everybody.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::bail;
use http::{Request, Response};
use http_body_util::BodyExt;
use openorder_rpc::status::{is_unavailable, reason_or_code, retry_after_of, violations_of};
use openorder_rpc::{Outbound, RpcClientSettings, Upstream, UpstreamBody, timeout};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::args::SettingsArgs;
use crate::check::is_address;
use crate::{config, stranger};

/// How long to wait for somebody to listen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pauses before a gateway without room is asked again, doubled each time. The call's deadline ends it.
const ROOM_PAUSE_MIN: Duration = Duration::from_millis(50);
const ROOM_PAUSE_MAX: Duration = Duration::from_secs(1);

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

/// The gateway, for generated clients. Every call is sent again while the gateway is away or has no room: all of them are
/// reads, or carry a request id.
#[derive(Clone)]
pub(crate) struct Edge {
    upstream: Arc<Upstream>,
}

impl Edge {
    /// The gateway at `url`, once it is known that somebody listens there.
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let settings = RpcClientSettings {
            default_timeout_ms: 10_000,
            attempts_max: 10,
            retry_percent: 100,
            ..Default::default()
        };
        let upstream = Upstream::new(url, &settings)?;
        reach(&upstream, url).await?;
        let edge = Self { upstream: Arc::new(upstream) };
        stranger::recognise_service(&edge).await?;
        Ok(edge)
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
        headers.insert(timeout::GRPC_TIMEOUT, timeout::header(bound));
        let path = parts.uri.into_parts().path_and_query.ok_or_else(|| Status::internal("a call without a path"))?;
        let outbound = Outbound { path, headers, body, deadline, body_deadline: deadline, retry_safe: true };
        Ok(self.call_until_room(outbound).await?.map(Body::new))
    }

    /// What the gateway answers once it has room, or its refusal when the deadline is too near for another try.
    async fn call_until_room(&self, outbound: Outbound) -> Result<Response<UpstreamBody>, Status> {
        let mut pause = ROOM_PAUSE_MIN;
        loop {
            let answer = self.upstream.call(outbound.clone()).await?;
            let Some(advised) = Status::from_header_map(answer.headers()).as_ref().and_then(room_after) else {
                return Ok(answer);
            };
            // Callers that were refused together do not come back together.
            let wait = pause.max(advised).min(ROOM_PAUSE_MAX).mul_f64(rand::random_range(0.5..=1.0));
            if outbound.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
                return Ok(answer);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
    }
}

impl tower::Service<Request<Body>> for Edge {
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

/// Tells "nobody is there" and "somebody else is there" from "somebody is not ready", which a call cannot.
async fn reach(upstream: &Upstream, url: &str) -> anyhow::Result<()> {
    let connected = TcpStream::connect(upstream.authority().as_str());
    let failure = match tokio::time::timeout(CONNECT_TIMEOUT, connected).await {
        Ok(Ok(_)) => return stranger::recognise(upstream.authority().as_str()).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {CONNECT_TIMEOUT:?}"),
    };
    bail!(
        "no gateway at {url}: {failure}. Start the system (`make demo`, `openorder serve all`), or name its gateway: \
         --gateway host:port"
    )
}

/// When to come back, if the gateway has no room for the call now: a refusal that names no time is none of these.
pub(crate) fn room_after(status: &Status) -> Option<Duration> {
    if status.code() != Code::ResourceExhausted {
        return None;
    }
    retry_after_of(status)
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
    use std::sync::atomic::{AtomicU32, Ordering};

    use openorder_rpc::{Refusal, reason_of, rejection};
    use openorder_types::{FieldViolation, Rejection};
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::service::interceptor::InterceptedService;
    use tonic::transport::Server;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::server::health_reporter;

    use super::*;

    /// A gateway that answers its first calls with a refusal, and how many it was asked.
    async fn gateway_that_refuses(calls: u32, refusal: fn() -> Status) -> (Edge, Arc<AtomicU32>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicU32::new(0));
        let counted = asked.clone();
        let (_, health) = health_reporter();
        let health =
            InterceptedService::new(health, move |request| match counted.fetch_add(1, Ordering::Relaxed) < calls {
                true => Err(refusal()),
                false => Ok(request),
            });
        tokio::spawn(Server::builder().add_service(health).serve_with_incoming(TcpListenerStream::new(listener)));
        let settings = RpcClientSettings { default_timeout_ms: 10_000, ..Default::default() };
        (Edge { upstream: Arc::new(Upstream::new(&url, &settings).unwrap()) }, asked)
    }

    fn check(within: Duration) -> tonic::Request<HealthCheckRequest> {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.set_timeout(within);
        request
    }

    fn overloaded() -> Status {
        Refusal::overloaded(Duration::from_millis(10))
    }

    #[tokio::test]
    async fn a_call_that_finds_no_room_is_sent_again_until_it_is_answered() {
        let (edge, asked) = gateway_that_refuses(2, overloaded).await;
        HealthClient::new(edge).check(check(Duration::from_secs(10))).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_gateway_that_never_has_room_is_given_up_by_the_deadline_and_its_refusal_is_told() {
        let (edge, asked) = gateway_that_refuses(u32::MAX, overloaded).await;
        let begin = Instant::now();
        let status = HealthClient::new(edge).check(check(Duration::from_secs(1))).await.unwrap_err();
        assert_eq!(reason_of(&status).unwrap(), "OVERLOADED");
        assert!(begin.elapsed() < Duration::from_secs(2));
        assert!(asked.load(Ordering::Relaxed) > 1);
    }

    #[tokio::test]
    async fn a_refusal_that_no_waiting_changes_is_told_at_once() {
        for refusal in
            [|| Status::resource_exhausted("a quota"), || Status::invalid_argument("bad")] as [fn() -> Status; 2]
        {
            let (edge, asked) = gateway_that_refuses(u32::MAX, refusal).await;
            let status = HealthClient::new(edge).check(check(Duration::from_secs(10))).await.unwrap_err();
            assert_eq!(status.code(), refusal().code());
            assert_eq!(asked.load(Ordering::Relaxed), 1);
        }
    }

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
    async fn nobody_there_is_told_with_advice() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let told = Edge::connect(&url).await.err().unwrap().to_string();
        assert!(told.contains(&url) && told.contains("serve all") && told.contains("--gateway"), "{told}");
    }
}
