//! A running payment service, an order service that is played, and a service that listens.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use openorder_messaging::{
    Application, Backbone, CommitterSettings, ConsumerSettings, Envelope, Interest, Outcomes, Received, RoleContext,
    Subscription, UnitOfWork,
};
use openorder_payment::PaymentSettings;
use openorder_proto::{
    EventMessage,
    google::r#type::Money,
    order::v1::{OrderConfirmed, OrderStatus, PaymentMode},
    payment::v1::{
        ChargeWalletRequest, GetPaymentRequest, GetWalletRequest, Payment, PaymentCompleted, PaymentFailed,
        PaymentRefundReason, PaymentRefundRequested, PaymentRefunded, Wallet, WalletCharged, get_payment_request::Key,
        payment_service_client::PaymentServiceClient,
    },
    topics,
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel, channel, reason_of};
use openorder_service::Host;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{TestProducer, World, eventually, free_address};
use openorder_types::{Caller, Fault, Role};
use sqlx::migrate::Migrator;
use tokio::{runtime::Runtime, task::JoinHandle};
use tonic::Status;
use uuid::Uuid;

/// How long anything may take on a busy machine.
pub const BOUND: Duration = Duration::from_secs(60);

pub type Client = PaymentServiceClient<UpstreamChannel>;

/// One payment service in a runtime of its own, so that it can be killed.
pub struct Instance {
    runtime: Runtime,
    role: RoleContext,
    served: JoinHandle<anyhow::Result<()>>,
    pub client: Client,
}

impl Instance {
    /// Starts the service and waits until it answers.
    pub async fn start(world: &World) -> Self {
        Self::start_with(world, CommitterSettings::default()).await
    }

    async fn start_with(world: &World, committer: CommitterSettings) -> Self {
        let address = free_address();
        let settings = PaymentSettings {
            listen_address: address.to_string(),
            database_url: world.database_url("payment"),
            database: world.database(),
            committer,
            ..PaymentSettings::default()
        };
        let role = world.separate_role("payment");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let host = Host::new(role.clone(), settings, world.kafka(), PageTokens::new(b"secret"));
        // Nobody is there: orders are played by their events alone.
        let urls = [("order", format!("http://{}", free_address()))];
        let served = runtime.spawn(openorder_payment::serve(host.with_urls(urls.into_iter().collect())));
        let telemetry = RoleTelemetry::disabled("test");
        let upstream = channel(
            &telemetry,
            &format!("http://{address}"),
            &RpcClientSettings { in_memory: false, ..Default::default() },
        )
        .unwrap();
        let client = PaymentServiceClient::new(upstream);
        eventually("the payment service answers", BOUND, || async {
            let ask = GetWalletRequest { user_id: "nobody".to_owned() };
            let answer = client.clone().get_wallet(as_service().request(ask)).await;
            (reason_of(&answer.unwrap_err()).as_deref() == Some("WALLET_NOT_FOUND")).then_some(())
        })
        .await;
        Self { runtime, role, served, client }
    }

    /// Stops it as a deployment does.
    pub async fn stop(self) {
        self.role.shutdown.trigger();
        self.served.await.unwrap().unwrap();
        assert_eq!(self.role.tasks.drain(BOUND).await, Vec::<&str>::new(), "tasks that did not end");
        self.runtime.shutdown_background();
    }

    /// Ends it wherever it stands: nothing is finished, nothing is said to anybody.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// Another service that follows what the payment service publishes.
#[derive(Clone, Default)]
pub struct Observer(Arc<Mutex<Vec<Received>>>);

impl Application for Observer {
    type Command = Received;
    type Reply = ();

