//! A gateway on a real port, and services behind it that do what the request's text says.
//!
//! The gateway forwards bytes: the messages here are plain strings, whatever the contract says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unreachable_pub, missing_docs)]

pub mod http1;
pub mod raw;
pub mod shop;
pub mod tls;
pub mod wire;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use openorder_gateway::{Anonymous, Backend, GatewaySettings, serve_backends};
use openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET;
use openorder_rpc::{RpcClientSettings, RpcServerSettings, listen, rejection, serve, with_health};
use openorder_runtime::{Readiness, Shutdown};
use openorder_telemetry::RoleTelemetry;
use openorder_testing::free_address;
use openorder_types::Rejection;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

pub const CREATE_ORDER: &str = "/openorder.order.v1.OrderService/CreateOrder";
pub const GET_ORDER: &str = "/openorder.order.v1.OrderService/GetOrder";
pub const WATCH_ORDER: &str = "/openorder.order.v1.OrderService/WatchOrder";
pub const GET_PRODUCT: &str = "/openorder.product.v1.ProductService/GetProduct";
pub const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
pub const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

type Codec = ProstCodec<String, String>;
type Answers = Pin<Box<dyn futures::Stream<Item = Result<String, Status>> + Send>>;

/// What a service saw.
#[derive(Clone, Default)]
pub struct Seen {
    pub begun: Arc<AtomicU32>,
    /// Handlers that were dropped before their end.
    pub dropped: Arc<AtomicU32>,
    /// Handlers that sleep, and the most of them at a time.
    pub sleeping: Arc<AtomicU32>,
    pub sleeping_max: Arc<AtomicU32>,
}

async fn answer(seen: Seen, request: Request<String>) -> Result<Response<String>, Status> {
    seen.begun.fetch_add(1, Ordering::SeqCst);
    let headers = request.metadata().clone().into_headers();
    let mut text = request.into_inner();
    if text.is_empty() {
        // Of a request whose field has to be empty.
        text = headers.get("x-text").map_or("", |text| text.to_str().unwrap()).to_owned();
    }
    let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
    match word {
        "headers" => {
            let mut lines: Vec<_> =
                headers.iter().map(|(key, value)| format!("{key}: {}", value.to_str().unwrap())).collect();
            lines.sort();
            Ok(Response::new(lines.join("\n")))
        }
        "sleep" => {
            let unfinished = Unfinished(Some(Arc::clone(&seen.dropped)));
            let sleeping = seen.sleeping.fetch_add(1, Ordering::SeqCst) + 1;
            seen.sleeping_max.fetch_max(sleeping, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(rest.parse().unwrap())).await;
            seen.sleeping.fetch_sub(1, Ordering::SeqCst);
            unfinished.finish();
            Ok(Response::new("slept".to_owned()))
        }
        "reject" => {
            let mut status = rejection(Rejection::failed_precondition("OUT_OF_STOCK", "kürzer 短い").with("sku", "A"));
            status.metadata_mut().insert("own-trailer", "kept".parse().unwrap());
            Err(status)
        }
        "panic" => panic!("the handler's secret"),
        "size" => Ok(Response::new("x".repeat(rest.parse().unwrap()))),
        _ => {
            let mut response = Response::new(text);
            response.metadata_mut().insert("own-header", "kept".parse().unwrap());
            Ok(response)
        }
    }
}

struct Unfinished(Option<Arc<AtomicU32>>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// `N M`: N answers, one every M milliseconds, then a rejection.
fn stream(seen: &Seen, request: &Request<String>) -> Answers {
    seen.begun.fetch_add(1, Ordering::SeqCst);
    let (number, pause) = request.get_ref().split_once(' ').unwrap();
    let (number, pause): (u32, u64) = (number.parse().unwrap(), pause.parse().unwrap());
    let unfinished = Unfinished(Some(Arc::clone(&seen.dropped)));
    Box::pin(futures::stream::unfold((0, unfinished), move |(next, unfinished)| async move {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let item = match next.cmp(&number) {
            std::cmp::Ordering::Less => Ok(next.to_string()),
            std::cmp::Ordering::Equal => Err(rejection(Rejection::aborted("STREAM_OVER", "over"))),
            std::cmp::Ordering::Greater => {
                unfinished.finish();
                return None;
            }
        };
        Some((item, (next + 1, unfinished)))
    }))
}

macro_rules! service {
    ($name:ident, $full:literal) => {
        #[derive(Clone)]
        struct $name(Seen);

        impl NamedService for $name {
            const NAME: &'static str = $full;
        }

        impl tower::Service<http::Request<Body>> for $name {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                let seen = self.0.clone();
                Box::pin(async move {
                    let mut grpc = tonic::server::Grpc::new(Codec::default());
                    if request.uri().path().ends_with("/WatchOrder") {
                        let service = tower::service_fn(move |request| {
                            std::future::ready(Ok(Response::new(stream(&seen, &request))))
                        });
                        return Ok(grpc.server_streaming(service, request).await);
                    }
                    Ok(grpc.unary(tower::service_fn(move |request| answer(seen.clone(), request)), request).await)
                })
            }
        }
    };
}

