//! The health service tells what the role's readiness says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use openorder_rpc::{reason_of, with_health};
use openorder_runtime::Readiness;
use tonic::service::Routes;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

fn ask(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

#[tokio::test]
async fn a_role_serves_while_its_own_dependencies_are_there() {
    let readiness = Readiness::new();
    let postgres = readiness.dependency("order", "postgres");
    readiness.dependency("payment", "postgres").down("another role's");
    let mut health = HealthClient::new(with_health(Routes::default(), "order", &["test.Order"], &readiness));
    let mut watch = health.watch(ask("test.Order")).await.unwrap().into_inner();
    let mut status = async |service| health.check(ask(service)).await.map(|answer| answer.into_inner().status());

    assert_eq!(status("").await.unwrap(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    postgres.ready();
    assert_eq!(status("").await.unwrap(), ServingStatus::Serving);
    assert_eq!(status("test.Order").await.unwrap(), ServingStatus::Serving);
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    readiness.background("order", "kafka").down("no broker answers");
    assert_eq!(status("").await.unwrap(), ServingStatus::Serving, "calls are answered");
    postgres.down("gone");
    assert_eq!(status("").await.unwrap(), ServingStatus::NotServing);
    postgres.ready();
    let unknown = status("test.Other").await.unwrap_err();
    assert_eq!((unknown.code(), reason_of(&unknown).as_deref()), (Code::NotFound, Some("SERVICE_UNKNOWN")));
}