    async fn execute(&self, _: &mut UnitOfWork, batch: &[Envelope<'_, Received>]) -> Result<Outcomes<()>, Fault> {
        let mut seen = self.0.lock().unwrap();
        for envelope in batch {
            // A batch that is tried again comes again.
            if seen.iter().all(|message| message.event_id != envelope.command.event_id) {
                seen.push(envelope.command.clone());
            }
        }
        Ok(batch.iter().map(|_| Ok(())).collect())
    }
}

impl Observer {
    async fn start(world: &World) -> Self {
        let observer = Self::default();
        let role = world.role("observer");
        let none = Migrator::with_migrations(Vec::new());
        let url = world.database_url("observer");
        let backbone = Backbone::start(&role, &url, &world.database(), &world.kafka(), &none).await.unwrap();
        let followed = vec![topics::PAYMENT_TRANSACTION, topics::PAYMENT_WALLET];
        let subscription = Subscription {
            topics: followed,
            decode: |message| Ok(Some(message.clone())),
            interest: |_, _| Interest::Unknown,
            injects: |_| false,
        };
        backbone.consumer(Arc::new(observer.clone()), subscription, &ConsumerSettings::default());
        observer
    }

    /// What the payment service said about an aggregate, in the order in which it came.
    pub fn said(&self, topic: &str, aggregate: &str) -> Vec<Received> {
        let seen = self.0.lock().unwrap();
        let said = seen.iter().filter(|one| one.source() == "payment" && one.topic == topic);
        said.filter(|one| one.key == aggregate.as_bytes()).cloned().collect()
    }

    /// Waits until so many events of the aggregate came; more than that fail the test.
    pub async fn wait(&self, topic: &str, aggregate: &str, count: usize) -> Vec<Received> {
        let what = format!("{count} events of {aggregate}");
        let said =
            eventually(&what, BOUND, || async { Some(self.said(topic, aggregate)).filter(|said| said.len() >= count) })
                .await;
        let versions: Vec<i64> = said.iter().map(version).collect();
        let expected: Vec<i64> = (1..).take(count).collect();
        assert_eq!(versions, expected, "versions of {aggregate}, in order and without gaps");
        assert!(said.is_sorted_by_key(position), "positions in the log of the payment service");
        said
    }

    /// Waits until so many events told of a wallet, in either topic; more than that fail the test. In the order of the
    /// wallet's versions.
    pub async fn movements(&self, user_id: &str, count: usize) -> Vec<Received> {
        let told = || {
            let seen = self.0.lock().unwrap();
            let mut told: Vec<Received> =
                seen.iter().filter(|one| one.source() == "payment" && moves(one, user_id)).cloned().collect();
            told.sort_by_key(wallet_version);
            told
        };
        let what = format!("{count} events of the wallet of {user_id}");
        let told = eventually(&what, BOUND, || async { Some(told()).filter(|told| told.len() >= count) }).await;
        let versions: Vec<i64> = told.iter().map(wallet_version).collect();
        let expected: Vec<i64> = (1..).take(count).collect();
        assert_eq!(versions, expected, "versions of the wallet of {user_id}, without gaps");
        assert!(told.is_sorted_by_key(position), "positions in the log of the payment service");
        told
    }

