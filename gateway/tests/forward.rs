//! Calls through the gateway: where they go, what they carry, and how they come back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use openorder_gateway::GatewaySettings;
use openorder_rpc::{IncomingTrace, reason_of, rejection};
use openorder_telemetry::{SpanKind, testing};
use openorder_types::Rejection;
use support::raw::Raw;
use support::{
    GET_ORDER, GET_PRODUCT, call, call_with, caller, gateway, gateway_of, orders, orders_at, products, settings, until,
    watch,
};
use tonic::{Code, Request};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The value of a header that the service saw.
fn header<'a>(seen: &'a str, name: &str) -> Option<&'a str> {
    seen.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn each_service_gets_its_own_calls() {
    let (orders, products) = (orders().await, products().await);
    let gateway = gateway(&orders.url(), &products.url(), settings()).await;
    let outside = caller(&gateway).await;
    assert_eq!(call(&outside, GET_ORDER, "hello").await.unwrap().into_inner(), "hello");
    assert_eq!((orders.begun(), products.begun()), (1, 0));
    assert_eq!(call(&outside, GET_PRODUCT, "hello").await.unwrap().into_inner(), "hello");
    assert_eq!((orders.begun(), products.begun()), (1, 1));
}

#[tokio::test]
async fn what_is_not_on_the_list_is_unimplemented() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let outside = caller(&gateway).await;
    for path in [
        "/openorder.order.v1.OrderService/DropAllOrders",
        "/openorder.order.v1.OrderService/GetOrder/",
        // In the contract, and not behind this gateway.
        "/openorder.payment.v1.PaymentService/GetWallet",
        // Asked by OpenOrder's own processes alone.
        "/openorder.internal.operations.v1.PipelineService/GetPipelineState",
        "/openorder.internal.rpc.v1.BatchService/ExchangeCalls",
        "/unknown.Service/Method",
        "/",
    ] {
        let refused = call(&outside, path, "hello").await.unwrap_err();
        let seen = (refused.code(), reason_of(&refused));
        assert_eq!(seen, (Code::Unimplemented, Some("UNIMPLEMENTED".to_owned())), "{path}");
    }
    assert_eq!(orders.begun(), 0);
}

#[tokio::test]
async fn the_gateway_says_who_calls_and_nobody_else() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let mut request = Request::new("headers".to_owned());
    for (key, value) in [
        ("x-openorder-subject", "root"),
        ("x-openorder-roles", "service"),
        ("x-openorder-anything", "spoofed"),
        ("x-own", "kept"),
    ] {
        request.metadata_mut().append(key, value.parse().unwrap());
        request.metadata_mut().append(key, value.parse().unwrap());
    }
    let seen = call_with(&caller(&gateway).await, GET_ORDER, request).await.unwrap().into_inner();
    assert_eq!(header(&seen, "x-openorder-subject"), Some("anonymous-operator"));
    assert_eq!(header(&seen, "x-openorder-roles"), Some("operator"));
    assert_eq!(seen.lines().filter(|line| line.starts_with("x-openorder-")).count(), 2, "{seen}");
    assert_eq!(seen.lines().filter(|line| *line == "x-own: kept").count(), 2, "{seen}");
}

