//! Running cart services, and what is asked of them.

use std::time::Duration;

use openorder_cart::{CartSettings, serve};
use openorder_config::Secret;
use openorder_proto::{
    EventMessage,
    cart::v1::{
        AddItemRequest, Cart, CheckoutRequest, ClearCartRequest, GetCartRequest, MergeCartRequest, RemoveItemRequest,
        UpdateItemRequest, cart_service_client::CartServiceClient,
    },
    google::r#type::Money,
    order::v1::{Order, OrderCreated, OrderLine},
    user::v1::{UserErased, UserProfile},
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel, reason_of};
use openorder_service::Host;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{Cut, TestProducer, World, eventually, free_address};
use openorder_types::{Caller, Role};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime::Runtime;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::played::{Orders, Products, play};

/// How long anything may take on a busy machine.
pub const BOUND: Duration = Duration::from_secs(60);

pub type Client = CartServiceClient<UpstreamChannel>;

/// One cart service in a runtime of its own, so that it can be killed.
pub struct Instance {
    runtime: Runtime,
    pub client: Client,
}

impl Instance {
    /// Ends it wherever it stands.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// Cart services with everything around them; Redis is reached by a cable that can be cut.
pub struct Bench {
    pub world: World,
    pub orders: Orders,
    pub products: Products,
    pub redis: Cut,
    producer: TestProducer,
    urls: Vec<(&'static str, String)>,
}

impl Bench {
    /// With products TEA (3.50 EUR) and CUP (10.00 EUR).
    pub async fn start() -> Self {
        let (world, orders, products) = (World::new(), Orders::default(), Products::default());
        products.sell("TEA", 350);
        products.sell("CUP", 1_000);
        let urls = play(&world, &orders, &products).await;
        let server = openorder_testing::redis_url();
        let server = server.trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let redis = Cut::to(&server).await;
        let producer = TestProducer::new(&world);
        Self { world, orders, products, redis, producer, urls }
    }

    /// An instance whose settings a test changes.
    pub async fn instance_with(&self, change: impl FnOnce(&mut CartSettings)) -> Instance {
        let instance = self.launch(change).await;
        let client = &instance.client;
        eventually("the service answers", BOUND, || async { get(client, &operator(), "nobody").await.ok() }).await;
        instance
    }

    /// An instance whose Redis does not answer: it refuses what it cannot do.
    pub async fn silent_instance(&self, redis_url: Secret) -> Instance {
        let instance = self.launch(|settings| settings.redis_url = redis_url).await;
        let client = &instance.client;
        eventually("the service answers", BOUND, || async {
            let wrong = get(client, &operator(), "").await.unwrap_err();
            (wrong.code() == Code::InvalidArgument).then_some(())
        })
        .await;
        instance
    }

    async fn launch(&self, change: impl FnOnce(&mut CartSettings)) -> Instance {
        let address = free_address();
        let mut settings = CartSettings {
            listen_address: address.to_string(),
            database_url: self.world.database_url("cart"),
            database: self.world.database(),
            redis_url: Secret::new(format!("redis://{}", self.redis.address())),
            redis_timeout_ms: 300,
            redis_check_interval_ms: 50,
            ..CartSettings::default()
        };
        change(&mut settings);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let role = self.world.separate_role("cart");
        let host = Host::new(role, settings, self.world.kafka(), PageTokens::new(b"test"))
            .with_urls(self.urls.iter().cloned().collect());
        runtime.spawn(serve(host));
        let settings = RpcClientSettings { in_memory: false, ..RpcClientSettings::default() };
        let url = format!("http://{address}");
        let channel = openorder_rpc::channel(&RoleTelemetry::disabled("test"), &url, &settings).unwrap();
        let client = Client::new(channel);
        Instance { runtime, client }
    }

    pub async fn instance(&self) -> Instance {
        self.instance_with(|_| {}).await
    }

    /// Publishes what the order service publishes of an order, by the request that it was made by.
    pub async fn publish<M: EventMessage>(&self, order: &Order, event: &M) {
        self.publish_as(order, event, Uuid::now_v7()).await;
    }

    /// As [`Self::publish`]: an event that comes again has its id.
    pub async fn publish_as<M: EventMessage>(&self, order: &Order, event: &M, event_id: Uuid) {
        self.producer.publish_as(&order.order_id, event, event_id).await;
    }

    /// Publishes what the user service publishes of a user that is erased.
    pub async fn erase(&self, user_id: &str) {
        let user = Some(UserProfile { user_id: user_id.to_owned(), ..UserProfile::default() });
        self.producer.publish(user_id, &UserErased { user }).await;
    }

    /// Everything that was published under this order's key has been handled: a checkout behind it has its order.
    pub async fn wait_behind(&self, order: &Order) {
        let checkout_id = Uuid::now_v7();
        self.run(&format!(
            "insert into checkout (checkout_id, cart_id, cart_version, customer_id, create_time) \
             values ('{checkout_id}', '{checkout_id}', 1, 'nobody', now())"
        ))
        .await;
        let last = OrderCreated {
            order_id: Uuid::now_v7().to_string(),
            customer_id: "nobody".to_owned(),
            checkout_id: checkout_id.to_string(),
            version: 1,
            lines: vec![OrderLine { sku: "TEA".to_owned(), quantity: 1, ..OrderLine::default() }],
            ..OrderCreated::default()
        };
        self.publish(order, &last).await;
        let noted =
            format!("select count(*)::text from checkout where checkout_id = '{checkout_id}' and order_id is not null");
        eventually("the order behind is handled", BOUND, || async { (self.one(&noted).await == "1").then_some(()) })
            .await;
    }

