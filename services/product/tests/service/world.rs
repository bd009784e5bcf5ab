//! A running service, its callers, and what is around it.

mod follower;

use std::time::Duration;

use openorder_config::Secret;
use openorder_messaging::{KafkaSettings, RoleContext};
use openorder_product::ProductSettings;
use openorder_proto::{
    google::r#type::Money,
    product::v1::{CreateProductRequest, Product, product_service_client::ProductServiceClient},
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel};
use openorder_service::Host;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, free_address};
use openorder_types::{Caller, Role};
use tonic::Request;

pub(crate) use follower::Follower;

pub(crate) type Client = ProductServiceClient<UpstreamChannel>;

/// Starts the service and returns its caller's end.
pub(crate) fn start(world: &World) -> Client {
    start_with(world.role("product"), world.database_url("product"), world.kafka(), world)
}

/// Starts an instance with a database and a Kafka of the test's choice.
pub(crate) fn start_with(role: RoleContext, database_url: Secret, kafka: KafkaSettings, world: &World) -> Client {
    let address = free_address().to_string();
    let url = format!("http://{address}");
    let settings = ProductSettings {
        listen_address: address,
        database_url,
        database: world.database(),
        ..ProductSettings::default()
    };
    let tokens = PageTokens::new(b"test");
    tokio::spawn(async move { openorder_product::serve(Host::new(role, settings, kafka, tokens)).await.unwrap() });
    let client = RpcClientSettings { in_memory: false, default_timeout_ms: 20_000, ..RpcClientSettings::default() };
    let channel = openorder_rpc::channel(&RoleTelemetry::disabled("test"), &url, &client).unwrap();
    ProductServiceClient::new(channel)
}

fn as_caller<T>(caller: Caller, message: T) -> Request<T> {
    let call = CallContext { caller, trace: TraceContext::NONE, deadline: None };
    // Repeated while the service is starting: nothing here is repeated without harm otherwise.
    call.within(Duration::from_secs(20)).retry_safe_request(message)
}

pub(crate) fn as_operator<T>(message: T) -> Request<T> {
    as_caller(Caller::new("root", [Role::Operator]), message)
}

pub(crate) fn as_customer<T>(message: T) -> Request<T> {
    as_caller(Caller::new("ada", [Role::Customer]), message)
}

pub(crate) fn euros(units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), units, nanos: 0 })
}

pub(crate) fn new_product(request_id: &str, sku: &str) -> CreateProductRequest {
    CreateProductRequest {
        request_id: request_id.to_owned(),
        sku: sku.to_owned(),
        display_name: format!("Product {sku}"),
        price: euros(10),
        initial_stock: 5,
        description: "First line\nsecond line".to_owned(),
    }
}

pub(crate) async fn create(client: &mut Client, request_id: &str, sku: &str) -> Product {
    let answer = client.create_product(as_operator(new_product(request_id, sku))).await.unwrap();
    answer.into_inner().product.unwrap()
}

/// The reason of a refusal.
pub(crate) fn reason(status: &tonic::Status) -> String {
    openorder_rpc::reason_of(status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}
