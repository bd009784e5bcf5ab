//! What a caller can find out: which services there are, and how they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use futures::StreamExt;
use openorder_runtime::{Condition, State};
use support::{call, caller, gateway, listen_nowhere, orders, orders_at, products, settings, until};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const ORDERS: &str = "openorder.order.v1.OrderService";
const PRODUCTS: &str = "openorder.product.v1.ProductService";
const INTERNAL: [&str; 2] =
    ["openorder.internal.operations.v1.PipelineService", "openorder.internal.rpc.v1.BatchService"];

async fn health(channel: &Channel, service: &str) -> ServingStatus {
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner().status()
}

macro_rules! reflection_test {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::ServerReflectionRequest;
            use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
            use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
            use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

            let nowhere = listen_nowhere();
            let gateway = gateway(&nowhere, &nowhere, settings()).await;
            let ask = |question| ServerReflectionRequest { host: String::new(), message_request: Some(question) };
            let questions = |last: &str| {
                futures::stream::iter([
                    ask(MessageRequest::ListServices(String::new())),
                    ask(MessageRequest::FileContainingSymbol(ORDERS.to_owned())),
                    ask(MessageRequest::FileContainingSymbol("openorder.order.v1.CreateOrderRequest".to_owned())),
                    ask(MessageRequest::FileContainingSymbol(last.to_owned())),
                ])
            };
            let mut client = ServerReflectionClient::new(caller(&gateway).await);
            for internal in INTERNAL {
                let answers = client.server_reflection_info(questions(internal)).await.unwrap().into_inner();
                let mut answers: Vec<_> = answers.collect().await;
                let refused = answers.pop().unwrap().unwrap_err();
                assert_eq!(refused.code(), Code::NotFound, "an internal package is not described");
                let answers: Vec<_> =
                    answers.into_iter().map(|answer| answer.unwrap().message_response.unwrap()).collect();
                let MessageResponse::ListServicesResponse(list) = &answers[0] else { panic!("{answers:?}") };
                let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
                for name in [ORDERS, PRODUCTS, "grpc.health.v1.Health"] {
                    assert!(names.contains(&name), "{name} in {names:?}");
                }
                // In the contract, and not behind this gateway.
                assert!(!names.contains(&"openorder.payment.v1.PaymentService"));
                assert_eq!(answers.len(), 3);
                for answer in &answers[1..] {
                    let MessageResponse::FileDescriptorResponse(files) = answer else { panic!("{answer:?}") };
                    assert!(!files.file_descriptor_proto.is_empty());
                }
            }
        }
    };
}

reflection_test!(reflection_tells_the_services_and_their_messages, v1);
reflection_test!(the_older_reflection_does_too, v1alpha);

#[tokio::test]
async fn health_is_told_for_each_service_and_for_the_gateway() {
    let (first, products) = (orders().await, products().await);
    let gateway = gateway(&first.url(), &products.url(), settings()).await;
    let outside = caller(&gateway).await;
    until(async || gateway.readiness.is_ready()).await;
    assert_eq!(health(&outside, "").await, ServingStatus::Serving);

    // A service that waits for something itself.
    let postgres = products.readiness.dependency("product", "postgres");
    until(async || health(&outside, PRODUCTS).await == ServingStatus::NotServing).await;
    assert_eq!(health(&outside, ORDERS).await, ServingStatus::Serving);
    assert_eq!(health(&outside, "").await, ServingStatus::Serving, "who wants orders can have them");
    until(async || gateway.readiness.condition() == Condition::Degraded).await;
    postgres.ready();
    until(async || gateway.readiness.is_ready()).await;

    // What a service does in the background keeps nobody away.
    products.readiness.background("product", "kafka").down("no broker answers");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(health(&outside, PRODUCTS).await, ServingStatus::Serving);
    assert!(gateway.readiness.is_ready());

    // One that is away, and comes back.
    let address = first.address.to_string();
    first.stop().await;
    until(async || health(&outside, ORDERS).await == ServingStatus::NotServing).await;
    assert_eq!(health(&outside, PRODUCTS).await, ServingStatus::Serving);
    assert_eq!(health(&outside, "").await, ServingStatus::Serving);
    until(async || gateway.readiness.condition() == Condition::Degraded).await;
    let down: Vec<_> = gateway.readiness.snapshot().into_iter().filter(|one| one.state == State::Down).collect();
    assert_eq!((down.len(), down[0].name.as_str()), (1, "order"));

    // Nobody is left; the gateway still says when to come again.
    products.stop().await;
    until(async || health(&outside, "").await == ServingStatus::NotServing).await;
    assert_eq!(gateway.readiness.condition(), Condition::Degraded);
    let _again = orders_at(&address, openorder_telemetry::RoleTelemetry::disabled("order")).await;
    until(async || health(&outside, "").await == ServingStatus::Serving).await;
}

#[tokio::test]
async fn the_gateway_is_ready_for_calls_once_a_service_is() {
    let (orders, nowhere) = (orders().await, listen_nowhere());
    let gateway = gateway(&orders.url(), &nowhere, settings()).await;
    let outside = caller(&gateway).await;
    until(async || health(&outside, "").await == ServingStatus::Serving).await;
    assert_eq!(gateway.readiness.condition(), Condition::Degraded);
    let waiting: Vec<_> = gateway.readiness.snapshot().into_iter().filter(|one| !one.detail.is_empty()).collect();
    assert_eq!((waiting.len(), waiting[0].name.as_str()), (1, "product"));
    assert_eq!(call(&outside, support::GET_ORDER, "hello").await.unwrap().into_inner(), "hello");

    let alone = support::gateway(&nowhere, &nowhere, settings()).await;
    let outside = caller(&alone).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(health(&outside, "").await, ServingStatus::NotServing);
    assert_eq!(alone.readiness.condition(), Condition::Waiting);
}

#[tokio::test]
async fn nobody_knows_an_unknown_service() {
    let nowhere = listen_nowhere();
    let gateway = gateway(&nowhere, &nowhere, settings()).await;
    let request = Request::new(HealthCheckRequest { service: "unknown".to_owned() });
    let unknown = HealthClient::new(caller(&gateway).await).check(request).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}
