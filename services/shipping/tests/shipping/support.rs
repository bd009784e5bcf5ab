//! A running shipping service, an order service that is played, and a reader of what is published.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use openorder_proto::{
    EventMessage,
    google::r#type::PostalAddress,
    order::v1::{CancellationCause, OrderCancelled, OrderDelivered, OrderLine, OrderPaid, OrderShipped, OrderStatus},
    shipping::v1::{
        AddShipmentEventRequest, AddShipmentEventResponse, CancelShipmentRequest, GetShipmentRequest,
        GetShipmentResponse, ListShipmentsRequest, Shipment, ShipmentCancelled, ShipmentCreated, ShipmentDelivered,
        ShipmentEventType, ShipmentProgressed, ShipmentShipped, ShipmentState, ShipmentUpdated, UpdateShipmentRequest,
        add_shipment_event_request, get_shipment_request, shipping_service_client::ShippingServiceClient,
    },
    topics,
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel, reason_of};
use openorder_service::Host;
use openorder_shipping::{ShippingSettings, serve};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{Message, Tail, TestProducer, World, eventually, free_address};
use openorder_types::{Caller, Role};
use prost::Message as _;
use tokio::runtime::Runtime;
use tonic::{Code, Status};
use uuid::Uuid;

/// How long anything may take on a busy machine.
pub const BOUND: Duration = Duration::from_secs(60);

pub type Client = ShippingServiceClient<UpstreamChannel>;

/// One shipping service in a runtime of its own, so that it can be killed.
pub struct Instance {
    runtime: Runtime,
    pub client: Client,
}

impl Instance {
    /// Starts the service and waits until it answers.
    pub async fn start(world: &World) -> Self {
        let address = free_address();
        let settings = ShippingSettings {
            listen_address: address.to_string(),
            database_url: world.database_url("shipping"),
            database: world.database(),
            ..ShippingSettings::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let role = world.separate_role("shipping");
        runtime.spawn(serve(Host::new(role, settings, world.kafka(), PageTokens::new(b"test"))));
        let settings = RpcClientSettings { in_memory: false, ..RpcClientSettings::default() };
        let url = format!("http://{address}");
        let channel = openorder_rpc::channel(&RoleTelemetry::disabled("test"), &url, &settings).unwrap();
        let client = Client::new(channel);
        eventually("the service answers", BOUND, || async {
            let asked = client.clone().list_shipments(as_operator().request(ListShipmentsRequest::default())).await;
            asked.ok().map(drop)
        })
        .await;
        Self { runtime, client }
    }

    /// Ends it wherever it stands: nothing is finished, nothing is said to anybody.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// An event that the shipping service published.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    id: String,
    key: Vec<u8>,
    /// The last word of its type.
    pub what: String,
    pub shipment: Shipment,
}

impl Told {
    fn of(event_type: &str, id: String, key: Vec<u8>, payload: &[u8]) -> Self {
        let what = event_type.rsplit('.').next().unwrap_or_default().to_owned();
        let shipment = match what.as_str() {
            "created" => ShipmentCreated::decode(payload).unwrap().shipment,
            "updated" => ShipmentUpdated::decode(payload).unwrap().shipment,
            "progressed" => ShipmentProgressed::decode(payload).unwrap().shipment,
            "shipped" => ShipmentShipped::decode(payload).unwrap().shipment,
            "delivered" => ShipmentDelivered::decode(payload).unwrap().shipment,
            "cancelled" => ShipmentCancelled::decode(payload).unwrap().shipment,
            other => panic!("the shipping service published {other}"),
        };
        Self { id, key, what, shipment: shipment.unwrap() }
    }
}

/// The service under test with everything around it.
pub struct Bench {
    pub world: World,
    pub client: Client,
    instance: Option<Instance>,
    producer: TestProducer,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Bench {
    pub async fn start() -> Self {
        let world = World::new();
        let instance = Instance::start(&world).await;
        let tail = Tail::new(&world, topics::SHIPPING_SHIPMENT);
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        tokio::spawn(follow(tail, Arc::clone(&told)));
        let (client, producer) = (instance.client.clone(), TestProducer::new(&world));
        Self { world, client, instance: Some(instance), producer, told }
    }

    pub async fn close(mut self) {
        self.kill();
        self.world.close().await;
    }

    /// Ends the service wherever it stands.
    pub fn kill(&mut self) {
        if let Some(instance) = self.instance.take() {
            instance.kill();
        }
    }

    /// Starts the service on what the one before left.
    pub async fn start_again(&mut self) {
        let instance = Instance::start(&self.world).await;
        self.client = instance.client.clone();
        self.instance = Some(instance);
    }

    /// Publishes an event as the order service does.
    pub async fn publish<M: EventMessage>(&self, order_id: Uuid, message: &M) {
        self.producer.publish(&order_id.to_string(), message).await;
    }

    /// As [`Self::publish`]: an event that comes again has its id.
    pub async fn publish_as<M: EventMessage>(&self, order_id: Uuid, message: &M, event_id: Uuid) {
        self.producer.publish_as(&order_id.to_string(), message, event_id).await;
    }

    /// What was told of an order so far, each event once, in the order of its coming.
    pub fn told_of(&self, order_id: Uuid) -> Vec<Told> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|one| one.key == order_id.to_string().as_bytes()).cloned().collect()
    }

