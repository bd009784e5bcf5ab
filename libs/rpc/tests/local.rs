//! Calls to a service of the caller's own process: without a socket, and answered as over one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use openorder_rpc::{
    CallContext, ConnectionSettings, RpcClientSettings, RpcServerSettings, UpstreamChannel, channel, reason_of,
};
use openorder_telemetry::{RoleTelemetry, SpanKind, TraceContext, testing};
use support::{Running, call, client, client_settings, service_call, start, start_quiet, text};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// A server that takes no connection, so that whatever it answers did not come over one.
async fn start_without_connections(role: RoleTelemetry, settings: RpcServerSettings) -> Running {
    let connection = ConnectionSettings { connections_max: 0, ..settings.connection };
    let server = start(role, RpcServerSettings { connection, ..settings }).await;
    // Its task has the thread now, and takes calls when it gives it back.
    tokio::task::yield_now().await;
    server
}

fn in_memory() -> RpcClientSettings {
    RpcClientSettings { in_memory: true, ..client_settings() }
}

fn local(url: &str) -> UpstreamChannel {
    channel(&RoleTelemetry::disabled("test"), url, &in_memory()).unwrap()
}

fn told<T: std::fmt::Debug>(outcome: Result<T, Status>) -> String {
    match outcome {
        Ok(answer) => format!("{answer:?}"),
        Err(status) => format!("{:?} {:?} {}", status.code(), reason_of(&status), status.message()),
    }
}

/// What a caller sees of calls that end in every way.
async fn outcomes(channel: UpstreamChannel) -> Vec<String> {
    let trace = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("a=1")).unwrap();
    let context = CallContext::of_service("test", trace);
    let seen = call(channel.clone(), "Context", context.request(text(""))).await.unwrap();
    let mut outcomes: Vec<String> = seen.lines().take(3).map(str::to_owned).collect();
    for (method, request) in [("Reject", ""), ("Fail", ""), ("Panic", ""), ("Sleep", "1"), ("Nothing", "")] {
        outcomes.push(told(call(channel.clone(), method, context.request(text(request))).await));
    }
    let large = context.request("x".repeat(2_000));
    outcomes.push(told(call(channel.clone(), "Reject", large).await));
    outcomes.push(told(call(channel.clone(), "Context", Request::new(text(""))).await));
    let short = context.clone().within(Duration::from_millis(50));
    outcomes.push(told(call(channel.clone(), "Sleep", short.request(text(60_000))).await));
    for number in [3, 4] {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let path = "/test.Echo/Count".parse().unwrap();
        let codec = ProstCodec::<String, String>::default();
        let answer = grpc.server_streaming(context.request(text(number)), path, codec).await.unwrap();
        outcomes.extend(answer.into_inner().map(told).collect::<Vec<_>>().await);
    }
    outcomes
}

#[tokio::test]
async fn a_call_within_the_process_is_answered_as_one_over_a_socket() {
    let settings = RpcServerSettings { request_body_limit_bytes: 1_000, ..RpcServerSettings::default() };
    let role = || RoleTelemetry::disabled("echo");
    let (far, near) = (start(role(), settings.clone()).await, start_without_connections(role(), settings).await);
    let expected = outcomes(client(&far.url())).await;
    assert!(expected.iter().any(|told| told.contains("REQUEST_TOO_LARGE")), "{expected:?}");
    assert!(expected.iter().any(|told| told.contains("DEADLINE_EXCEEDED")), "{expected:?}");
    assert_eq!(outcomes(local(&near.url())).await, expected);
    near.stop().await;
    far.stop().await;
}

#[tokio::test]
async fn both_ends_of_a_call_within_the_process_have_their_spans() {
    let (server_role, server_spans) = testing::recording("echo", 1.0);
    let (client_role, client_spans) = testing::recording("test", 1.0);
    let server = start_without_connections(server_role, RpcServerSettings::default()).await;
    let channel = channel(&client_role, &server.url(), &in_memory()).unwrap();
    call(channel, "Sleep", service_call().request(text(0))).await.unwrap();
    // In one process the server's span has ended when the caller has its answer.
    let (client, server_span) = (client_spans.all().remove(0), server_spans.all().remove(0));
    assert_eq!((client.span_kind, server_span.span_kind), (SpanKind::Client, SpanKind::Server));
    assert_eq!(server_span.parent_span_id, client.span_context.span_id());
    server.stop().await;
}

#[tokio::test]
async fn the_limit_of_calls_at_a_time_holds_within_the_process() {
    let settings = RpcServerSettings { in_flight_requests_max: 1, ..RpcServerSettings::default() };
    let server = start_without_connections(RoleTelemetry::disabled("echo"), settings).await;
    let first = tokio::spawn(call(local(&server.url()), "Sleep", service_call().request(text(60_000))));
    begun(&server).await;
    let refused = call(local(&server.url()), "Sleep", service_call().request(text(1))).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
    // A caller that goes away ends its call, and gives its place back.
    first.abort();
    drop(first.await);
    call(local(&server.url()), "Sleep", service_call().request(text(1))).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_service_that_goes_down_is_found_no_more_and_its_calls_end_first() {
    let server = start_without_connections(RoleTelemetry::disabled("echo"), RpcServerSettings::default()).await;
    let running = tokio::spawn(call(local(&server.url()), "Sleep", service_call().request(text(300))));
    begun(&server).await;
    server.shutdown.trigger();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let once = RpcClientSettings { attempts_max: 1, ..in_memory() };
    let channel = channel(&RoleTelemetry::disabled("test"), &server.url(), &once).unwrap();
    let refused = call(channel, "Sleep", service_call().request(text(1))).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::Unavailable, Some("UPSTREAM_UNAVAILABLE")));
    server.stop().await;
    assert!(running.is_finished(), "the service waited for its call");
    assert_eq!(running.await.unwrap().unwrap(), "slept");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever_for_a_call_within_the_process() {
    let connection = ConnectionSettings { drain_timeout_ms: 100, ..ConnectionSettings::default() };
    let settings = RpcServerSettings { connection, ..RpcServerSettings::default() };
    let server = start_without_connections(RoleTelemetry::disabled("echo"), settings).await;
    let running = tokio::spawn(call(local(&server.url()), "Sleep", service_call().request(text(60_000))));
    begun(&server).await;
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(2));
    running.abort();
}

#[tokio::test]
async fn another_address_of_the_same_service_is_called_over_a_socket() {
    let server = start_quiet().await;
    let url = format!("http://localhost:{}", server.address.port());
    call(local(&url), "Sleep", service_call().request(text(1))).await.unwrap();
    server.stop().await;
}

async fn begun(server: &Running) {
    while server.echo.calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
