//! Calls of HTTP and JSON, as `google.api.http` has them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{GetOrderRequest, OrderStatus};
use openorder_proto::product::v1::delete_product_request;
use openorder_telemetry::testing;
use serde_json::json;
use support::http1::Http1;
use support::shop::{Shop, order_service, product_service};
use support::{Running, caller, gateway, gateway_of, listen_nowhere, settings, until};

struct World {
    shop: Shop,
    gateway: Running,
    _services: [Running; 2],
}

async fn world() -> World {
    let shop = Shop::default();
    let (orders, products) = (order_service(&shop).await, product_service(&shop).await);
    let gateway = gateway(&orders.url(), &products.url(), settings()).await;
    World { shop, gateway, _services: [orders, products] }
}

#[tokio::test]
async fn an_order_that_is_made_in_json_is_read_in_every_protocol() {
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    let made = http
        .post(
            "/v1/orders",
            &json!({
                "requestId": "1", "customer_id": "anna", "lines": [{"sku": "chair", "quantity": 2}],
                "expectedTotal": {"currencyCode": "EUR", "units": 38, "nanos": 0}
            }),
        )
        .await;
    assert_eq!((made.status, made.header("content-type")), (200, "application/json"), "{}", made.text());
    assert_eq!(made.header("cache-control"), "no-store");
    let expected = json!({
        "orderId": "order-1", "customerId": "anna", "status": "ORDER_STATUS_PENDING",
        "lines": [{"sku": "chair", "quantity": 2}], "total": {"currencyCode": "EUR", "units": "38"}, "version": "1"
    });
    assert_eq!(made.json(), json!({ "order": expected }));
    // Over the same connection, each after the other.
    assert_eq!(http.get("/v1/orders/order-1").await.json(), json!({ "order": expected }));
    let connect = http.post(support::GET_ORDER, &json!({"orderId": "order-1"})).await;
    assert_eq!((connect.status, connect.json()), (200, json!({ "order": expected })));
    let mut grpc = OrderServiceClient::new(caller(&world.gateway).await);
    let request = GetOrderRequest { order_id: "order-1".to_owned() };
    let order = grpc.get_order(request).await.unwrap().into_inner().order.unwrap();
    assert_eq!(order, world.shop.orders.lock().unwrap()["order-1"]);
}