    /// Waits until so many events of the order came; more than that fail the test. Their versions are 1, 2, 3 …
    pub async fn told(&self, order_id: Uuid, count: usize) -> Vec<Told> {
        let what = format!("{count} events of {order_id}");
        let enough = || async { Some(self.told_of(order_id)).filter(|told| told.len() >= count) };
        let told = eventually(&what, BOUND, enough).await;
        let versions: Vec<i64> = told.iter().map(|one| one.shipment.version).collect();
        assert_eq!(versions, (1..).take(count).collect::<Vec<i64>>(), "{told:#?}");
        assert!(told.iter().all(|one| one.shipment.order_id == order_id.to_string()));
        told
    }

    /// The last words of what was told, by waiting for so many.
    pub async fn words(&self, order_id: Uuid, count: usize) -> Vec<String> {
        self.told(order_id, count).await.into_iter().map(|one| one.what).collect()
    }

    /// Everything that was published under this order's key has been handled: of the same partition, an order after it has
    /// its shipment.
    pub async fn wait_behind(&self, order_id: Uuid) {
        let last = Uuid::now_v7();
        // Under the key of the other order, so that they come after what was published under it.
        self.publish(order_id, &paid(last, "nobody")).await;
        eventually("the order behind is handled", BOUND, || async {
            self.get(&as_operator(), by_order(last)).await.ok()
        })
        .await;
    }

    pub async fn get(&self, call: &CallContext, key: get_shipment_request::Key) -> Result<GetShipmentResponse, Status> {
        let request = call.request(GetShipmentRequest { key: Some(key) });
        Ok(self.client.clone().get_shipment(request).await?.into_inner())
    }

    /// The shipment of an order, which there is.
    pub async fn shipment(&self, order_id: Uuid) -> Shipment {
        self.get(&as_operator(), by_order(order_id)).await.unwrap().shipment.unwrap()
    }

    /// A paid order, whose shipment is made.
    pub async fn order(&self, customer_id: &str) -> Uuid {
        let order_id = Uuid::now_v7();
        self.publish(order_id, &paid(order_id, customer_id)).await;
        self.told(order_id, 1).await;
        order_id
    }

    pub async fn update(&self, call: &CallContext, request: UpdateShipmentRequest) -> Result<Shipment, Status> {
        let answer = self.client.clone().update_shipment(call.request(request)).await?;
        Ok(answer.into_inner().shipment.unwrap())
    }

    /// Asks as the order service does.
    pub async fn cancel(&self, request: CancelShipmentRequest) -> Result<Shipment, Status> {
        let call = CallContext::of_service("order", TraceContext::default());
        let answer = self.client.clone().cancel_shipment(call.retry_safe_request(request)).await?;
        Ok(answer.into_inner().shipment.unwrap())
    }

    pub async fn add(&self, request: AddShipmentEventRequest) -> Result<AddShipmentEventResponse, Status> {
        Ok(self.client.clone().add_shipment_event(as_operator().request(request)).await?.into_inner())
    }
}

