//! Streams over REST: lines of JSON, and server-sent events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use openorder_gateway::GatewaySettings;
use serde_json::{Value as Json, json};
use support::http1::Http1;
use support::raw::Raw;
use support::shop::{Shop, order_service};
use support::{Running, gateway, settings, until};

async fn world(settings: GatewaySettings) -> (Running, Running) {
    let orders = order_service(&Shop::default()).await;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    (orders, gateway)
}

fn lines(body: &[u8]) -> Vec<Json> {
    let text = std::str::from_utf8(body).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_order_is_watched_line_by_line_with_its_last_error() {
    // Far longer than a call may take: streams are no calls.
    let mut settings = settings();
    (settings.default_timeout_ms, settings.timeout_max_ms) = (100, 100);
    let (_orders, gateway) = world(settings).await;
    let mut http = Http1::connect(&gateway).await;
    let started = Instant::now();
    http.send("GET", "/v1/orders/4-80:watch", &[], b"").await;
    let (status, headers) = http.head().await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "application/x-ndjson"));
    let first = http.chunk().await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(300), "the first one does not wait for the last");
    assert_eq!(lines(&first), [json!({"result": {"order": {"orderId": "4-80"}}})]);
    let mut rest = Vec::new();
    while let Some(chunk) = http.chunk().await {
        rest.extend(chunk);
    }
    let rest = lines(&rest);
    assert_eq!(rest.len(), 4);
    assert_eq!(rest[2], json!({"result": {"order": {"orderId": "4-80", "version": "3"}}}));
    assert_eq!(
        (&rest[3]["error"]["code"], &rest[3]["error"]["details"][0]["reason"]),
        (&json!(10), &json!("STREAM_OVER"))
    );
    // The connection goes on.
    let ended_well = http.get("/v1/orders/1-1-ok:watch").await;
    assert_eq!(lines(&ended_well.body).len(), 1);
}

#[tokio::test]
async fn who_takes_events_gets_events() {
    let (_orders, gateway) = world(settings()).await;
    let mut http = Http1::connect(&gateway).await;
    let events = [("accept", "text/event-stream")];
    let told = http.call("GET", "/v1/orders/1-1-ok:watch", &events, b"").await;
    assert_eq!((told.status, told.header("content-type")), (200, "text/event-stream"));
    assert_eq!(told.header("cache-control"), "no-cache");
    assert_eq!(told.text(), "data: {\"order\":{\"orderId\":\"1-1-ok\"}}\n\nevent: end\ndata: {}\n\n");
    let told = http.call("GET", "/v1/orders/1-1:watch", &events, b"").await;
    let (_, error) = told.text().split_once("event: error\ndata: ").unwrap();
    assert_eq!(serde_json::from_str::<Json>(error).unwrap()["details"][0]["reason"], "STREAM_OVER");
    // A type per kind of method: who asks for events at a method that answers once is not answered with them.
    let once = http.call("GET", "/v1/orders", &events, b"").await;
    assert_eq!(once.status, 406);
    let neither = http.call("GET", "/v1/orders/1-1:watch", &[("accept", "text/html")], b"").await;
    assert_eq!(neither.status, 406);
}

#[tokio::test]
async fn a_refusal_before_the_first_message_has_its_status() {
    let (_orders, gateway) = world(settings()).await;
    let mut http = Http1::connect(&gateway).await;
    for accept in ["application/x-ndjson", "text/event-stream"] {
        let missed = http.call("GET", "/v1/orders/none:watch", &[("accept", accept)], b"").await;
        assert_eq!((missed.status, missed.header("content-type")), (404, "application/json"));
        assert_eq!(missed.reason(), "ORDER_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_lives() {
    let mut settings = settings();
    settings.stream_keep_alive_ms = 100;
    let (_orders, gateway) = world(settings).await;
    for (accept, sign) in [("application/x-ndjson", "\n"), ("text/event-stream", ": keep-alive\n\n")] {
        let mut http = Http1::connect(&gateway).await;
        http.send("GET", "/v1/orders/1-60000:watch", &[("accept", accept)], b"").await;
        assert_eq!(http.head().await.0, 200);
        for _ in 0..3 {
            assert_eq!(http.chunk().await.unwrap(), sign.as_bytes());
        }
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_stream() {
    let mut settings = settings();
    settings.streams_max = 1;
    let (_orders, gateway) = world(settings).await;
    let mut http = Http1::connect(&gateway).await;
    http.send("GET", "/v1/orders/1000000-10:watch", &[], b"").await;
    assert_eq!(http.head().await.0, 200);
    http.chunk().await.unwrap();
    let refused = Http1::connect(&gateway).await.get("/v1/orders/1-1-ok:watch").await;
    assert_eq!((refused.status, refused.reason().as_str()), (429, "OVERLOADED"));
    drop(http);
    until(async || Http1::connect(&gateway).await.get("/v1/orders/1-1-ok:watch").await.status == 200).await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_loses_its_stream_and_nobody_else_waits() {
    let mut settings = settings();
    (settings.stream_unread_bytes_max, settings.answer_read_timeout_ms) = (65_536, 300);
    let (_orders, gateway) = world(settings).await;
    let mut silent = Http1::connect(&gateway).await;
    // Long enough that no buffer of the system holds it all.
    let long = format!("100000000-0-{}", "x".repeat(16_000));
    silent.send("GET", &format!("/v1/orders/{long}:watch"), &[], b"").await;
    let mut http = Http1::connect(&gateway).await;
    for _ in 0..20 {
        assert_eq!(http.get("/v1/orders/none").await.status, 404);
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(silent.is_over_within(Duration::from_secs(15)).await, "it was cut");
}

#[tokio::test]
async fn over_http2_a_stream_is_the_same() {
    let (_orders, gateway) = world(settings()).await;
    let raw = Raw::connect(&gateway).await;
    let request = http::Request::builder().method("GET").uri("http://localhost/v1/orders/2-1-ok:watch");
    let answer = raw.request(request).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/x-ndjson".parse().unwrap())
    );
    let mut body = answer.into_body();
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        all.extend_from_slice(&data.unwrap());
    }
    assert_eq!(lines(&all).len(), 2);
    assert_eq!(body.trailers().await.unwrap(), None, "nothing of gRPC is left");
}
