//! One port, two versions of HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use support::http1::Http1;
use support::raw::Raw;
use support::shop::{Shop, order_service};
use support::{call, caller, gateway, orders, settings};

#[tokio::test]
async fn a_connection_says_by_its_first_bytes_what_it_speaks() {
    let orders = order_service(&Shop::default()).await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let mut http = Http1::connect(&gateway).await;
    // It begins as HTTP/2's preface does, and comes byte by byte.
    for byte in b"POST /v1/orders/1:cancel HTTP/1.1\r\nhost: gateway\r\n\r\n" {
        http.send_raw(&[*byte]).await;
    }
    assert_eq!(http.answer().await.status, 200);
    for _ in 0..3 {
        assert_eq!(http.get("/v1/orders/none").await.status, 404, "it goes on");
    }
    let raw = Raw::connect(&gateway).await;
    let answer = raw.request(http::Request::builder().uri("http://gateway/v1/orders/none")).await;
    assert_eq!(answer.status().as_u16(), 404, "JSON over HTTP/2");
}

#[tokio::test]
async fn who_says_nothing_and_who_never_ends_a_head_is_let_go() {
    let orders = orders().await;
    let mut settings = settings();
    settings.connection.handshake_timeout_ms = 200;
    settings.connection.http1_request_timeout_ms = 300;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    for beginning in ["", "PR", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /v1/orders HTTP/1.1\r\nhost: gate", "G"] {
        let mut http = Http1::connect(&gateway).await;
        http.send_raw(beginning.as_bytes()).await;
        assert!(http.is_over_within(Duration::from_secs(10)).await, "{beginning:?}");
    }
    // After an answer, too.
    let mut http = Http1::connect(&gateway).await;
    assert_eq!(http.get("/nothing").await.status, 404);
    assert!(http.is_over_within(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let orders = orders().await;
    let mut settings = settings();
    (settings.connection.connections_max, settings.connection.peer_share_percent) = (8, 100);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(Http1::connect(&gateway).await);
    }
    assert_eq!(Http1::connect(&gateway).await.get("/nothing").await.status, 404);
    assert_eq!(call(&caller(&gateway).await, support::GET_ORDER, "hello").await.unwrap().into_inner(), "hello");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    for (bytes, status) in [(&b"NOT HTTP AT ALL\r\n\r\n"[..], 400), (b"GET / HTTP/9.9\r\n\r\n", 400)] {
        let mut http = Http1::connect(&gateway).await;
        http.send_raw(bytes).await;
        assert_eq!(http.head().await.0, status);
    }
}

#[tokio::test]
async fn a_gateway_that_goes_down_answers_what_it_has() {
    let orders = order_service(&Shop::default()).await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let (mut idle, mut busy) = (Http1::connect(&gateway).await, Http1::connect(&gateway).await);
    assert_eq!(idle.get("/nothing").await.status, 404);
    busy.send("GET", "/v1/orders/sleep-500", &[], b"").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    gateway.shutdown.trigger();
    assert!(idle.is_over_within(Duration::from_millis(300)).await, "without a call it ends at once");
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (404, "close"));
    assert!(busy.is_over_within(Duration::from_secs(5)).await);
}
