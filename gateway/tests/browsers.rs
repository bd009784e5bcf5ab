//! What browsers and readers of descriptions ask for: pages of other sites, compressed answers, OpenAPI.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Read;

use openorder_gateway::GatewaySettings;
use openorder_proto::order::v1::Order;
use support::http1::Http1;
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
    assert_eq!(http.call("OPTIONS", "/v1/orders", &asks, b"").await.status, 405);
    let answer = http.call("GET", "/v1/orders", &[shop_page], b"").await;
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
    assert_eq!(http.call("OPTIONS", "/v1/orders", &[other, asks[1]], b"").await.status, 405);
    assert_eq!(http.call("GET", "/v1/orders", &[other], b"").await.header("access-control-allow-origin"), "");
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
