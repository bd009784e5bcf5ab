//! Orders over HTTP and JSON: through the gateway, from the real services, over real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder::{ProcessSettings, Role, System};
use openorder_proto::order::v1::GetOrderRequest;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_rpc::{CallContext, RpcClientSettings};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, free_address};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(60);

async fn started(world: &World) -> (System, String) {
    let mut settings = ProcessSettings { kafka: world.kafka(), ..Default::default() };
    settings.admin.listen_address = free_address().to_string();
    for role in Role::ALL {
        settings.listen_on(*role, &free_address().to_string());
    }
    settings.order.database_url = world.database_url("order");
    settings.product.database_url = world.database_url("product");
    settings.order.database = world.database();
    settings.product.database = world.database();
    let gateway = settings.gateway.listen_address.clone();
    let system = Box::pin(System::start(settings, &[Role::Gateway, Role::Order, Role::Product])).await.unwrap();
    let waiting = tokio::time::timeout(PATIENCE, system.readiness().wait_serving()).await;
    assert!(waiting.is_ok(), "calls are not answered: {:?}", system.readiness().snapshot());
    (system, gateway)
}

/// One request, as curl sends it: its status, and the JSON of its answer.
async fn call(gateway: &str, method: &str, path: &str, body: Option<Json>) -> (u16, Json) {
    let mut stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let (kind, length) = ("content-type: application/json", body.len());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {gateway}\r\n{kind}\r\ncontent-length: {length}\r\nconnection: close"
    );
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

#[tokio::test]
async fn an_order_that_is_made_in_json_is_the_one_that_every_protocol_reads() {
    let world = World::new();
    let (system, gateway) = Box::pin(started(&world)).await;
    let product = json!({
        "requestId": "chair-1", "sku": "chair", "displayName": "A chair", "initialStock": 5,
        "price": {"currencyCode": "EUR", "units": "19", "nanos": 500_000_000}
    });
    let (status, made) = call(&gateway, "POST", "/v1/products", Some(product)).await;
    assert_eq!(status, 200, "{made}");
    let (_, by_sku) = call(&gateway, "GET", "/v1/skus/chair", None).await;
    assert_eq!(by_sku, made);

    let order = json!({"request_id": "order-1", "customer_id": "anna", "lines": [{"sku": "chair", "quantity": 2}]});
    let (status, made) = call(&gateway, "POST", "/v1/orders", Some(order.clone())).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(made["order"]["total"], json!({"currencyCode": "EUR", "units": "39"}));
    let order_id = made["order"]["orderId"].as_str().unwrap();
    let (_, again) = call(&gateway, "POST", "/v1/orders", Some(order)).await;
    assert_eq!(again["order"]["orderId"], order_id, "the same command has no second effect");

    let (_, by_rest) = call(&gateway, "GET", &format!("/v1/orders/{order_id}"), None).await;
    let connect = "/openorder.order.v1.OrderService/GetOrder";
    let (_, by_connect) = call(&gateway, "POST", connect, Some(json!({"orderId": order_id}))).await;
    assert_eq!(by_rest, by_connect);
    let client = RpcClientSettings { in_memory: false, ..Default::default() };
    let channel =
        openorder_rpc::channel(&RoleTelemetry::disabled("test"), &format!("http://{gateway}"), &client).unwrap();
    let request = GetOrderRequest { order_id: order_id.to_owned() };
    let asked = CallContext::of_service("test", TraceContext::NONE).request(request);
    let by_grpc = OrderServiceClient::new(channel).get_order(asked).await.unwrap().into_inner().order.unwrap();
    assert_eq!((by_grpc.order_id.as_str(), by_grpc.customer_id.as_str()), (order_id, "anna"));
    assert_eq!(by_rest["order"]["version"], by_grpc.version.to_string());
    let (_, listed) = call(&gateway, "GET", "/v1/orders?customerId=anna&statuses=ORDER_STATUS_PENDING", None).await;
    assert_eq!(listed["orders"][0]["orderId"], order_id);

    let empty = json!({"requestId": "order-2", "customerId": "anna", "lines": [{"sku": "no sku", "quantity": 0}]});
    let (status, refused) = call(&gateway, "POST", "/v1/orders", Some(empty)).await;
    assert_eq!(status, 400, "{refused}");
    let fields: Vec<_> =
        refused["details"][1]["fieldViolations"].as_array().unwrap().iter().map(|one| &one["field"]).collect();
    assert_eq!(fields, ["lines[0].sku", "lines[0].quantity"]);
    let (status, missed) = call(&gateway, "GET", "/v1/orders/00000000-0000-7000-8000-000000000000", None).await;
    assert_eq!((status, &missed["details"][0]["reason"]), (404, &json!("ORDER_NOT_FOUND")));
    system.stop().await;
    world.close().await;
}
