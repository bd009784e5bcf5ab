//! Calls in Connect and in gRPC-Web.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use openorder_proto::order::v1::{GetOrderRequest, GetOrderResponse, Order};
use openorder_rpc::reason_of;
use prost::Message;
use serde_json::json;
use support::http1::Http1;
use support::raw::frame;
use support::shop::{Shop, order_service};
use support::{CREATE_ORDER, GET_ORDER, Running, WATCH_ORDER, gateway, settings};
use tonic::{Code, Status};

const LIST_ORDERS: &str = "/openorder.order.v1.OrderService/ListOrders";

async fn world() -> (Shop, Running, Running) {
    let shop = Shop::default();
    let order = Order { order_id: "order-1".to_owned(), version: 7, ..Order::default() };
    shop.orders.lock().unwrap().insert("order-1".to_owned(), order);
    let orders = order_service(&shop).await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    (shop, orders, gateway)
}

fn get(order_id: &str) -> Vec<u8> {
    GetOrderRequest { order_id: order_id.to_owned() }.encode_to_vec()
}

/// An answer of gRPC-Web: its messages, and its trailers as a status.
fn grpc_web(body: &[u8]) -> (Vec<Vec<u8>>, Option<Status>) {
    let (mut rest, mut messages, mut status) = (body, Vec::new(), None);
    while !rest.is_empty() {
        let length = usize::try_from(u32::from_be_bytes(rest[1..5].try_into().unwrap())).unwrap();
        let (message, after) = (&rest[5..5 + length], &rest[5 + length..]);
        if rest[0] == 0x80 {
            let lines = std::str::from_utf8(message).unwrap().split_terminator("\r\n").map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
            });
            status = Status::from_header_map(&lines.collect());
            assert!(after.is_empty(), "trailers come last");
        } else {
            messages.push(message.to_vec());
        }
        rest = after;
    }
    (messages, status)
}

#[tokio::test]
async fn a_call_of_connect_is_answered_in_its_encoding() {
    let (_shop, _orders, gateway) = world().await;
    let mut http = Http1::connect(&gateway).await;
    let told = http.post(GET_ORDER, &json!({"orderId": "order-1"})).await;
    assert_eq!((told.status, told.header("content-type")), (200, "application/json"));
    assert_eq!(told.json(), json!({"order": {"orderId": "order-1", "version": "7"}}));
    let headers = [("content-type", "application/proto"), ("connect-protocol-version", "1")];
    let told = http.call("POST", GET_ORDER, &headers, &get("order-1")).await;
    assert_eq!((told.status, told.header("content-type")), (200, "application/proto"));
    assert_eq!(GetOrderResponse::decode(&told.body[..]).unwrap().order.unwrap().version, 7);
    let empty = http.call("POST", LIST_ORDERS, &[("content-type", "application/json")], b"").await;
    assert_eq!(empty.status, 200, "nothing is an empty message: {}", empty.text());
}

#[tokio::test]
async fn a_key_names_a_command_in_both_encodings() {
    let (shop, _orders, gateway) = world().await;
    let mut http = Http1::connect(&gateway).await;
    let lines = json!({"lines": [{"sku": "chair", "quantity": 1}]}).to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "a")];
    assert_eq!(http.call("POST", CREATE_ORDER, &headers, lines.as_bytes()).await.status, 200);
    let line = openorder_proto::order::v1::RequestedLine { sku: "chair".to_owned(), quantity: 1 };
    let request = openorder_proto::order::v1::CreateOrderRequest { lines: vec![line], ..Default::default() };
    let headers = [("content-type", "application/proto"), ("idempotency-key", "b")];
    assert_eq!(http.call("POST", CREATE_ORDER, &headers, &request.encode_to_vec()).await.status, 200);
    let orders = shop.orders.lock().unwrap();
    assert!(orders.contains_key("order-a") && orders.contains_key("order-b"));
}

