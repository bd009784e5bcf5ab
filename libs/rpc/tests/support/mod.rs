//! A service with every kind of behaviour, on a real port of this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unreachable_pub, missing_docs)]
#![expect(clippy::disallowed_methods, reason = "it answers as a foreign server does")]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use openorder_rpc::server::{CallMetrics, serve_measured};
use openorder_rpc::{CallContext, RpcClientSettings, RpcServerSettings, UpstreamChannel, channel, listen, rejection};
use openorder_runtime::Shutdown;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_types::Rejection;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// The service `test.Echo`: strings in, strings out.
#[derive(Clone, Default)]
pub struct Echo {
    pub calls: Arc<AtomicU32>,
}

impl Echo {
    async fn answer(self, method: String, request: Request<String>) -> Result<Response<String>, Status> {
        let earlier = self.calls.fetch_add(1, Ordering::SeqCst);
        match method.as_str() {
            "Context" => context(&request).map(Response::new),
            "Sleep" => {
                tokio::time::sleep(Duration::from_millis(request.get_ref().parse().unwrap())).await;
                Ok(Response::new("slept".to_owned()))
            }
            "Size" => Ok(Response::new("x".repeat(request.get_ref().parse().unwrap()))),
            "Panic" => panic!("the handler's secret"),
            "Fail" => Err(Status::internal("password=secret")),
            "Reject" => Err(rejection(Rejection::failed_precondition("OUT_OF_STOCK", "short").with("sku", "A"))),
            "Flaky" if earlier < request.get_ref().parse().unwrap() => {
                Err(openorder_rpc::Refusal::dependency_unavailable(Duration::from_millis(1)))
            }
            "Full" if earlier < request.get_ref().parse().unwrap() => {
                Err(openorder_rpc::Refusal::overloaded(Duration::from_millis(1)))
            }
            "Quota" => Err(Status::resource_exhausted("a quota")),
            "Flaky" | "Full" => Ok(Response::new(earlier.to_string())),
            _ => Err(Status::unimplemented("")),
        }
    }
}

/// Caller, trace and remaining milliseconds as the handler sees them, a line each.
fn context(request: &Request<String>) -> Result<String, Status> {
    let call = CallContext::of(request).map_err(rejection)?;
    let left = call.deadline.unwrap().saturating_duration_since(Instant::now());
    let roles: Vec<_> = call.caller.roles.iter().map(|role| role.as_str()).collect();
    Ok(format!("{}\n{}\n{}\n{}", call.caller.subject, roles.join(","), call.trace.traceparent(), left.as_millis()))
}

/// As many answers as asked for, with a pause after each; the last one is an error if the number is odd.
fn count(request: Request<String>) -> impl Future<Output = Result<Response<Counting>, Status>> {
    let number: u32 = request.get_ref().parse().unwrap();
    let answers = futures::stream::unfold(0, move |next| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        match next {
            next if next < number => Some((Ok(next.to_string()), next + 1)),
            next if next == number && number % 2 == 1 => Some((Err(Status::not_found("odd")), next + 1)),
            _ => None,
        }
    });
    std::future::ready(Ok(Response::new(Box::pin(answers) as Counting)))
}

type Counting = Pin<Box<dyn futures::Stream<Item = Result<String, Status>> + Send>>;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(match method.as_str() {
                "Count" => grpc.server_streaming(tower::service_fn(count), request).await,
                _ => grpc.unary(tower::service_fn(move |r| echo.clone().answer(method.clone(), r)), request).await,
            })
        })
    }
}

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub echo: Echo,
    pub task: JoinHandle<()>,
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the server as a process would, and waits for it.
    pub async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap();
    }
}

pub async fn start(role: RoleTelemetry, settings: RpcServerSettings) -> Running {
    start_at("127.0.0.1:0", role, settings).await
}

pub async fn start_at(address: &str, role: RoleTelemetry, settings: RpcServerSettings) -> Running {
    let listener = listen(address).await.unwrap();
    let (address, shutdown, echo) = (listener.local_addr().unwrap(), Shutdown::new(), Echo::default());
    let routes = Routes::new(echo.clone());
    let until = shutdown.clone();
    let metrics = CallMetrics::of(["test.Echo/Context", "test.Echo/Sleep", "test.Echo/Count"]);
    let task = tokio::spawn(async move { serve_measured(role, listener, &settings, routes, metrics, &until).await });
    Running { address, shutdown, echo, task }
}

pub async fn start_quiet() -> Running {
    start(RoleTelemetry::disabled("echo"), RpcServerSettings::default()).await
}

/// Over a socket. Retries fast, so that tests are fast.
pub fn client_settings() -> RpcClientSettings {
    RpcClientSettings { in_memory: false, backoff_min_ms: 1, backoff_max_ms: 20, ..RpcClientSettings::default() }
}

pub fn client(url: &str) -> UpstreamChannel {
    channel(&RoleTelemetry::disabled("test"), url, &client_settings()).unwrap()
}

/// Calls a method of `test.Echo` over any channel.
pub async fn call<C>(channel: C, method: &str, request: Request<String>) -> Result<String, Status>
where
    C: tonic::client::GrpcService<Body>,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    C::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <C::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::try_from(format!("/test.Echo/{method}")).unwrap();
    let answer = grpc.unary(request, path, ProstCodec::<String, String>::default()).await?;
    Ok(answer.into_inner())
}

/// The context of a service's own call, outside any trace.
pub fn service_call() -> CallContext {
    CallContext::of_service("test", TraceContext::NONE)
}

pub fn text(value: impl ToString) -> String {
    value.to_string()
}
