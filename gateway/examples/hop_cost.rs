//! What the gateway costs: the same calls to a service, directly, through a gateway that sends each by itself, and through
//! one that sends them together, over sockets within one process.
//!
//! `cargo run --release -p openorder-gateway --example hop_cost [seconds] [callers] [sampling ratio]`
//!
//! `dev/hop-pair REVISION` runs it as this tree has it and as another revision does, by turns.
//!
//! CPU time is that of the whole process; what the others have more than the first one is the hop.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use openorder_gateway::{Anonymous, Backend, GatewaySettings, serve_backends};
use openorder_proto::PUBLIC_FILE_DESCRIPTOR_SET;
use openorder_rpc::{BatchSettings, RpcClientSettings, RpcServerSettings, listen, serve};
use openorder_runtime::{Readiness, Shutdown};
use openorder_telemetry::{RoleTelemetry, testing};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

type Codec = ProstCodec<String, String>;

/// Answers with what it was asked.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "openorder.order.v1.OrderService";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let echo =
                |request: Request<String>| std::future::ready(Ok::<_, Status>(Response::new(request.into_inner())));
            Ok(tonic::server::Grpc::new(Codec::default()).unary(tower::service_fn(echo), request).await)
        })
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: f64| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (seconds, callers, ratio) = (argument(5.0), argument(64.0) as usize, argument(0.0));
    let shutdown = Shutdown::new();
    let order = listen("127.0.0.1:0").await.unwrap();
    let order_url = format!("http://{}", order.local_addr().unwrap());
    let until = shutdown.clone();
    tokio::spawn(async move {
        let role = RoleTelemetry::disabled("order");
        serve(role, order, &RpcServerSettings::default(), Routes::new(Echo), &until).await;
    });
    let alone = gateway(&order_url, false, ratio, &shutdown).await;
    let together = gateway(&order_url, true, ratio, &shutdown).await;
    for (name, url) in [("direct", &order_url), ("alone", &alone), ("together", &together)].repeat(3) {
        let channel = Endpoint::from_shared(url.clone()).unwrap().connect_lazy();
        load(name, channel, callers, Duration::from_secs_f64(seconds)).await;
    }
    shutdown.trigger();
}

/// A gateway in front of the service; where it answers.
async fn gateway(order_url: &str, batches: bool, ratio: f64, shutdown: &Shutdown) -> String {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let backends = vec![Backend { role: "order", service: Echo::NAME, url: order_url.to_owned() }];
    let until = shutdown.clone();
    tokio::spawn(async move {
        // Recorded spans stay in memory; the gateway makes them, nobody sends them.
        let (role, _spans) = testing::recording("gateway", ratio);
        let settings = GatewaySettings {
            client: RpcClientSettings { in_memory: false, ..RpcClientSettings::default() },
            anonymous: Anonymous::Operator,
            batch: BatchSettings { enabled: batches, ..BatchSettings::default() },
            ..GatewaySettings::default()
        };
        serve_backends(role, &Readiness::new(), listener, &settings, PUBLIC_FILE_DESCRIPTOR_SET, backends, &until)
            .await
            .unwrap();
    });
    url
}

async fn load(name: &str, channel: Channel, callers: usize, duration: Duration) {
    let calls = Arc::new(AtomicU64::new(0));
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (channel, calls) = (channel.clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut grpc = tonic::client::Grpc::new(channel);
                while started.elapsed() < duration {
                    grpc.ready().await.unwrap();
                    let path = http::uri::PathAndQuery::from_static("/openorder.order.v1.OrderService/GetOrder");
                    let request = Request::new("01a1fb72-3f1f-7e69-9704-b679c9eaf9d8".repeat(4));
                    let _: Response<String> = grpc.unary(request, path, Codec::default()).await.unwrap();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (calls, wall) = (calls.load(Ordering::Relaxed) as f64, started.elapsed().as_secs_f64());
    let cpu = cpu_seconds() - cpu;
    println!("{name:>8}: {:>8.0} calls/s, {:>6.1} µs CPU a call", calls / wall, cpu / calls * 1e6);
}

/// CPU time of this process so far, user and system (Linux; ticks of 10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}
