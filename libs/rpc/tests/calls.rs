//! Calls between a real client and a real server: who calls, in which trace, until when, and how they end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use openorder_rpc::{CallContext, RpcServerSettings, channel, reason_of, status::retry_after_of};
use openorder_telemetry::{RoleTelemetry, SpanKind, TraceContext, testing};
use openorder_types::{Caller, Role};
use support::{call, client, client_settings, service_call, start, start_quiet, text};
use tonic::{Code, Request};
use tonic_types::StatusExt;

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn caller_trace_and_deadline_reach_the_handler() {
    let server = start_quiet().await;
    let trace = TraceContext::parse(TRACEPARENT, None).unwrap();
    let caller = Caller::new("ada", [Role::Customer, Role::Operator]);
    let context = CallContext { caller, trace, deadline: None }.within(Duration::from_secs(3));
    let seen = call(client(&server.url()), "Context", context.request(text(""))).await.unwrap();
    let seen: Vec<_> = seen.lines().collect();
    // Nothing is recorded on either side, so the parent itself goes through.
    assert_eq!(seen[..3], ["ada", "customer,operator", TRACEPARENT]);
    let left: u64 = seen[3].parse().unwrap();
    assert!((2_000..=3_000).contains(&left), "{left} ms");
    server.stop().await;
}

#[tokio::test]
async fn a_call_is_a_client_span_with_a_server_span_inside() {
    let (server_role, server_spans) = testing::recording("echo", 1.0);
    let (client_role, client_spans) = testing::recording("test", 1.0);
    let server = start(server_role, RpcServerSettings::default()).await;
    let channel = channel(&client_role, &server.url(), &client_settings()).unwrap();
    let trace = TraceContext::parse(TRACEPARENT, Some("vendor=1")).unwrap();
    let context = CallContext::of_service("test", trace);
    let seen = call(channel, "Context", context.request(text(""))).await.unwrap();
    let (client_span, server_span) = (client_spans.all().remove(0), ended(&server_spans).await);
    assert_eq!((client_span.span_kind.clone(), server_span.span_kind.clone()), (SpanKind::Client, SpanKind::Server));
    assert_eq!((&*client_span.name, &*server_span.name), ("test.Echo/Context", "test.Echo/Context"));
    assert_eq!(client_span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(server_span.parent_span_id, client_span.span_context.span_id());
    assert_eq!(server_span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(server_span.span_context.trace_state().header(), "vendor=1");
    assert!(seen.lines().nth(2).unwrap().contains(&server_span.span_context.span_id().to_string()));
    let attributes: Vec<_> = server_span.attributes.iter().map(|one| format!("{}={}", one.key, one.value)).collect();
    let expected = ["rpc.system.name=grpc", "rpc.method=test.Echo/Context", "rpc.response.status_code=OK"];
    assert_eq!(attributes, expected);
    server.stop().await;
}

/// The span of a call ends with the last byte of its answer, which the caller may see a moment before.
async fn ended(spans: &testing::RecordedSpans) -> openorder_telemetry::testing::SpanData {
    let until = Instant::now() + Duration::from_secs(5);
    while spans.all().is_empty() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    spans.all().remove(0)
}

#[tokio::test]
async fn a_wrong_traceparent_begins_a_new_trace() {
    let server = start_quiet().await;
    for traceparent in [None, Some("00-nonsense-01"), Some("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")] {
        let mut request = service_call().request(text(""));
        if let Some(traceparent) = traceparent {
            request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
        }
        let plain = tonic::transport::Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap();
        let seen = call(plain, "Context", request).await.unwrap();
        let trace = TraceContext::parse(seen.lines().nth(2).unwrap(), None).unwrap();
        assert!(trace.is_valid());
        assert_ne!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_nobody_vouches_for_is_refused() {
    let server = start_quiet().await;
    let refused = call(client(&server.url()), "Context", Request::new(text(""))).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::Unauthenticated, Some("CALLER_MISSING")));
    server.stop().await;
}

#[tokio::test]
async fn a_rejection_arrives_with_its_details() {
    let server = start_quiet().await;
    let refused = call(client(&server.url()), "Reject", service_call().request(text(""))).await.unwrap_err();
    let info = refused.get_details_error_info().unwrap();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "short"));
    assert_eq!((info.reason.as_str(), info.metadata["sku"].as_str()), ("OUT_OF_STOCK", "A"));
    server.stop().await;
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_server_lives_on() {
    let server = start_quiet().await;
    let context = CallContext::of_service("test", TraceContext::parse(TRACEPARENT, None).unwrap());
    let failed = call(client(&server.url()), "Panic", context.request(text(""))).await.unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert_eq!(failed.message(), "internal error; reference 0af7651916cd43dd8448eb211c80319c");
    assert_eq!(reason_of(&failed).as_deref(), Some("INTERNAL"));
    assert_eq!(call(client(&server.url()), "Sleep", service_call().request(text(1))).await.unwrap(), "slept");
    server.stop().await;
}

#[tokio::test]
async fn a_careless_status_tells_nothing() {
    let server = start_quiet().await;
    let failed = call(client(&server.url()), "Fail", service_call().request(text(""))).await.unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert!(failed.message().starts_with("internal error; reference "), "{}", failed.message());
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_method_or_service_has_a_reason() {
    let server = start_quiet().await;
    for method in ["Nothing", "../other.Service/Method"] {
        let refused = call(client(&server.url()), method, service_call().request(text(""))).await.unwrap_err();
        assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::Unimplemented, Some("UNIMPLEMENTED")));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_server_ends_what_takes_too_long() {
    let settings = RpcServerSettings { default_timeout_ms: 50, ..RpcServerSettings::default() };
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    // A plain channel says no timeout and keeps none: the answer can only be the server's.
    let plain = tonic::transport::Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap();
    let late = call(plain, "Sleep", Request::new(text(60_000))).await.unwrap_err();
    assert_eq!((late.code(), reason_of(&late).as_deref()), (Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED")));
    server.stop().await;
}

#[tokio::test]
async fn the_callers_own_deadline_counts() {
    let server = start_quiet().await;
    let started = Instant::now();
    let context = service_call().within(Duration::from_millis(50));
    let late = call(client(&server.url()), "Sleep", context.request(text(60_000))).await.unwrap_err();
    assert_eq!((late.code(), reason_of(&late).as_deref()), (Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED")));
    assert!(started.elapsed() < Duration::from_secs(5));
    server.stop().await;
}

#[tokio::test]
async fn more_than_the_server_can_bear_is_refused_at_once() {
    let settings = RpcServerSettings { in_flight_requests_max: 1, ..RpcServerSettings::default() };
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    let channel = client(&server.url());
    let first = tokio::spawn(call(channel.clone(), "Sleep", service_call().request(text(300))));
    while server.echo.calls.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = call(channel.clone(), "Sleep", service_call().request(text(1))).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
    assert_eq!(retry_after_of(&refused), Some(Duration::from_secs(1)));
    assert_eq!(first.await.unwrap().unwrap(), "slept");
    assert_eq!(call(channel, "Sleep", service_call().request(text(1))).await.unwrap(), "slept");
    server.stop().await;
}