    /// The answers about an order, by waiting for so many.
    pub async fn answers(&self, order_id: Uuid, count: usize) -> Vec<Received> {
        self.wait(topics::PAYMENT_TRANSACTION, &order_id.to_string(), count).await
    }
}

/// The text of a header.
pub fn text(message: &Received, name: &str) -> String {
    message.headers.text(name).unwrap_or_default().to_owned()
}

/// Where the event stands in the log of its source.
pub fn position(message: &Received) -> i64 {
    text(message, "ce_sequence").parse().unwrap()
}

/// The version of the payment or the wallet that the event made.
pub fn version(event: &Received) -> i64 {
    let of_wallet = |wallet: Option<Wallet>| wallet.unwrap().version;
    match &*event.event_type {
        PaymentCompleted::EVENT_TYPE => message::<PaymentCompleted>(event).version,
        PaymentFailed::EVENT_TYPE => message::<PaymentFailed>(event).version,
        PaymentRefunded::EVENT_TYPE => message::<PaymentRefunded>(event).version,
        WalletCharged::EVENT_TYPE => of_wallet(message::<WalletCharged>(event).wallet),
        other => panic!("no version in {other}"),
    }
}

/// Whether the event told of this user's wallet.
fn moves(event: &Received, user_id: &str) -> bool {
    match &*event.event_type {
        PaymentCompleted::EVENT_TYPE => message::<PaymentCompleted>(event).user_id == user_id,
        _ => event.topic == topics::PAYMENT_WALLET && event.key == user_id.as_bytes(),
    }
}

/// The version of the wallet that the event made.
fn wallet_version(event: &Received) -> i64 {
    match &*event.event_type {
        PaymentCompleted::EVENT_TYPE => message::<PaymentCompleted>(event).wallet_version,
        _ => version(event),
    }
}

/// The message of an event, which has to be of that type.
pub fn message<M: EventMessage>(received: &Received) -> M {
    assert_eq!((&*received.event_type, &*received.topic), (M::EVENT_TYPE, M::TOPIC));
    M::decode(&*received.payload).unwrap()
}

/// An order as the played order service knows it.
#[derive(Debug, Clone)]
pub struct Order {
    pub order_id: Uuid,
    pub customer_id: String,
    pub total: Money,
}

/// A new order of some euros.
pub fn order(customer_id: &str, euros: i64) -> Order {
    Order { order_id: Uuid::now_v7(), customer_id: customer_id.to_owned(), total: eur(euros) }
}

pub fn eur(units: i64) -> Money {
    Money { currency_code: "EUR".to_owned(), units, nanos: 0 }
}

/// The service under test with everything around it.
pub struct Bench {
    pub world: World,
    pub observer: Observer,
    instance: Option<Instance>,
    producer: TestProducer,
}

impl Bench {
    pub async fn start() -> Self {
        Self::start_with(CommitterSettings::default()).await
    }

    pub async fn start_with(committer: CommitterSettings) -> Self {
        let world = World::new();
        let instance = Instance::start_with(&world, committer).await;
        let observer = Observer::start(&world).await;
        // A consumer that met its topics too early says that it is down until its first message comes.
        eventually("the topics are there", BOUND, || async {
            let known = world.readiness().snapshot();
            known.iter().all(|dependency| dependency.state.to_string() != "waiting").then_some(())
        })
        .await;
        let producer = TestProducer::new(&world);
        Self { world, observer, instance: Some(instance), producer }
    }

    pub async fn close(mut self) {
        self.stop().await;
        self.world.close().await;
    }

    /// Stops the service as a deployment does.
    pub async fn stop(&mut self) {
        self.instance.take().expect("the service runs").stop().await;
    }

    /// Ends the service wherever it stands.
    pub fn kill(&mut self) {
        self.instance.take().expect("the service runs").kill();
    }

    /// Starts the service on what the one before left.
    pub async fn start_again(&mut self) {
        assert!(self.instance.is_none(), "the service runs");
        self.instance = Some(Instance::start(&self.world).await);
    }

    pub fn client(&self) -> Client {
        self.instance.as_ref().expect("the service runs").client.clone()
    }

    /// Publishes an event as the order service does.
    pub async fn publish<M: EventMessage>(&self, key: Uuid, event_id: Uuid, message: &M) {
        let (id, subject) = (event_id.to_string(), key.to_string());
        let traceparent = traceparent(event_id);
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", id.as_str()),
            ("ce_type", M::EVENT_TYPE),
            ("ce_source", "/openorder/order"),
            ("traceparent", traceparent.as_str()),
        ];
        self.producer.send(M::TOPIC, &subject, &headers, &message.encode_to_vec()).await;
    }

    /// The stock of the order is held: it is to be paid. Returns the event's id.
    pub async fn confirm(&self, order: &Order) -> Uuid {
        let event_id = Uuid::now_v7();
        self.publish(order.order_id, event_id, &confirmed(order)).await;
        event_id
    }