    /// Runs a statement in the database of the service.
    pub async fn run(&self, sql: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// One value out of the database of the service.
    pub async fn one(&self, sql: &str) -> String {
        let mut connection = self.connect().await;
        let found = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        found
    }

    async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.world.database_url("cart").expose()).await.unwrap()
    }

    /// The keys of this world's carts in Redis, and what stands beside them.
    pub async fn keys(&self) -> Vec<String> {
        let id = self.one("select store_id::text from cart_store").await;
        redis::cmd("KEYS").arg(format!("*{id}*")).query_async(&mut redis().await).await.unwrap()
    }

    /// Takes everything away, as a Redis does that comes back empty.
    pub async fn empty_redis(&self) {
        let keys = self.keys().await;
        let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut redis().await).await.unwrap();
    }

    /// Ends the instances and leaves nothing behind.
    pub async fn close(self, instances: impl IntoIterator<Item = Instance>) {
        instances.into_iter().for_each(Instance::kill);
        let keys = self.keys().await;
        if !keys.is_empty() {
            let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut redis().await).await.unwrap();
        }
        self.world.close().await;
    }
}

/// By no cable.
pub async fn redis() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(openorder_testing::redis_url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

pub fn operator() -> CallContext {
    calling(Caller::new("root", [Role::Operator]))
}

pub fn customer(name: &str) -> CallContext {
    calling(Caller::new(name, [Role::Customer]))
}

/// Somebody who did not sign in.
pub fn stranger() -> CallContext {
    calling(Caller::new("anonymous", []))
}

fn calling(caller: Caller) -> CallContext {
    CallContext { caller, trace: TraceContext::NONE, deadline: None }.within(Duration::from_secs(20))
}

pub fn id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The customer's cart.
pub async fn get(client: &Client, call: &CallContext, customer_id: &str) -> Result<Cart, Status> {
    let request = GetCartRequest { customer_id: customer_id.to_owned(), ..GetCartRequest::default() };
    Ok(client.clone().get_cart(call.request(request)).await?.into_inner().cart.unwrap())
}

pub async fn get_of_visitor(client: &Client, call: &CallContext, visitor_id: Uuid) -> Result<Cart, Status> {
    let request = GetCartRequest { visitor_id: visitor_id.to_string(), ..GetCartRequest::default() };
    Ok(client.clone().get_cart(call.request(request)).await?.into_inner().cart.unwrap())
}

/// A request to put pieces into the customer's cart.
pub fn pieces(customer_id: &str, sku: &str, quantity: i32) -> AddItemRequest {
    AddItemRequest {
        request_id: id(),
        customer_id: customer_id.to_owned(),
        sku: sku.to_owned(),
        quantity,
        ..AddItemRequest::default()
    }
}

pub fn pieces_of_visitor(visitor_id: Uuid, sku: &str, quantity: i32) -> AddItemRequest {
    AddItemRequest { customer_id: String::new(), visitor_id: visitor_id.to_string(), ..pieces("", sku, quantity) }
}

pub async fn add(client: &Client, call: &CallContext, request: AddItemRequest) -> Result<Cart, Status> {
    Ok(client.clone().add_item(call.request(request)).await?.into_inner().cart.unwrap())
}

pub async fn update(client: &Client, call: &CallContext, request: UpdateItemRequest) -> Result<Cart, Status> {
    Ok(client.clone().update_item(call.request(request)).await?.into_inner().cart.unwrap())
}

pub async fn remove(client: &Client, call: &CallContext, customer_id: &str, sku: &str) -> Result<Cart, Status> {
    let request = RemoveItemRequest {
        request_id: id(),
        customer_id: customer_id.to_owned(),
        sku: sku.to_owned(),
        ..RemoveItemRequest::default()
    };
    Ok(client.clone().remove_item(call.request(request)).await?.into_inner().cart.unwrap())
}

pub async fn clear(client: &Client, call: &CallContext, customer_id: &str) -> Result<Cart, Status> {
    let request =
        ClearCartRequest { request_id: id(), customer_id: customer_id.to_owned(), ..ClearCartRequest::default() };
    Ok(client.clone().clear_cart(call.request(request)).await?.into_inner().cart.unwrap())
}

pub async fn merge(client: &Client, call: &CallContext, request: MergeCartRequest) -> Result<Cart, Status> {
    Ok(client.clone().merge_cart(call.request(request)).await?.into_inner().cart.unwrap())
}

/// Orders what the customer's cart has.
pub fn ordering(request_id: &str, customer_id: &str) -> CheckoutRequest {
    CheckoutRequest {
        request_id: request_id.to_owned(),
        customer_id: customer_id.to_owned(),
        ..CheckoutRequest::default()
    }
}

pub async fn checkout(client: &Client, call: &CallContext, request: CheckoutRequest) -> Result<Order, Status> {
    Ok(client.clone().checkout(call.request(request)).await?.into_inner().order.unwrap())
}

/// Pieces by product.
pub fn lines(cart: &Cart) -> Vec<(&str, i32)> {
    cart.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect()
}

/// Waits until the customer's cart has these lines.
pub async fn until_lines(client: &Client, customer_id: &str, expected: &[(&str, i32)]) -> Cart {
    eventually(&format!("the cart of {customer_id} has {expected:?}"), BOUND, || async {
        let cart = get(client, &operator(), customer_id).await.ok()?;
        (lines(&cart) == expected).then_some(cart)
    })
    .await
}

pub fn euros(units: i64, cents: i32) -> Money {
    Money { currency_code: "EUR".to_owned(), units, nanos: cents * 10_000_000 }
}

/// The code and the reason of a refusal.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

pub fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}