#[tokio::test]
async fn a_newer_caller_is_answered_and_a_misspelled_condition_is_not() {
    let (shop, _orders, gateway) = world().await;
    let mut http = Http1::connect(&gateway).await;
    let newer = json!({"orderId": "order-1", "brandNew": [1, {"a": 2}]});
    assert_eq!(http.post(GET_ORDER, &newer).await.status, 200);
    let misspelled = http.post(LIST_ORDERS, &json!({"statuses": ["ORDER_STATUS_PAYED"]})).await;
    assert_eq!((misspelled.status, misspelled.json()["code"].as_str()), (400, Some("invalid_argument")));
    let details = misspelled.json();
    assert_eq!(details["details"][1]["debug"]["fieldViolations"][0]["field"], "statuses[0]");
    assert!(shop.listed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_has_connects_shape_and_all_details() {
    let (_shop, _orders, gateway) = world().await;
    let mut http = Http1::connect(&gateway).await;
    for (kind, body) in [("application/json", b"{\"orderId\": \"none\"}".to_vec()), ("application/proto", get("none"))]
    {
        let missed = http.call("POST", GET_ORDER, &[("content-type", kind)], &body).await;
        assert_eq!((missed.status, missed.header("content-type")), (404, "application/json"), "{kind}");
        let told = missed.json();
        assert_eq!((&told["code"], &told["message"]), (&json!("not_found"), &json!("there is no such order")));
        let detail = &told["details"][0];
        assert_eq!(detail["type"], "google.rpc.ErrorInfo");
        assert_eq!(detail["debug"]["metadata"]["order_id"], "none");
        let bytes = BASE64_STANDARD_NO_PAD.decode(detail["value"].as_str().unwrap()).unwrap();
        assert_eq!(tonic_types::pb::ErrorInfo::decode(&bytes[..]).unwrap().reason, "ORDER_NOT_FOUND");
    }
    let late = [("content-type", "application/json"), ("connect-timeout-ms", "50")];
    let late = http.call("POST", GET_ORDER, &late, b"{\"orderId\": \"sleep-5000\"}").await;
    assert_eq!((late.status, late.json()["code"].as_str()), (504, Some("deadline_exceeded")));
    for wrong in [("connect-timeout-ms", "soon"), ("connect-protocol-version", "2")] {
        let refused = http.call("POST", GET_ORDER, &[("content-type", "application/json"), wrong], b"{}").await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("invalid_argument")), "{wrong:?}");
    }
}

