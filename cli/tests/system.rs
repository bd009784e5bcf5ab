//! Roles in this process, over real servers: starting, telling, draining; and a topic watched from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder::{ProcessSettings, Role, StartError, System};
use openorder_messaging::{Received, Tail};
use openorder_proto::google::r#type::Money;
use openorder_proto::product::v1::product_service_client::ProductServiceClient;
use openorder_proto::product::v1::{
    CreateProductRequest, DeleteProductRequest, ProductCreated, delete_product_request,
};
use openorder_proto::{event_types, topics};
use openorder_rpc::{CallContext, RpcClientSettings, UpstreamChannel};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, free_address};

const PATIENCE: Duration = Duration::from_secs(30);

/// Settings of a world's own, the product role's with its servers.
fn settings(world: &World) -> ProcessSettings {
    let mut settings = ProcessSettings { kafka: world.kafka(), ..Default::default() };
    settings.admin.listen_address = free_address().to_string();
    settings.listen_on(Role::Product, &free_address().to_string());
    settings.product.database_url = world.database_url("product");
    settings.product.database = world.database();
    settings
}

async fn ready(system: &System) {
    let waiting = tokio::time::timeout(PATIENCE, system.readiness().wait_ready()).await;
    assert!(waiting.is_ok(), "not ready: {:?}", system.readiness().snapshot());
}

#[tokio::test]
async fn a_role_is_ready_when_its_port_is_served_and_ends_when_asked_to() {
    let world = World::new();
    let settings = settings(&world);
    let address = settings.product.listen_address.clone();
    let system = Box::pin(System::start(settings, &[Role::Product])).await.unwrap();
    let state = |name: &str| system.readiness().snapshot().into_iter().find(|state| state.name == name);
    assert!(state("port").is_some(), "told before anything else is known");
    assert!(!system.readiness().is_ready());
    assert_eq!(system.addresses().collect::<Vec<_>>(), [(Role::Product, address.as_str())]);
    ready(&system).await;
    assert!(state("postgres").is_some());

    let readiness = system.readiness().clone();
    let ending = system.stop().await;
    assert!(ending.is_clean(), "{ending:?}");
    assert!(!readiness.is_ready());
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is closed");
    world.close().await;
}

#[tokio::test]
async fn a_taken_port_ends_the_system_and_is_named() {
    let world = World::new();
    let mut settings = settings(&world);
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.product.listen_address = taken.local_addr().unwrap().to_string();
    let system = Box::pin(System::start(settings.clone(), &[Role::Product])).await.unwrap();
    tokio::time::timeout(PATIENCE, system.stop_requested()).await.expect("the role cannot run");
    let failure = system.stop().await.failure.unwrap();
    assert!(failure.starts_with("product:") && failure.contains(&settings.product.listen_address), "{failure}");

    settings.admin.listen_address = settings.product.listen_address.clone();
    let refused = Box::pin(System::start(settings, &[Role::Product])).await.err();
    assert!(matches!(refused, Some(StartError::Settings(_))), "one address for two listeners");
    world.close().await;
}

#[tokio::test]
async fn a_role_that_waits_for_a_server_stops_all_the_same() {
    let world = World::new();
    let mut settings = settings(&world);
    let nobody = free_address();
    settings.product.database_url = format!("postgres://postgres@{nobody}/openorder_product").as_str().into();
    let system = Box::pin(System::start(settings, &[Role::Product])).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), system.readiness().wait_ready()).await.is_err());
    let stopping = tokio::time::timeout(Duration::from_secs(5), system.stop()).await;
    assert!(stopping.expect("a stop does not wait for the server").is_clean());
    world.close().await;
}

#[tokio::test]
async fn a_topic_is_watched_from_its_present_end() {
    let world = World::new();
    let settings = settings(&world);
    let (kafka, url) = (settings.kafka.clone(), format!("http://{}", settings.product.listen_address));
    assert!(Tail::open(&kafka, topics::PRODUCT_CATALOG).await.is_err(), "no such topic yet");
    let system = Box::pin(System::start(settings, &[Role::Product])).await.unwrap();
    ready(&system).await;
    let telemetry = RoleTelemetry::disabled("test");
    let channel =
        openorder_rpc::channel(&telemetry, &url, &RpcClientSettings { in_memory: false, ..Default::default() })
            .unwrap();
    let mut catalogue = ProductServiceClient::new(channel);

    let first = Tail::open(&kafka, topics::PRODUCT_CATALOG).await.unwrap();
    make(&mut catalogue, "A").await;
    assert_eq!(sku_of(&next(&first).await), "A");

    let second = Tail::open(&kafka, topics::PRODUCT_CATALOG).await.unwrap();
    let deletions = Tail::open(&kafka, topics::PRODUCT_CATALOG).await.unwrap().only(&[event_types::PRODUCT_DELETED]);
    make(&mut catalogue, "B").await;
    assert_eq!(sku_of(&next(&second).await), "B", "what was there before is not read");
    let delete = DeleteProductRequest {
        request_id: "delete-B".to_owned(),
        key: Some(delete_product_request::Key::Sku("B".to_owned())),
    };
    catalogue.delete_product(call().request(delete)).await.unwrap();
    assert_eq!(next(&deletions).await.event_type, event_types::PRODUCT_DELETED, "others are passed over");

    assert!(system.stop().await.is_clean());
    world.close().await;
}

fn call() -> CallContext {
    CallContext::of_service("test", TraceContext::NONE)
}

async fn make(catalogue: &mut ProductServiceClient<UpstreamChannel>, sku: &str) {
    let request = CreateProductRequest {
        request_id: format!("make-{sku}"),
        sku: sku.to_owned(),
        display_name: sku.to_owned(),
        price: Some(Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
        initial_stock: 1,
        description: String::new(),
    };
    catalogue.create_product(call().request(request)).await.unwrap();
}

async fn next(tail: &Tail) -> Received {
    tokio::time::timeout(PATIENCE, tail.next()).await.expect("an event").unwrap()
}

fn sku_of(event: &Received) -> String {
    event.decode::<ProductCreated>().unwrap().product.unwrap().sku
}
