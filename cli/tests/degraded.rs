//! What a system does while Kafka is away: calls are answered, and it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder::{ProcessSettings, Role, System};
use openorder_gateway::Anonymous;
use openorder_proto::google::r#type::Money;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{CreateOrderRequest, RequestedLine};
use openorder_proto::product::v1::CreateProductRequest;
use openorder_proto::product::v1::product_service_client::ProductServiceClient;
use openorder_rpc::{CallContext, RpcClientSettings};
use openorder_runtime::{Condition, Need, State};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{Cut, World, brokers, free_address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const PATIENCE: Duration = Duration::from_secs(60);

fn settings(world: &World, brokers: String) -> ProcessSettings {
    let mut settings = ProcessSettings { kafka: world.kafka(), ..Default::default() };
    settings.gateway.anonymous = Anonymous::Operator;
    settings.kafka.brokers = brokers;
    settings.kafka.admin_timeout_ms = 1_000;
    for role in [Role::Gateway, Role::Order, Role::Product] {
        settings.listen_on(role, &free_address().to_string());
    }
    settings.order.database_url = world.database_url("order");
    settings.product.database_url = world.database_url("product");
    settings.order.database = world.database();
    settings.product.database = world.database();
    settings
}

async fn start(settings: &ProcessSettings, roles: &[Role]) -> System {
    let mut settings = settings.clone();
    settings.admin.listen_address = free_address().to_string();
    let system = Box::pin(System::start(settings, roles)).await.unwrap();
    let waiting = tokio::time::timeout(PATIENCE, system.readiness().wait_serving()).await;
    assert!(waiting.is_ok(), "calls are not answered: {:?}", system.readiness().snapshot());
    system
}

/// Code and body of `/readyz`.
async fn readyz(system: &System) -> String {
    let mut stream = tokio::net::TcpStream::connect(system.admin_address()).await.unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_system_that_starts_without_kafka_takes_orders_and_says_what_waits() {
    let world = World::new();
    let kafka = Cut::to(&brokers()).await;
    kafka.cut();
    let settings = settings(&world, kafka.address());
    let services = start(&settings, &[Role::Order, Role::Product]).await;
    let gateway = start(&settings, &[Role::Gateway]).await;

    let away: Vec<_> = services.readiness().snapshot().into_iter().filter(|one| one.state != State::Ready).collect();
    assert!(away.iter().any(|one| (one.role.as_str(), one.name.as_str()) == ("order", "kafka")), "{away:?}");
    assert!(away.iter().all(|one| one.need == Need::Background), "{away:?}");
    // What is added later is in the background, unless a call cannot be answered without it.
    for system in [&services, &gateway] {
        for one in system.readiness().snapshot().into_iter().filter(|one| one.need == Need::Required) {
            assert!(["port", "postgres", "services"].contains(&one.name.as_str()), "{one:?}");
        }
    }
    let answer = readyz(&services).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""status":"degraded""#), "{answer}");

    let url = format!("http://{}", settings.gateway.listen_address);
    let client = RpcClientSettings { in_memory: false, ..Default::default() };
    let channel = openorder_rpc::channel(&RoleTelemetry::disabled("test"), &url, &client).unwrap();
    let call = CallContext::of_service("test", TraceContext::NONE);
    let asked = HealthCheckRequest { service: "openorder.order.v1.OrderService".to_owned() };
    let health = HealthClient::new(channel.clone()).check(call.request(asked)).await.unwrap().into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    let product = CreateProductRequest {
        request_id: "product".to_owned(),
        sku: "A".to_owned(),
        display_name: "A".to_owned(),
        price: Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
        initial_stock: 1,
        description: String::new(),
    };
    ProductServiceClient::new(channel.clone()).create_product(call.request(product)).await.unwrap();
    let order = CreateOrderRequest {
        request_id: "order".to_owned(),
        customer_id: "anna".to_owned(),
        customer_email: "anna@example.com".to_owned(),
        lines: vec![RequestedLine { sku: "A".to_owned(), quantity: 1 }],
        ..Default::default()
    };
    OrderServiceClient::new(channel).create_order(call.request(order)).await.expect("orders are taken");

    // It comes later.
    kafka.mend();
    let waiting = tokio::time::timeout(PATIENCE, services.readiness().wait_ready()).await;
    assert!(waiting.is_ok(), "not ready: {:?}", services.readiness().snapshot());
    assert!(readyz(&services).await.contains(r#""status":"ready""#));

    // Without its database a role answers nothing.
    world.database_accepts("order", false).await;
    let unready = async {
        while services.readiness().condition() != Condition::Waiting {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, unready).await.expect("not ready without the database");
    assert!(readyz(&services).await.starts_with("HTTP/1.1 503"));
    world.database_accepts("order", true).await;

    gateway.stop().await;
    services.stop().await;
    world.close().await;
}
