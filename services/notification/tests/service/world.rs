//! The notification service over real PostgreSQL and Kafka, as its callers and its neighbours see it.

use std::time::Duration;

use openorder_messaging::{Received, RoleContext, Tail};
use openorder_notification::NotificationSettings;
use openorder_proto::{
    EventMessage,
    google::r#type::Money,
    notification::v1::{
        ListNotificationsRequest, Notification, NotificationStatus,
        notification_service_client::NotificationServiceClient,
    },
    order::v1::{OrderCancelled, OrderDelivered, OrderLine, OrderPaid, OrderRejected, OrderShipped},
    topics,
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel};
use openorder_service::Host;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{TestProducer, World, eventually, free_address};
use openorder_types::{Caller, Role};
use tonic::Request;
use uuid::Uuid;

pub(crate) type Client = NotificationServiceClient<UpstreamChannel>;

/// Longest wait for something that happens soon.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Settings of the service in this world.
pub(crate) fn settings(world: &World) -> NotificationSettings {
    NotificationSettings {
        listen_address: free_address().to_string(),
        database_url: world.database_url("notification"),
        database: world.database(),
        ..NotificationSettings::default()
    }
}

/// Starts the service, waits until it is ready, and returns its caller's end.
pub(crate) async fn start(world: &World) -> Client {
    let client = start_with(world, world.role("notification"), settings(world));
    world.readiness().wait_ready().await;
    client
}

/// Starts an instance with settings of the test's choice.
pub(crate) fn start_with(world: &World, role: RoleContext, settings: NotificationSettings) -> Client {
    let url = format!("http://{}", settings.listen_address);
    let (kafka, tokens) = (world.kafka(), PageTokens::new(b"test"));
    tokio::spawn(async move { openorder_notification::serve(Host::new(role, settings, kafka, tokens)).await.unwrap() });
    let client = RpcClientSettings { in_memory: false, default_timeout_ms: 20_000, ..RpcClientSettings::default() };
    let channel = openorder_rpc::channel(&RoleTelemetry::disabled("test"), &url, &client).unwrap();
    NotificationServiceClient::new(channel)
}

pub(crate) fn as_caller<T>(caller: Caller, message: T) -> Request<T> {
    let call = CallContext { caller, trace: TraceContext::NONE, deadline: None };
    // Repeated while the service is starting: nothing here is repeated without harm otherwise.
    call.within(Duration::from_secs(20)).retry_safe_request(message)
}

pub(crate) fn as_operator<T>(message: T) -> Request<T> {
    as_caller(Caller::new("root", [Role::Operator]), message)
}

pub(crate) fn as_customer<T>(user: &str, message: T) -> Request<T> {
    as_caller(Caller::new(user, [Role::Customer]), message)
}

/// The reason of a refusal.
pub(crate) fn reason(status: &tonic::Status) -> String {
    openorder_rpc::reason_of(status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}

/// The order service, as far as this one hears of it.
pub(crate) struct Orders {
    producer: TestProducer,
}

/// An order of which events are told.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    pub(crate) customer: String,
    pub(crate) email: String,
}

impl Order {
    /// A new order of this customer, with an address.
    pub(crate) fn of(customer: &str) -> Self {
        Self { id: Uuid::now_v7(), customer: customer.to_owned(), email: format!("{customer}.secret@example.com") }
    }

    pub(crate) fn without_email(self) -> Self {
        Self { email: String::new(), ..self }
    }

    pub(crate) fn paid(&self) -> OrderPaid {
        OrderPaid {
            order_id: self.id.to_string(),
            customer_id: self.customer.clone(),
            customer_email: self.email.clone(),
            total: euros(20),
            lines: lines(),
            ..OrderPaid::default()
        }
    }

    pub(crate) fn shipped(&self) -> OrderShipped {
        OrderShipped {
            order_id: self.id.to_string(),
            customer_id: self.customer.clone(),
            customer_email: self.email.clone(),
            ..OrderShipped::default()
        }
    }

