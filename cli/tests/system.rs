//! Roles in this process, over real servers: starting, telling, draining; and a topic watched from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder::certs::{self, CertsArgs, CertsCommand, InitArgs, MakeArgs};
use openorder::settings_args::SettingsArgs;
use openorder::{ProcessSettings, Role, StartError, System};
use openorder_gateway::Anonymous;
use openorder_messaging::{Received, Tail};
use openorder_proto::google::r#type::Money;
use openorder_proto::operations::v1::GetPipelineHealthRequest;
use openorder_proto::operations::v1::operations_service_client::OperationsServiceClient;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{CreateOrderRequest, OrderStatus, RequestedLine};
use openorder_proto::product::v1::product_service_client::ProductServiceClient;
use openorder_proto::product::v1::{
    CreateProductRequest, DeleteProductRequest, ProductCreated, delete_product_request,
};
use openorder_proto::{event_types, topics};
use openorder_rpc::{CallContext, RpcClientSettings, UpstreamChannel, reason_of};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, free_address};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
    let mut catalogue = ProductServiceClient::new(channel(&url));

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

/// Certificates of all roles, in a folder of their own.
struct Certificates(std::path::PathBuf);

impl Certificates {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("openorder-mtls-{}", uuid::Uuid::now_v7()));
        let settings = SettingsArgs::default();
        let make = MakeArgs { directory: directory.clone(), authority: None, host: Vec::new(), days: 1, settings };
        let command = CertsCommand::Init(InitArgs { or_renew: false, make });
        certs::run(&CertsArgs { command }).unwrap();
        Self(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What the admin port answers to a path.
async fn admin(system: &System, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(system.admin_address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

#[tokio::test]
async fn an_order_and_an_operator_reach_all_roles_by_the_certificates_of_each() {
    const ROLES: [Role; 4] = [Role::Product, Role::Order, Role::Operations, Role::Gateway];
    let (world, certificates) = (World::new(), Certificates::new());
    let mut settings = Box::new(ProcessSettings { kafka: world.kafka(), ..Default::default() });
    settings.mtls.certificate_file = certificates.file("{role}.pem");
    settings.mtls.private_key_file = certificates.file("{role}-key.pem");
    settings.mtls.ca_file = certificates.file("ca.pem");
    for role in Role::ALL {
        settings.listen_on(*role, &free_address().to_string());
    }
    settings.product.database_url = world.database_url("product");
    settings.order.database_url = world.database_url("order");
    settings.operations.database_url = world.database_url("operations");
    for database in [&mut settings.product.database, &mut settings.order.database, &mut settings.operations.database] {
        *database = world.database();
    }
    settings.gateway.anonymous = Anonymous::Operator;
    // As processes of their own are called.
    for client in [&mut settings.gateway.client, &mut settings.order.client, &mut settings.operations.client] {
        client.in_memory = false;
    }
    let mut systems = Vec::new();
    for role in ROLES {
        settings.admin.listen_address = free_address().to_string();
        let system = Box::pin(System::start(*settings.clone(), &[role])).await.unwrap();
        let serving = tokio::time::timeout(PATIENCE, system.readiness().wait_serving()).await;
        assert!(serving.is_ok(), "{role} does not serve: {:?}", system.readiness().snapshot());
        systems.push(system);
    }
    let gateway = format!("http://{}", settings.gateway.listen_address);
    let mut catalogue = ProductServiceClient::new(channel(&gateway));
    make(&mut catalogue, "A").await;

    // What nobody knows is UNKNOWN_SKU only after the product service said so.
    let mut orders = OrderServiceClient::new(channel(&gateway));
    for (sku, status) in [("A", OrderStatus::Pending), ("B", OrderStatus::Rejected)] {
        let request = CreateOrderRequest {
            request_id: format!("order-{sku}"),
            customer_id: "anna".to_owned(),
            lines: vec![RequestedLine { sku: sku.to_owned(), quantity: 1 }],
            ..Default::default()
        };
        let order = orders.create_order(call().request(request)).await.unwrap().into_inner().order.unwrap();
        assert_eq!(order.status(), status, "{order:?}");
    }
    let mut operations = OperationsServiceClient::new(channel(&gateway));
    let health = operations.get_pipeline_health(call().request(GetPipelineHealthRequest {})).await.unwrap();
    let roles = health.into_inner().roles;
    let reached: Vec<_> = roles.iter().filter(|role| role.reachable).map(|role| role.role.as_str()).collect();
    assert_eq!(reached, ["order", "product", "operations"]);

    // Whoever shows nothing reaches nobody but the gateway; the admin ports are as they are.
    let mut around = ProductServiceClient::new(channel(&format!("http://{}", settings.product.listen_address)));
    let refused = around.delete_product(call().request(DeleteProductRequest::default())).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("UPSTREAM_UNAVAILABLE"));
    for system in &systems {
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = admin(system, path).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        }
    }
    for system in systems.into_iter().rev() {
        assert!(system.stop().await.is_clean());
    }
    world.close().await;
}

fn channel(url: &str) -> UpstreamChannel {
    let settings = RpcClientSettings { in_memory: false, ..Default::default() };
    openorder_rpc::channel(&RoleTelemetry::disabled("test"), url, &settings).unwrap()
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