#[tokio::test]
async fn a_trusted_callers_trace_goes_on_and_a_new_one_begins_without() {
    let (order_role, order_spans) = testing::recording("order", 0.0);
    let (gateway_role, gateway_spans) = testing::recording("gateway", 1.0);
    let orders = orders_at("127.0.0.1:0", order_role).await;
    let settings = GatewaySettings { incoming_trace: IncomingTrace::Trust, ..settings() };
    let gateway = gateway_of(gateway_role, &orders.url(), &orders.url(), settings).await;
    let outside = caller(&gateway).await;
    let mut request = Request::new("hello".to_owned());
    request.metadata_mut().insert("traceparent", TRACEPARENT.parse().unwrap());
    request.metadata_mut().insert("tracestate", "vendor=1".parse().unwrap());
    call_with(&outside, GET_ORDER, request).await.unwrap();
    call(&outside, GET_ORDER, "hello").await.unwrap();
    until(async || gateway_spans.all().len() == 2 && order_spans.all().len() == 2).await;
    let (edge, service) = (gateway_spans.all(), order_spans.all());
    assert!(edge.iter().all(|span| span.span_kind == SpanKind::Server));
    assert_eq!(&*edge[0].name, "openorder.order.v1.OrderService/GetOrder");
    assert_eq!(edge[0].parent_span_id.to_string(), "b7ad6b7169203331");
    for (edge, service) in edge.iter().zip(&service) {
        assert_eq!(service.parent_span_id, edge.span_context.span_id());
        assert_eq!(service.span_context.trace_id(), edge.span_context.trace_id());
    }
    assert_eq!(service[0].span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(service[0].span_context.trace_state().header(), "vendor=1");
    assert_eq!(edge[1].parent_span_id.to_string(), "0000000000000000");
    assert_ne!(service[1].span_context.trace_id(), service[0].span_context.trace_id());
}

#[tokio::test]
async fn a_caller_decides_nothing_about_traces() {
    let constant = "0af7651916cd43dd8448eb211c80319c";
    for (incoming_trace, links) in [(IncomingTrace::Link, 1), (IncomingTrace::Ignore, 0)] {
        let (order_role, order_spans) = testing::recording("order", 0.0);
        let (gateway_role, gateway_spans) = testing::recording("gateway", 1.0);
        let orders = orders_at("127.0.0.1:0", order_role).await;
        let settings = GatewaySettings { incoming_trace, ..settings() };
        let gateway = gateway_of(gateway_role, &orders.url(), &orders.url(), settings).await;
        let outside = caller(&gateway).await;
        // Not to be recorded, and twice the same.
        for flags in ["00", "01", "01"] {
            let mut request = Request::new("hello".to_owned());
            let traceparent = format!("00-{constant}-b7ad6b7169203331-{flags}");
            request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
            request.metadata_mut().insert("tracestate", "vendor=1".parse().unwrap());
            call_with(&outside, GET_ORDER, request).await.unwrap();
        }
        until(async || gateway_spans.all().len() == 3 && order_spans.all().len() == 3).await;
        let edge = gateway_spans.all();
        let traces: HashSet<_> = edge.iter().map(|span| span.span_context.trace_id().to_string()).collect();
        assert!(traces.len() == 3 && !traces.contains(constant), "{traces:?}");
        for (edge, service) in edge.iter().zip(order_spans.all()) {
            assert_eq!(edge.parent_span_id.to_string(), "0000000000000000");
            assert_eq!((edge.links.len(), edge.span_context.trace_state().header()), (links, String::new()));
            assert!(edge.links.iter().all(|link| link.span_context.trace_id().to_string() == constant));
            assert_eq!(service.span_context.trace_id(), edge.span_context.trace_id());
        }
    }
}

#[tokio::test]
async fn a_made_up_method_names_no_span() {
    let orders = orders().await;
    let (role, spans) = testing::recording("gateway", 1.0);
    let gateway = gateway_of(role, &orders.url(), &orders.url(), settings()).await;
    let raw = Raw::connect(&gateway).await;
    let long = format!("/evil.1/{}", "A".repeat(5_000));
    for path in [&long[..], "/openorder.order.v1.OrderService/GetOrder"] {
        drop(raw.call(path, &[("content-type", "text/plain")], b"").await.head().await);
    }
    until(async || spans.all().len() == 2).await;
    let made_up = &spans.all()[0];
    assert_eq!(&*made_up.name, "_OTHER");
    let attribute =
        |key: &str| made_up.attributes.iter().find(|one| one.key.as_str() == key).unwrap().value.to_string();
    assert_eq!((attribute("rpc.method").as_str(), attribute("rpc.method_original").len()), ("_OTHER", 128));
    assert_eq!(&*spans.all()[1].name, "openorder.order.v1.OrderService/GetOrder");
}

#[tokio::test]
async fn details_trailers_and_headers_pass_through_untouched() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let outside = caller(&gateway).await;
    let refused = call(&outside, GET_ORDER, "reject").await.unwrap_err();
    let made = rejection(Rejection::failed_precondition("OUT_OF_STOCK", "kürzer 短い").with("sku", "A"));
    assert_eq!((refused.code(), refused.message(), refused.details()), (made.code(), made.message(), made.details()));
    assert_eq!(refused.metadata().get("own-trailer").unwrap(), "kept");
    let answer = call(&outside, GET_ORDER, "hello").await.unwrap();
    assert_eq!(answer.metadata().get("own-header").unwrap(), "kept");
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let answer = call(&caller(&gateway).await, GET_ORDER, "size 3000000").await.unwrap().into_inner();
    assert_eq!(answer.len(), 3_000_000);
}

#[tokio::test]
async fn a_stream_arrives_as_it_is_made_with_its_last_status() {
    let orders = orders().await;
    // Far longer than a call may take: streams are no calls.
    let mut settings = settings();
    (settings.default_timeout_ms, settings.timeout_max_ms) = (100, 100);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let mut answers = watch(&caller(&gateway).await, "5 100").await.unwrap();
    let started = Instant::now();
    assert_eq!(answers.message().await.unwrap().as_deref(), Some("0"));
    assert!(started.elapsed() < Duration::from_millis(300), "the first answer does not wait for the last");
    for expected in ["1", "2", "3", "4"] {
        assert_eq!(answers.message().await.unwrap().as_deref(), Some(expected));
    }
    let last = answers.message().await.unwrap_err();
    assert_eq!((last.code(), reason_of(&last).as_deref()), (Code::Aborted, Some("STREAM_OVER")));
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_work_behind() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let outside = caller(&gateway).await;
    let waiting = tokio::spawn({
        let outside = outside.clone();
        async move { call(&outside, GET_ORDER, "sleep 60000").await }
    });
    until(async || orders.begun() == 1).await;
    waiting.abort();
    until(async || orders.dropped() == 1).await;
    let mut answers = watch(&outside, "1000000 1").await.unwrap();
    answers.message().await.unwrap();
    drop(answers);
    until(async || orders.dropped() == 2).await;
}