/// Reads what the shipping service publishes, until the test ends.
async fn follow(tail: Tail, told: Arc<Mutex<Vec<Told>>>) {
    loop {
        let Some(message) = tail.next(BOUND).await else { continue };
        let header = |name| openorder_testing::header(&message, name).unwrap_or_default();
        if header("ce_source") != "/openorder/shipping" {
            continue;
        }
        let (key, payload) = (message.key().unwrap_or_default().to_vec(), message.payload().unwrap_or_default());
        let one = Told::of(&header("ce_type"), header("ce_id"), key, payload);
        let mut told = told.lock().unwrap();
        // After a crash an event comes again.
        if told.iter().all(|known| known.id != one.id) {
            told.push(one);
        }
    }
}

pub fn address() -> PostalAddress {
    PostalAddress {
        region_code: "DE".to_owned(),
        postal_code: "10115".to_owned(),
        locality: "Berlin".to_owned(),
        address_lines: vec!["Invalidenstraße 116".to_owned()],
        recipients: vec!["Ada Lovelace".to_owned()],
        ..PostalAddress::default()
    }
}

pub fn paid(order_id: Uuid, customer_id: &str) -> OrderPaid {
    OrderPaid {
        order_id: order_id.to_string(),
        customer_id: customer_id.to_owned(),
        version: 3,
        status: OrderStatus::Paid.into(),
        lines: vec![OrderLine {
            sku: "CHAIR".to_owned(),
            display_name: "A chair".to_owned(),
            quantity: 2,
            product_number: 7,
            ..OrderLine::default()
        }],
        shipping_address: Some(address()),
        ..OrderPaid::default()
    }
}

pub fn shipped(order_id: Uuid) -> OrderShipped {
    OrderShipped { order_id: order_id.to_string(), ..OrderShipped::default() }
}

pub fn delivered(order_id: Uuid) -> OrderDelivered {
    OrderDelivered { order_id: order_id.to_string(), ..OrderDelivered::default() }
}

pub fn cancelled(order_id: Uuid, previous: OrderStatus) -> OrderCancelled {
    OrderCancelled {
        order_id: order_id.to_string(),
        customer_id: "ada".to_owned(),
        cause: CancellationCause::Operator.into(),
        previous_status: previous.into(),
        ..OrderCancelled::default()
    }
}

pub fn cancel(order_id: Uuid, customer_id: &str) -> CancelShipmentRequest {
    CancelShipmentRequest {
        request_id: format!("cancel-{order_id}"),
        order_id: order_id.to_string(),
        customer_id: customer_id.to_owned(),
        cause: CancellationCause::Customer.into(),
        detail: "changed my mind".to_owned(),
    }
}

pub fn move_to(order_id: Uuid, request_id: &str, state: ShipmentState) -> UpdateShipmentRequest {
    UpdateShipmentRequest {
        request_id: request_id.to_owned(),
        order_id: order_id.to_string(),
        state: state.into(),
        ..UpdateShipmentRequest::default()
    }
}

/// What a carrier says to have happened so many seconds after the beginning of 2026.
pub fn said(
    order_id: Uuid,
    request_id: &str,
    event_type: ShipmentEventType,
    carrier_event_id: &str,
    seconds: i64,
) -> AddShipmentEventRequest {
    AddShipmentEventRequest {
        request_id: request_id.to_owned(),
        key: Some(add_shipment_event_request::Key::OrderId(order_id.to_string())),
        r#type: event_type.into(),
        event_time: Some(prost_types::Timestamp { seconds: 1_767_225_600 + seconds, nanos: 0 }),
        location: "Berlin".to_owned(),
        carrier_event_id: carrier_event_id.to_owned(),
    }
}

pub fn by_order(order_id: Uuid) -> get_shipment_request::Key {
    get_shipment_request::Key::OrderId(order_id.to_string())
}

pub fn as_operator() -> CallContext {
    calling(Caller::new("root", [Role::Operator]))
}

pub fn as_customer(name: &str) -> CallContext {
    calling(Caller::new(name, [Role::Customer]))
}

fn calling(caller: Caller) -> CallContext {
    CallContext { caller, ..CallContext::of_service("test", TraceContext::default()) }
}

/// The code and the reason of a refusal.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

pub fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}