service!(Orders, "openorder.order.v1.OrderService");
service!(Products, "openorder.product.v1.ProductService");

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub shutdown: Shutdown,
    pub seen: Seen,
    pub readiness: Readiness,
    pub task: JoinHandle<()>,
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.unwrap();
    }

    /// Without waiting for callers that never end.
    pub fn stop_at_once(self) {
        self.task.abort();
    }

    pub fn begun(&self) -> u32 {
        self.seen.begun.load(Ordering::SeqCst)
    }

    pub fn dropped(&self) -> u32 {
        self.seen.dropped.load(Ordering::SeqCst)
    }
}

pub async fn orders() -> Running {
    service_at("127.0.0.1:0", RoleTelemetry::disabled("order"), |seen| Routes::new(Orders(seen))).await
}

pub async fn orders_at(address: &str, role: RoleTelemetry) -> Running {
    service_at(address, role, |seen| Routes::new(Orders(seen))).await
}

pub async fn products() -> Running {
    service_at("127.0.0.1:0", RoleTelemetry::disabled("product"), |seen| Routes::new(Products(seen))).await
}

/// An order service with these settings.
pub async fn orders_with(address: &str, role: RoleTelemetry, settings: RpcServerSettings) -> Running {
    service_with(address, role, settings, |seen| Routes::new(Orders(seen))).await
}

pub async fn service_at(address: &str, role: RoleTelemetry, routes: impl FnOnce(Seen) -> Routes) -> Running {
    service_with(address, role, RpcServerSettings::default(), routes).await
}

async fn service_with(
    address: &str,
    role: RoleTelemetry,
    settings: RpcServerSettings,
    routes: impl FnOnce(Seen) -> Routes,
) -> Running {
    let listener = listen(address).await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    let (seen, readiness) = (Seen::default(), Readiness::new());
    let routes = with_health(routes(seen.clone()), role.role(), &[], &readiness);
    let until = shutdown.clone();
    let task = tokio::spawn(async move { serve(role, listener, &settings, routes, &until).await });
    Running { address, shutdown, seen, readiness, task }
}

/// A gateway in front of the order service at one address and the product service at another.
pub async fn gateway(order: &str, product: &str, settings: GatewaySettings) -> Running {
    gateway_of(RoleTelemetry::disabled("gateway"), order, product, settings).await
}

pub async fn gateway_of(role: RoleTelemetry, order: &str, product: &str, settings: GatewaySettings) -> Running {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let (address, shutdown, readiness) = (listener.local_addr().unwrap(), Shutdown::new(), Readiness::new());
    let backends = vec![
        Backend { role: "order", service: "openorder.order.v1.OrderService", url: order.to_owned() },
        Backend { role: "product", service: "openorder.product.v1.ProductService", url: product.to_owned() },
    ];
    let (until, ready) = (shutdown.clone(), readiness.clone());
    let task = tokio::spawn(async move {
        serve_backends(role, &ready, listener, &settings, PUBLIC_FILE_DESCRIPTOR_SET, backends, &until).await.unwrap();
    });
    Running { address, shutdown, seen: Seen::default(), readiness, task }
}

/// Settings under which tests are fast, and callers need no token.
pub fn settings() -> GatewaySettings {
    let client =
        RpcClientSettings { in_memory: false, backoff_min_ms: 1, backoff_max_ms: 20, ..RpcClientSettings::default() };
    let anonymous = Anonymous::Operator;
    GatewaySettings { health_interval_ms: 20, client, anonymous, ..GatewaySettings::default() }
}

/// A caller from outside: a plain channel.
pub async fn caller(gateway: &Running) -> Channel {
    Endpoint::from_shared(gateway.url()).unwrap().connect().await.unwrap()
}

pub async fn call(channel: &Channel, path: &'static str, text: impl Into<String>) -> Result<Response<String>, Status> {
    call_with(channel, path, Request::new(text.into())).await
}

pub async fn call_with(
    channel: &Channel,
    path: &'static str,
    request: Request<String>,
) -> Result<Response<String>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    grpc.unary(request, path.parse().unwrap(), Codec::default()).await
}

pub async fn watch(channel: &Channel, text: &str) -> Result<tonic::Streaming<String>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let request = Request::new(text.to_owned());
    grpc.server_streaming(request, WATCH_ORDER.parse().unwrap(), Codec::default()).await.map(Response::into_inner)
}

/// Waits up to five seconds until something is so.
pub async fn until(what: impl AsyncFn() -> bool) {
    for _ in 0..1_000 {
        if what().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to be");
}

/// An address where nobody answers.
pub fn listen_nowhere() -> String {
    format!("http://{}", free_address())
}