    pub(crate) fn delivered(&self) -> OrderDelivered {
        OrderDelivered {
            order_id: self.id.to_string(),
            customer_id: self.customer.clone(),
            customer_email: self.email.clone(),
            ..OrderDelivered::default()
        }
    }

    pub(crate) fn cancelled(&self, reason: &str) -> OrderCancelled {
        OrderCancelled {
            order_id: self.id.to_string(),
            customer_id: self.customer.clone(),
            customer_email: self.email.clone(),
            status_reason: reason.to_owned(),
            ..OrderCancelled::default()
        }
    }

    pub(crate) fn rejected(&self, reason: &str) -> OrderRejected {
        OrderRejected {
            order_id: self.id.to_string(),
            customer_id: self.customer.clone(),
            customer_email: self.email.clone(),
            status_reason: reason.to_owned(),
            ..OrderRejected::default()
        }
    }
}

fn euros(units: i64) -> Option<Money> {
    Some(Money { currency_code: "EUR".to_owned(), units, nanos: 0 })
}

fn lines() -> Vec<OrderLine> {
    let (unit_price, line_total) = (euros(10), euros(20));
    vec![OrderLine {
        sku: "KB-1".to_owned(),
        display_name: "Keyboard".to_owned(),
        quantity: 2,
        unit_price,
        line_total,
        product_number: 0,
        discount: None,
    }]
}

impl Orders {
    pub(crate) fn new(world: &World) -> Self {
        Self { producer: TestProducer::new(world) }
    }

    /// Publishes an event, under an id and in a trace of its own; returns the traceparent.
    pub(crate) async fn publish<M: EventMessage>(&self, order: &Order, event: &M) -> String {
        let traceparent = format!("00-{}-{}-01", Uuid::now_v7().simple(), &Uuid::new_v4().simple().to_string()[..16]);
        self.publish_as(Uuid::now_v7(), &traceparent, order, event).await;
        traceparent
    }

    /// Publishes an event under this id and in this trace.
    pub(crate) async fn publish_as<M: EventMessage>(
        &self,
        event_id: Uuid,
        traceparent: &str,
        order: &Order,
        event: &M,
    ) {
        let (event_id, order_id) = (event_id.to_string(), order.id.to_string());
        let headers = [
            ("ce_id", event_id.as_str()),
            ("ce_type", M::EVENT_TYPE),
            ("ce_source", "/openorder/order"),
            ("traceparent", traceparent),
        ];
        self.producer.send(M::TOPIC, &order_id, &headers, &event.encode_to_vec()).await;
    }
}

/// All notifications about an order.
pub(crate) async fn about(client: &Client, order: &Order) -> Vec<Notification> {
    let message = ListNotificationsRequest { order_id: order.id.to_string(), ..ListNotificationsRequest::default() };
    client.clone().list_notifications(as_operator(message)).await.unwrap().into_inner().notifications
}

/// The notifications about an order, the oldest first, once there are `count` and none is waiting.
pub(crate) async fn settled(client: &Client, order: &Order, count: usize) -> Vec<Notification> {
    eventually(&format!("{count} notifications that came to their end"), SOON, || async {
        let mut found = about(client, order).await;
        found.reverse();
        let waiting = found.iter().any(|one| one.status() == NotificationStatus::Requested);
        (found.len() >= count && !waiting).then_some(found)
    })
    .await
}

/// Events of notifications from now on; the service must be ready.
pub(crate) struct Events(Tail);

impl Events {
    pub(crate) async fn open(world: &World) -> Self {
        // A topic that was made just now may have no leader yet.
        let open = || async { Tail::open(&world.kafka(), topics::NOTIFICATION_DELIVERY).await.ok() };
        Self(eventually("the topic can be read", SOON, open).await)
    }

    /// The next event.
    pub(crate) async fn next(&self) -> Received {
        tokio::time::timeout(SOON, self.0.next()).await.expect("an event soon").unwrap()
    }
}