#[tokio::test]
async fn what_changes_nothing_can_be_asked_for_by_get() {
    let (_shop, _orders, gateway) = world().await;
    let mut http = Http1::connect(&gateway).await;
    let expected = json!({"order": {"orderId": "order-1", "version": "7"}});
    let told =
        http.get(&format!("{GET_ORDER}?connect=v1&encoding=json&message=%7B%22orderId%22%3A%22order-1%22%7D")).await;
    assert_eq!((told.status, told.json()), (200, expected.clone()));
    let message = BASE64_URL_SAFE_NO_PAD.encode("{\"orderId\":\"order-1\"}");
    let told = http.get(&format!("{GET_ORDER}?encoding=json&base64=1&message={message}")).await;
    assert_eq!((told.status, told.json()), (200, expected));
    let message = BASE64_URL_SAFE_NO_PAD.encode(get("order-1"));
    let told = http.get(&format!("{GET_ORDER}?encoding=proto&base64=1&message={message}")).await;
    assert_eq!((told.status, told.header("content-type")), (200, "application/proto"));
    for (query, status) in [("encoding=json", 400), ("message=%7B%7D", 415), ("encoding=json&base64=1&message=!", 400)]
    {
        assert_eq!(http.get(&format!("{GET_ORDER}?{query}")).await.status, status, "{query}");
    }
    let command = http.get(&format!("{CREATE_ORDER}?encoding=json&message=%7B%7D")).await;
    assert_eq!((command.status, command.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn a_stream_of_connect_ends_with_an_envelope() {
    let (_shop, _orders, gateway) = world().await;
    let mut http = Http1::connect(&gateway).await;
    let headers = [("content-type", "application/connect+json")];
    for (order_id, code, messages) in [("2-1", "aborted", 2), ("none", "not_found", 0), ("1-1-ok", "", 1)] {
        let body = frame(0, json!({"orderId": order_id}).to_string().as_bytes());
        let told = http.call("POST", WATCH_ORDER, &headers, &body).await;
        assert_eq!((told.status, told.header("content-type")), (200, "application/connect+json"), "{order_id}");
        let (mut rest, mut seen) = (&told.body[..], Vec::new());
        while !rest.is_empty() {
            let length = usize::try_from(u32::from_be_bytes(rest[1..5].try_into().unwrap())).unwrap();
            seen.push((rest[0], serde_json::from_slice::<serde_json::Value>(&rest[5..5 + length]).unwrap()));
            rest = &rest[5 + length..];
        }
        let (flag, end) = seen.pop().unwrap();
        assert_eq!((flag, seen.len()), (2, messages), "{order_id}");
        assert!(seen.iter().all(|(flag, message)| *flag == 0 && message["order"]["orderId"] == order_id));
        assert_eq!(end["error"]["code"].as_str().unwrap_or_default(), code);
    }
}

#[tokio::test]
async fn grpc_web_has_its_trailers_in_the_body() {
    let (_shop, _orders, gateway) = world().await;
    let mut http = Http1::connect(&gateway).await;
    let body = frame(0, &get("order-1"));
    for kind in ["application/grpc-web", "application/grpc-web+proto"] {
        let told = http.call("POST", GET_ORDER, &[("content-type", kind)], &body).await;
        assert_eq!((told.status, told.header("content-type")), (200, "application/grpc-web+proto"));
        let (messages, status) = grpc_web(&told.body);
        assert_eq!(GetOrderResponse::decode(&messages[0][..]).unwrap().order.unwrap().version, 7);
        assert_eq!((messages.len(), status.unwrap().code()), (1, Code::Ok));
    }
    let text = [("content-type", "application/grpc-web-text")];
    let told = http.call("POST", GET_ORDER, &text, BASE64_STANDARD.encode(&body).as_bytes()).await;
    assert_eq!(told.header("content-type"), "application/grpc-web-text+proto");
    let (messages, status) = grpc_web(&BASE64_STANDARD.decode(&told.body).unwrap());
    assert_eq!((messages.len(), status.unwrap().code()), (1, Code::Ok));
}

#[tokio::test]
async fn a_refusal_of_grpc_web_is_a_status() {
    let (_shop, _orders, gateway) = world().await;
    let mut http = Http1::connect(&gateway).await;
    let headers = [("content-type", "application/grpc-web+proto")];
    let missed = http.call("POST", GET_ORDER, &headers, &frame(0, &get("none"))).await;
    let status = Status::from_header_map(&missed.headers).unwrap();
    assert_eq!((missed.status, missed.header("content-type")), (200, "application/grpc-web+proto"));
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::NotFound, Some("ORDER_NOT_FOUND")));
    let malformed = http.call("POST", GET_ORDER, &headers, b"{}").await;
    assert_eq!(Status::from_header_map(&malformed.headers).unwrap().code(), Code::InvalidArgument);
    let request = openorder_proto::order::v1::WatchOrderRequest { order_id: "2-1".to_owned(), until: 0 };
    let told = http.call("POST", WATCH_ORDER, &headers, &frame(0, &request.encode_to_vec())).await;
    let (messages, status) = grpc_web(&told.body);
    let status = status.unwrap();
    assert_eq!((messages.len(), reason_of(&status).as_deref()), (2, Some("STREAM_OVER")));
}