    /// The order was called off: what was paid goes back. Returns the event's id.
    pub async fn ask_back(&self, order: &Order) -> Uuid {
        let event_id = Uuid::now_v7();
        self.publish(order.order_id, event_id, &refund_requested(order)).await;
        event_id
    }

    /// An operator has the payment service asked again, and wants its answer.
    pub async fn ask_back_again(&self, order: &Order) {
        let again = PaymentRefundRequested { answer_again: true, ..refund_requested(order) };
        self.publish(order.order_id, Uuid::now_v7(), &again).await;
    }

    /// Everything that was published about confirmed orders under this order's key has been handled: an order after
    /// them in the same partition has its answer.
    pub async fn wait_behind(&self, order: &Order) {
        let last = self::order("nobody", 1);
        self.publish(order.order_id, Uuid::now_v7(), &confirmed(&last)).await;
        self.observer.answers(last.order_id, 1).await;
    }

    /// Charges whole euros, or fails the test.
    pub async fn charge(&self, user_id: &str, euros: i64) -> Wallet {
        let message = charge_request(&Uuid::now_v7().to_string(), user_id, euros);
        let answer = self.client().charge_wallet(as_service().request(message)).await;
        answer.unwrap().into_inner().wallet.unwrap()
    }

    /// Whole euros in the wallet.
    pub async fn balance(&self, user_id: &str) -> i64 {
        let message = GetWalletRequest { user_id: user_id.to_owned() };
        let answer = self.client().get_wallet(as_service().request(message)).await;
        answer.unwrap().into_inner().wallet.unwrap().balance.unwrap().units
    }

    pub async fn payment(&self, key: Key) -> Result<Payment, Status> {
        let message = GetPaymentRequest { key: Some(key) };
        let answer = self.client().get_payment(as_service().request(message)).await?;
        Ok(answer.into_inner().payment.unwrap())
    }
}

pub fn confirmed(order: &Order) -> OrderConfirmed {
    OrderConfirmed {
        order_id: order.order_id.to_string(),
        customer_id: order.customer_id.clone(),
        version: 2,
        status: OrderStatus::Confirmed.into(),
        customer_email: String::new(),
        total: Some(order.total.clone()),
        payment_mode: PaymentMode::Automatic.into(),
        ..OrderConfirmed::default()
    }
}

pub fn refund_requested(order: &Order) -> PaymentRefundRequested {
    PaymentRefundRequested {
        order_id: order.order_id.to_string(),
        user_id: order.customer_id.clone(),
        amount: Some(order.total.clone()),
        reason: PaymentRefundReason::OrderCancelled.into(),
        order_version: 3,
        answer_again: false,
    }
}

pub fn charge_request(request_id: &str, user_id: &str, euros: i64) -> ChargeWalletRequest {
    ChargeWalletRequest { request_id: request_id.to_owned(), user_id: user_id.to_owned(), amount: Some(eur(euros)) }
}

/// A trace of its own for each event.
pub fn traceparent(event_id: Uuid) -> String {
    format!("00-{}-00f067aa0ba902b7-01", event_id.simple())
}

pub fn as_service() -> CallContext {
    CallContext::of_service("test", TraceContext::NONE)
}

pub fn as_customer(user_id: &str) -> CallContext {
    let caller = Caller::new(user_id, [Role::Customer]);
    CallContext { caller, trace: TraceContext::NONE, deadline: None }
}

pub fn as_operator() -> CallContext {
    CallContext { caller: Caller::new("root", [Role::Operator]), trace: TraceContext::NONE, deadline: None }
}

/// What an event moved into (+) or out of (−) it, in cents.
pub fn moved_minor_units(event: &Received) -> i64 {
    let cents =
        |money: Option<Money>| money.map(|money| money.units * 100 + i64::from(money.nanos / 10_000_000)).unwrap();
    if event.event_type == PaymentCompleted::EVENT_TYPE {
        -cents(message::<PaymentCompleted>(event).amount)
    } else {
        cents(message::<WalletCharged>(event).amount)
    }
}
