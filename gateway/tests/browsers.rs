//! What browsers and readers of descriptions ask for: pages of other sites, compressed answers, OpenAPI.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Read;

use openorder_gateway::GatewaySettings;
use openorder_proto::order::v1::Order;
use support::http1::Http1;
use support::raw::Raw;
use support::shop::{Shop, order_service};
use support::{GET_ORDER, Running, gateway, settings};

async fn world(settings: GatewaySettings) -> (Shop, Running, Running) {
    let shop = Shop::default();
    let orders = order_service(&shop).await;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    (shop, orders, gateway)
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn pages_of_other_sites_may_call_where_a_setting_names_them() {
    let shop_page = ("origin", "https://shop.example.com");
    let asks = [shop_page, ("access-control-request-method", "POST")];
    let (_shop, _orders, closed) = world(settings()).await;
    let mut http = Http1::connect(&closed).await;
    let asked = http.call("OPTIONS", "/v1/orders", &asks, b"").await;
    assert_eq!((asked.status, asked.reason().as_str()), (403, "ORIGIN_NOT_ALLOWED"));
    let answer = http.call("GET", "/v1/orders", &[shop_page], b"").await;
    assert_eq!((answer.status, answer.reason().as_str()), (403, "ORIGIN_NOT_ALLOWED"));
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "none by default");
    assert_eq!(answer.header("vary"), "");

    let origins = vec!["https://shop.example.com".to_owned()];
    let (_shop, _orders, open) = world(GatewaySettings { cors_origins: origins, ..settings() }).await;
    let mut http = Http1::connect(&open).await;
    for path in ["/v1/orders", GET_ORDER, "/openapi.json"] {
        let told = http.call("OPTIONS", path, &asks, b"").await;
        assert_eq!(
            (told.status, told.header("access-control-allow-origin")),
            (204, "https://shop.example.com"),
            "{path}"
        );
        assert!(told.header("access-control-allow-headers").contains("idempotency-key"));
        assert_eq!(told.header("access-control-max-age"), "7200");
    }
    for path in ["/v1/orders", "/v1/orders/none", "/openapi.json"] {
        let answer = http.call("GET", path, &[shop_page], b"").await;
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example.com", "{path}");
        assert!(answer.header("access-control-expose-headers").contains("retry-after"));
        assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "Origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }
    let other = ("origin", "https://evil.example.com");
    assert_eq!(http.call("OPTIONS", "/v1/orders", &[other, asks[1]], b"").await.status, 403);
    assert_eq!(http.call("GET", "/v1/orders", &[other], b"").await.header("access-control-allow-origin"), "");
}

/// What a page does without being let to read the answer: its browser sends it, and says where it comes from.
#[tokio::test]
async fn a_page_of_another_site_and_a_name_that_was_made_to_lead_here_change_nothing() {
    let (shop, _orders, gateway) = world(settings()).await;
    let order = Order { order_id: "7".to_owned(), ..Order::default() };
    shop.orders.lock().unwrap().insert("7".to_owned(), order);
    let mut http = Http1::connect(&gateway).await;
    let evil = ("origin", "https://evil.example.com");
    let list = br#"{}"#;
    for (path, headers) in [
        ("/v1/orders/7:cancel", vec![evil]),
        ("/v1/orders/7:cancel", vec![("origin", "null")]),
        ("/openorder.order.v1.OrderService/ListOrders", vec![evil, ("content-type", "application/json")]),
        ("/openorder.order.v1.OrderService/ListOrders", vec![evil, ("content-type", "application/proto")]),
    ] {
        let body: &[u8] = if headers.len() > 1 { list } else { b"" };
        assert_eq!(http.call("POST", path, &headers, body).await.status, 403, "{path}");
    }
    // Rebinding: the page's own name leads to this address, and its browser takes both for one site.
    for path in ["/v1/orders/7", "/v1/orders", "/openapi.json", "/docs"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: evil.example.com:8080\r\n\r\n");
        http.send_raw(request.as_bytes()).await;
        let refused = http.answer().await;
        assert_eq!((refused.status, refused.reason().as_str()), (421, "HOST_NOT_ALLOWED"), "{path}");
    }
    let same = "host: evil.example.com\r\norigin: http://evil.example.com\r\ncontent-length: 0\r\n";
    http.send_raw(format!("POST /v1/orders/7:cancel HTTP/1.1\r\n{same}\r\n").as_bytes()).await;
    assert_eq!(http.answer().await.status, 421);
    let raw = Raw::connect(&gateway).await;
    let over_http2 = raw.request(http::Request::builder().uri("http://evil.example.com/v1/orders/7")).await;
    assert_eq!(over_http2.status().as_u16(), 421);
    assert!(shop.listed.lock().unwrap().is_empty());
    // Our own page may, and whoever is no browser.
    let own = ("origin", "http://localhost");
    assert_eq!(http.call("POST", "/v1/orders/7:cancel", &[own], b"").await.status, 200);
    assert_eq!(http.get("/v1/orders/7").await.status, 200);
}

#[tokio::test]
async fn a_name_may_lead_here_where_the_setting_says_so_and_for_grpc_any_does() {
    let named = GatewaySettings { allowed_hosts: vec!["shop.internal".to_owned()], ..settings() };
    let (_shop, _orders, gateway) = world(named).await;
    let mut http = Http1::connect(&gateway).await;
    for (host, status) in [("shop.internal:8080", 404), ("gateway", 421)] {
        http.send_raw(format!("GET /v1/orders/none HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await;
        assert_eq!(http.answer().await.status, status, "{host}");
    }
    let raw = Raw::connect(&gateway).await;
    let grpc = http::Request::post(format!("http://gateway:8080{GET_ORDER}"));
    let answer = raw.request(grpc.header("content-type", "application/grpc").header("te", "trailers")).await;
    // It was taken as a call, of no message.
    assert_eq!((answer.status().as_u16(), answer.headers()["grpc-status"].as_bytes()), (200, &b"3"[..]));
}

#[tokio::test]
async fn the_page_may_run_and_ask_nothing_but_its_own() {
    let (_shop, _orders, gateway) = world(settings()).await;
    let mut http = Http1::connect(&gateway).await;
    let page = http.get("/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(policy.contains("connect-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!((page.header("x-content-type-options"), page.header("referrer-policy")), ("nosniff", "no-referrer"));
    assert!(page.text().contains("/openapi.json"));
    let packed = http.call("GET", "/docs", &[("accept-encoding", "gzip")], b"").await;
    assert_eq!((packed.header("content-encoding"), unpacked(&packed.body)), ("gzip", page.body));
    assert_eq!(http.call("POST", "/docs", &[("origin", "http://localhost")], b"").await.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn a_long_answer_is_packed_for_who_takes_it_so() {
    let (shop, _orders, gateway) = world(settings()).await;
    let order = Order { order_id: "long".to_owned(), status_detail: "why ".repeat(1_000), ..Order::default() };
    shop.orders.lock().unwrap().insert("long".to_owned(), order);
    let mut http = Http1::connect(&gateway).await;
    let plain = http.get("/v1/orders/long").await;
    assert_eq!(plain.header("content-encoding"), "");
    let gzip = [("accept-encoding", "gzip, br")];
    let packed = http.call("GET", "/v1/orders/long", &gzip, b"").await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"));
    assert!(packed.body.len() < 1_000);
    assert_eq!(unpacked(&packed.body), plain.body);
    let short = http.call("GET", "/v1/orders/none", &gzip, b"").await;
    assert_eq!((short.status, short.header("content-encoding")), (404, ""));
}

#[tokio::test]
async fn the_description_is_that_of_the_services_behind_this_gateway() {
    let (_shop, _orders, gateway) = world(settings()).await;
    let mut http = Http1::connect(&gateway).await;
    let plain = http.get("/openapi.json").await;
    let document = plain.json();
    assert_eq!((plain.status, document["openapi"].as_str()), (200, Some("3.1.0")));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/orders/{order_id}:cancel") && !paths.contains_key("/v1/payments"));
    let packed = http.call("GET", "/openapi.json", &[("accept-encoding", "gzip")], b"").await;
    assert_eq!((packed.header("content-encoding"), unpacked(&packed.body)), ("gzip", plain.body));
    assert_eq!(http.call("POST", "/openapi.json", &[], b"").await.header("allow"), "GET");
}