#[tokio::test]
async fn a_key_in_the_head_names_a_command_that_does_not_name_itself() {
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    let json_type = ("content-type", "application/json");
    let body = json!({"lines": [{"sku": "chair", "quantity": 1}]}).to_string();
    for key in ["key-1", "\"key-1\""] {
        let made = http.call("POST", "/v1/orders", &[json_type, ("idempotency-key", key)], body.as_bytes()).await;
        assert_eq!(made.json()["order"]["orderId"], "order-key-1");
    }
    let both = json!({"requestId": "own", "lines": [{"sku": "chair", "quantity": 1}]}).to_string();
    let made = http.call("POST", "/v1/orders", &[json_type, ("idempotency-key", "key-1")], both.as_bytes()).await;
    assert_eq!(made.json()["order"]["orderId"], "order-own");
    let nameless = http.call("POST", "/v1/orders", &[json_type], body.as_bytes()).await;
    assert_eq!((nameless.status, nameless.wrong_fields()), (400, vec!["request_id".to_owned()]));
    let deleted = http.call("DELETE", "/v1/skus/chair", &[("idempotency-key", "gone")], b"").await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    let seen = world.shop.deleted.lock().unwrap().pop().unwrap();
    assert_eq!(seen.request_id, "gone");
    assert_eq!(seen.key, Some(delete_product_request::Key::Sku("chair".to_owned())));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named_and_no_service_sees_it() {
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    let wrong = json!({"requestId": "1", "lines": [{"sku": "a", "quantity": "many"}], "customer": "anna"});
    let refused = http.post("/v1/orders", &wrong).await;
    assert_eq!((refused.status, refused.reason().as_str()), (400, "INVALID_ARGUMENT"));
    let mut fields = refused.wrong_fields();
    fields.sort();
    assert_eq!(fields, ["customer", "lines[0].quantity"]);
    // A condition that is misspelled is no condition.
    let refused = http.get("/v1/orders?statuses=ORDER_STATUS_PAYED").await;
    assert_eq!((refused.status, refused.wrong_fields()), (400, vec!["statuses".to_owned()]));
    let refused = http.get("/v1/orders?status=ORDER_STATUS_PAID").await;
    assert_eq!((refused.status, refused.wrong_fields()), (400, vec!["status".to_owned()]));
    let refused = http.post("/v1/orders?customer_id=anna", &json!({})).await;
    assert_eq!((refused.status, refused.wrong_fields()), (400, vec!["customer_id".to_owned()]));
    let refused = http.post("/v1/orders/one:cancel", &json!({"requestId": "1", "orderId": "two"})).await;
    assert_eq!((refused.status, refused.wrong_fields()), (400, vec!["order_id".to_owned()]));
    let refused = http.get("/v1/orders/%ff").await;
    assert_eq!((refused.status, refused.wrong_fields()), (400, vec!["order_id".to_owned()]));
    for body in ["{", "{\"requestId\": }", "\u{0}"] {
        let refused = http.call("POST", "/v1/orders", &[("content-type", "application/json")], body.as_bytes()).await;
        assert_eq!((refused.status, refused.reason().as_str()), (400, "MALFORMED_REQUEST"), "{body}");
    }
    let refused = http.call("GET", "/v1/orders", &[], b"{}").await;
    assert_eq!((refused.status, refused.reason().as_str()), (400, "MALFORMED_REQUEST"));
    assert!(world.shop.orders.lock().unwrap().is_empty() && world.shop.listed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn conditions_of_a_list_stand_in_the_query() {
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    let query = "statuses=ORDER_STATUS_PAID&statuses=ORDER_STATUS_SHIPPED&pageSize=7\
                 &create_time_from=2030-01-31T12:00:00%2B01:00&customerId=a%20b";
    let listed = http.get(&format!("/v1/orders?{query}")).await;
    assert_eq!((listed.status, listed.json()), (200, json!({})), "{}", listed.text());
    let seen = world.shop.listed.lock().unwrap().pop().unwrap();
    assert_eq!(seen.statuses, [i32::from(OrderStatus::Paid), i32::from(OrderStatus::Shipped)]);
    assert_eq!((seen.page_size, seen.customer_id.as_str()), (7, "a b"));
    assert_eq!(seen.create_time_from.unwrap().seconds, 1_896_087_600);
}

#[tokio::test]
async fn a_patch_changes_the_fields_that_its_body_names() {
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    let patch = async |http: &mut Http1, path: &str, body: serde_json::Value| {
        let json_type = ("content-type", "application/json");
        let answer =
            http.call("PATCH", path, &[json_type, ("idempotency-key", "1")], body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        world.shop.updated.lock().unwrap().pop().unwrap()
    };
    let paths = |seen: &openorder_proto::product::v1::UpdateProductRequest| {
        let mut paths = seen.update_mask.clone().unwrap_or_default().paths;
        paths.sort();
        paths
    };
    let body = json!({"displayName": "A chair", "price": {"currencyCode": "EUR", "units": "20"}});
    let seen = patch(&mut http, "/v1/products/p1?expected_version=3", body.clone()).await;
    assert_eq!(paths(&seen), ["display_name", "price"]);
    assert_eq!((seen.expected_version, seen.request_id.as_str()), (3, "1"));
    let product = seen.product.unwrap();
    assert_eq!((product.product_id.as_str(), product.display_name.as_str()), ("p1", "A chair"));
    // What names the product is not changed, and what is null becomes nothing.
    let again = json!({"product_id": "p1", "description": null});
    assert_eq!(paths(&patch(&mut http, "/v1/products/p1", again).await), ["description"]);
    for mask in ["displayName", "display_name"] {
        let seen = patch(&mut http, &format!("/v1/skus/chair?update_mask={mask}"), body.clone()).await;
        assert_eq!(paths(&seen), ["display_name"]);
        assert_eq!(seen.product.unwrap().sku, "chair");
    }
    let other = json!({"product_id": "p2"}).to_string();
    let refused =
        http.call("PATCH", "/v1/products/p1", &[("content-type", "application/json")], other.as_bytes()).await;
    assert_eq!((refused.status, refused.wrong_fields()), (400, vec!["product.product_id".to_owned()]));
}

#[tokio::test]
async fn ids_are_taken_out_of_paths_whatever_they_hold() {
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    let asked = http.get("/v1/products/a%2Fb%20c").await;
    assert_eq!(asked.json(), json!({"product": {"productId": "a/b c"}}));
    assert_eq!(http.get("/v1/skus/a:b").await.json(), json!({"product": {"sku": "a:b"}}), "no verb");
    assert_eq!(http.get("/v1/skus/a%3Acancel").await.json(), json!({"product": {"sku": "a:cancel"}}));
    let both = http.get("/v1/products/p1?sku=chair").await;
    assert_eq!((both.status, both.wrong_fields()), (400, vec!["sku".to_owned()]));
}

#[tokio::test]
async fn paths_methods_and_types_that_are_not_taken_are_told_with_those_that_are() {
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    for path in [
        "/",
        "/v1",
        "/v1/orders/",
        "/v1/orders//timeline",
        "/v2/orders",
        "/v1/payments",
        "/grpc.health.v1.Health/Check",
    ] {
        let missed = http.get(path).await;
        assert_eq!((missed.status, missed.reason().as_str()), (404, "ROUTE_NOT_FOUND"), "{path}");
        assert_eq!(missed.json()["code"], 5);
    }
    let other = http.call("PUT", "/v1/orders", &[], b"").await;
    assert_eq!(
        (other.status, other.header("allow"), other.reason().as_str()),
        (405, "GET, POST", "METHOD_NOT_ALLOWED")
    );
    assert_eq!(http.get("/v1/orders/1:cancel").await.header("allow"), "POST");
    for (kind, body) in [("text/plain", "{}"), ("application/x-www-form-urlencoded", "{}"), ("application/xml", "")] {
        let other = http.call("POST", "/v1/orders", &[("content-type", kind)], body.as_bytes()).await;
        assert_eq!((other.status, other.header("accept")), (415, "application/json"), "{kind}");
    }
    // A page of another site can make a browser send this, and nothing that is asked for first.
    let typeless = http.call("POST", "/v1/orders", &[], b"{}").await;
    assert_eq!((typeless.status, typeless.reason().as_str()), (415, "UNSUPPORTED_MEDIA_TYPE"));
    let taken = http.call("GET", "/v1/orders", &[("accept", "text/html")], b"").await;
    assert_eq!((taken.status, taken.reason().as_str()), (406, "NOT_ACCEPTABLE"));
    assert_eq!(http.call("GET", "/v1/orders", &[("accept", "text/html, */*;q=0.1")], b"").await.status, 200);
    let packed = [("content-type", "application/json"), ("content-encoding", "br")];
    let other = http.call("POST", "/v1/orders", &packed, b"{}").await;
    assert_eq!((other.status, other.header("accept-encoding")), (415, "gzip, identity"));
    let grpc = http.call("POST", support::GET_ORDER, &[("content-type", "application/grpc")], b"\0\0\0\0\0").await;
    assert_eq!((grpc.status, grpc.reason().as_str()), (505, "HTTP_VERSION_NOT_SUPPORTED"));
}

#[tokio::test]
async fn refusals_of_services_arrive_with_all_that_they_say() {
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    let missed = http.get("/v1/orders/none").await;
    let expected = json!({
        "code": 5,
        "message": "there is no such order",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ORDER_NOT_FOUND", "domain": "openorder", "metadata": {"order_id": "none"}
        }]
    });
    assert_eq!((missed.status, missed.json()), (404, expected));
    assert_eq!(http.get("/v1/orders/1/timeline").await.status, 501);
    let nowhere = listen_nowhere();
    let gateway = gateway(&nowhere, &nowhere, settings()).await;
    let away = Http1::connect(&gateway).await.get("/v1/orders/1").await;
    assert_eq!((away.status, away.header("retry-after")), (503, "1"));
    assert_eq!(away.json()["details"][1]["retryDelay"], "1s");
}

#[tokio::test]
async fn the_limits_of_the_port_hold_for_json_too() {
    let shop = Shop::default();
    let orders = order_service(&shop).await;
    let mut settings = settings();
    (settings.in_flight_requests_max, settings.connection_share_percent) = (1, 100);
    (settings.request_body_limit_bytes, settings.default_timeout_ms) = (10_000, 400);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let (mut slow, mut http) = (Http1::connect(&gateway).await, Http1::connect(&gateway).await);
    slow.send("GET", "/v1/orders/sleep-60000", &[], b"").await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    until(async || {
        let refused = Http1::connect(&gateway).await.get("/v1/orders/none").await;
        refused.status == 429 && refused.header("retry-after") == "1" && refused.reason() == "OVERLOADED"
    })
    .await;
    let late = slow.answer().await;
    assert_eq!((late.status, late.reason().as_str()), (504, "DEADLINE_EXCEEDED"));
    let large = json!({"customerId": "x".repeat(10_000)});
    let refused = http.post("/v1/orders", &large).await;
    assert_eq!((refused.status, refused.reason().as_str()), (413, "REQUEST_TOO_LARGE"));
    let mut http = Http1::connect(&gateway).await;
    let refused = http.call("GET", "/v1/orders", &[("x-large", &"x".repeat(20_000))], b"").await;
    assert_eq!((refused.status, refused.reason().as_str()), (431, "METADATA_TOO_LARGE"));
    let quick = http.call("GET", "/v1/orders/sleep-5000", &[("grpc-timeout", "50m")], b"").await;
    assert_eq!(quick.status, 504);
    assert_eq!(http.get("/v1/orders/none").await.status, 404);
}

/// A socket that is closed with bytes of it unread is reset, and the answer with it.
#[tokio::test]
async fn who_is_still_sending_when_it_is_refused_reads_its_refusal() {
    let orders = order_service(&Shop::default()).await;
    let mut settings = settings();
    settings.request_body_limit_bytes = 10_000;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let large = json!({"customerId": "x".repeat(4_000_000)});
    let chunk = [b"2710\r\n".as_slice(), &[b' '; 10_000], b"\r\n"].concat();
    let head = "POST /v1/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    for _ in 0..5 {
        // All of it is sent before anything is read, more than sockets hold.
        let refused = Http1::connect(&gateway).await.post("/v1/orders", &large).await;
        assert_eq!((refused.status, refused.reason().as_str()), (413, "REQUEST_TOO_LARGE"));
        assert_eq!(refused.header("connection"), "close");
        let mut http = Http1::connect(&gateway).await;
        http.send_raw(head.as_bytes()).await;
        for _ in 0..400 {
            http.send_raw(&chunk).await;
        }
        http.send_raw(b"0\r\n\r\n").await;
        assert_eq!(http.answer().await.status, 413, "of a length that nobody said");
        assert!(http.is_over_within(std::time::Duration::from_secs(1)).await, "the answer ends it");
    }
}

#[tokio::test]
async fn a_packed_body_is_unpacked_within_the_limit() {
    use std::io::Write;
    let world = world().await;
    let mut http = Http1::connect(&world.gateway).await;
    let packed = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip"), ("idempotency-key", "packed")];
    let body = json!({"lines": [{"sku": "chair", "quantity": 1}]}).to_string();
    let made = http.call("POST", "/v1/orders", &headers, &packed(body.as_bytes())).await;
    assert_eq!(made.json()["order"]["orderId"], "order-packed");
    let bomb = packed(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 100_000);
    let refused = http.call("POST", "/v1/orders", &headers, &bomb).await;
    assert_eq!((refused.status, refused.reason().as_str()), (413, "REQUEST_TOO_LARGE"));
}

#[tokio::test]
async fn a_call_is_recorded_as_its_method_and_with_how_it_ended() {
    let orders = order_service(&Shop::default()).await;
    let (role, spans) = testing::recording("gateway", 1.0);
    let gateway = gateway_of(role, &orders.url(), &orders.url(), settings()).await;
    let mut http = Http1::connect(&gateway).await;
    let large = json!({"requestId": "1", "customerId": "x".repeat(30_000), "lines": [{"sku": "a", "quantity": 1}]});
    let calls = [
        http.get("/v1/orders").await,
        http.get("/v1/orders/none").await,
        http.post("/v1/orders", &large).await,
        http.post(support::GET_ORDER, &json!({"orderId": "order-1"})).await,
        http.get("/v1/orders/1-1-ok:watch").await,
        http.get("/v1/orders/1-1:watch").await,
        http.get("/v1/nothing").await,
    ];
    until(async || spans.all().len() == calls.len()).await;
    let spans = spans.all();
    let seen: Vec<_> = spans
        .iter()
        .map(|span| {
            let code = span.attributes.iter().find(|one| one.key.as_str() == "rpc.response.status_code").unwrap();
            (span.name.rsplit('/').next().unwrap(), code.value.to_string())
        })
        .collect();
    let expected = [
        ("ListOrders", "OK"),
        ("GetOrder", "NOT_FOUND"),
        ("CreateOrder", "OK"),
        ("GetOrder", "OK"),
        ("WatchOrder", "OK"),
        ("WatchOrder", "ABORTED"),
        ("_OTHER", "NOT_FOUND"),
    ];
    assert_eq!(seen, expected.map(|(name, code)| (name, code.to_owned())));
}
