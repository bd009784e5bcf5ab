//! Order, catalogue, stock, coupons, payment and parcels in this process, each of which can be away.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use openorder::{ProcessSettings, Role, System};
use openorder_proto::{
    EventMessage,
    cart::v1::cart_service_client::CartServiceClient,
    google::r#type::Money,
    inventory::v1::{
        GetStockRequest, ListReservationsRequest, Reservation, inventory_service_client::InventoryServiceClient,
    },
    order::v1::{
        CancelOrderRequest, CreateOrderRequest, GetOrderRequest, ListSagasRequest, Order, OrderStatus, RequestedLine,
        Saga, SagaStep, order_service_client::OrderServiceClient,
    },
    payment::v1::{
        ChargeWalletRequest, GetWalletRequest, PaymentCompleted, payment_service_client::PaymentServiceClient,
    },
    product::v1::{CreateProductRequest, product_service_client::ProductServiceClient},
    promotion::v1::promotion_service_client::PromotionServiceClient,
    shipping::v1::shipping_service_client::ShippingServiceClient,
    topics,
};
use openorder_rpc::{CallContext, RpcClientSettings, UpstreamChannel};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{TestProducer, World, eventually, free_address};
use openorder_types::{Caller, Role as CallerRole};
use prost::Message;
use sqlx::PgPool;
use uuid::Uuid;

pub const BOUND: Duration = Duration::from_secs(60);
const ROLES: [Role; 6] = [Role::Product, Role::Order, Role::Inventory, Role::Promotion, Role::Payment, Role::Shipping];

/// What one order costs of a wallet, and takes of a stock, to begin with.
pub const PRICE: i64 = 10;
pub const STOCK: i32 = 5;
pub const MONEY: i64 = 100;

pub struct Shop {
    world: World,
    pub settings: Box<ProcessSettings>,
    running: BTreeMap<Role, System>,
    pub orders: OrderServiceClient<UpstreamChannel>,
    pub inventory: InventoryServiceClient<UpstreamChannel>,
    pub products: ProductServiceClient<UpstreamChannel>,
    pub payments: PaymentServiceClient<UpstreamChannel>,
    pub promotion: PromotionServiceClient<UpstreamChannel>,
    pub shipping: ShippingServiceClient<UpstreamChannel>,
    /// Of a role that is not started unless a test does.
    pub carts: CartServiceClient<UpstreamChannel>,
    producer: TestProducer,
}

/// An operator calls.
pub fn call() -> CallContext {
    CallContext { caller: Caller::new("olga", [CallerRole::Operator]), trace: TraceContext::NONE, deadline: None }
}

/// A customer calls.
pub fn customer(name: &str) -> CallContext {
    CallContext { caller: Caller::new(name, [CallerRole::Customer]), ..call() }
}

pub fn id() -> String {
    Uuid::new_v4().simple().to_string()
}

fn channel(address: &str) -> UpstreamChannel {
    let settings = RpcClientSettings { in_memory: false, ..Default::default() };
    openorder_rpc::channel(&RoleTelemetry::disabled("test"), &format!("http://{address}"), &settings).unwrap()
}

impl Shop {
    /// All services running; quick timers, and deadlines that do not pass unless `change` has them pass.
    pub async fn open(change: impl FnOnce(&mut ProcessSettings)) -> Self {
        let world = World::new();
        let mut settings = Box::new(ProcessSettings { kafka: world.kafka(), ..Default::default() });
        for role in ROLES {
            settings.listen_on(role, &free_address().to_string());
        }
        settings.listen_on(Role::Cart, &free_address().to_string());
        settings.cart.database_url = world.database_url("cart");
        settings.cart.redis_url = openorder_testing::redis_url().as_str().into();
        settings.order.redis_url = openorder_testing::redis_url().as_str().into();
        settings.order.database_url = world.database_url("order");
        settings.product.database_url = world.database_url("product");
        settings.inventory.database_url = world.database_url("inventory");
        settings.payment.database_url = world.database_url("payment");
        settings.promotion.database_url = world.database_url("promotion");
        settings.shipping.database_url = world.database_url("shipping");
        for database in [
            &mut settings.order.database,
            &mut settings.product.database,
            &mut settings.inventory.database,
            &mut settings.payment.database,
            &mut settings.promotion.database,
            &mut settings.shipping.database,
            &mut settings.cart.database,
        ] {
            *database = world.database();
        }
        settings.order.saga_timer_interval_ms = 50;
        settings.inventory.reservation_timer_interval_ms = 50;
        settings.inventory.reservation_timer_lease_ms = 1_000;
        settings.inventory.reconcile_interval_ms = 100;
        change(&mut settings);
        let mut shop = Self {
            orders: OrderServiceClient::new(channel(&settings.order.listen_address)),
            inventory: InventoryServiceClient::new(channel(&settings.inventory.listen_address)),
            products: ProductServiceClient::new(channel(&settings.product.listen_address)),
            payments: PaymentServiceClient::new(channel(&settings.payment.listen_address)),
            shipping: ShippingServiceClient::new(channel(&settings.shipping.listen_address)),
            carts: CartServiceClient::new(channel(&settings.cart.listen_address)),
            promotion: PromotionServiceClient::new(channel(&settings.promotion.listen_address)),
            producer: TestProducer::new(&world),
            running: BTreeMap::new(),
            settings,
            world,
        };
        let started = join_all(ROLES.map(|role| shop.started(role))).await;
        shop.running = ROLES.into_iter().zip(started).collect();
        shop
    }

    pub async fn start(&mut self, role: Role) {
        let system = self.started(role).await;
        self.running.insert(role, system);
    }

    async fn started(&self, role: Role) -> System {
        let mut settings = self.settings.clone();
        settings.admin.listen_address = free_address().to_string();
        let system = Box::pin(System::start(*settings, &[role])).await.unwrap();
        let waiting = tokio::time::timeout(BOUND, system.readiness().wait_ready()).await;
        assert!(waiting.is_ok(), "not ready: {:?}", system.readiness().snapshot());
        system
    }

    /// One more instance of the order service, with settings of its own, and a client of it.
    pub async fn order_beside(
        &self,
        change: impl FnOnce(&mut ProcessSettings),
    ) -> (System, OrderServiceClient<UpstreamChannel>) {
        let mut settings = self.settings.clone();
        settings.listen_on(Role::Order, &free_address().to_string());
        settings.admin.listen_address = free_address().to_string();
        change(&mut settings);
        let client = OrderServiceClient::new(channel(&settings.order.listen_address));
        let system = Box::pin(System::start(*settings, &[Role::Order])).await.unwrap();
        let waiting = tokio::time::timeout(BOUND, system.readiness().wait_ready()).await;
        assert!(waiting.is_ok(), "not ready: {:?}", system.readiness().snapshot());
        (system, client)
    }

    pub async fn stop(&mut self, role: Role) {
        let system = self.running.remove(&role).expect("a running role");
        assert!(system.stop().await.is_clean(), "{role}");
    }

    pub async fn close(mut self) {
        for role in ROLES.into_iter().chain([Role::Cart]).rev() {
            if self.running.contains_key(&role) {
                self.stop(role).await;
            }
        }
        self.world.close().await;
    }

    /// A product with its stock, and a customer with money (or none); both of the same new name.
    pub async fn customer(&self, name: &str, stock: i32, money: i64) -> String {
        let name = format!("{name}-{}", &id()[..8]);
        self.product(&name, stock).await;
        if money > 0 {
            self.charge(&name, money).await;
        }
        eventually("a level", BOUND, || async { self.stock(&name).await }).await;
        name
    }

    /// Puts whole euros into a wallet.
    pub async fn charge(&self, name: &str, euros: i64) {
        let amount = Some(Money { currency_code: "EUR".to_owned(), units: euros, nanos: 0 });
        let request = ChargeWalletRequest { request_id: id(), user_id: name.to_owned(), amount };
        self.payments.clone().charge_wallet(call().request(request)).await.unwrap();
    }

    /// A product with its stock, at [`PRICE`].
    pub async fn product(&self, sku: &str, stock: i32) {
        let request = CreateProductRequest {
            request_id: id(),
            sku: sku.to_owned(),
            display_name: sku.to_owned(),
            price: Some(Money { currency_code: "EUR".to_owned(), units: PRICE, nanos: 0 }),
            initial_stock: stock,
            description: String::new(),
        };
        self.products.clone().create_product(call().request(request)).await.unwrap();
    }

    /// Publishes an event by hand.
    pub async fn publish<M: EventMessage>(&self, key: &str, message: &M) {
        let event_id = Uuid::now_v7().to_string();
        let headers = [("ce_id", event_id.as_str()), ("ce_type", M::EVENT_TYPE), ("ce_source", "/openorder/test")];
        self.producer.send(M::TOPIC, key, &headers, &message.encode_to_vec()).await;
    }

    /// Asks for one piece.
    pub fn request(&self, name: &str, sku: &str) -> CreateOrderRequest {
        CreateOrderRequest {
            request_id: id(),
            customer_id: name.to_owned(),
            lines: vec![RequestedLine { sku: sku.to_owned(), quantity: 1 }],
            ..Default::default()
        }
    }

    /// One piece of the product that is named like the customer.
    pub async fn order(&self, name: &str, sku: &str) -> String {
        let request = self.request(name, sku);
        let answer = self.orders.clone().create_order(call().request(request)).await.unwrap();
        answer.into_inner().order.unwrap().order_id
    }

    pub async fn cancel(&self, name: &str, order_id: &str) {
        let request = CancelOrderRequest {
            request_id: id(),
            order_id: order_id.to_owned(),
            reason: "changed my mind".to_owned(),
        };
        self.orders.clone().cancel_order(customer(name).request(request)).await.unwrap();
    }

    pub async fn get(&self, order_id: &str) -> Order {
        let request = call().request(GetOrderRequest { order_id: order_id.to_owned() });
        self.orders.clone().get_order(request).await.unwrap().into_inner().order.unwrap()
    }

    pub async fn until(&self, order_id: &str, status: OrderStatus) -> Order {
        eventually(&format!("{order_id} is {}", status.as_str_name()), BOUND, || async {
            let order = self.get(order_id).await;
            (order.status() == status).then_some(order)
        })
        .await
    }

    /// The saga of one order, at whatever step.
    pub async fn saga(&self, order_id: &str) -> Saga {
        let request = ListSagasRequest { order_id: order_id.to_owned(), ..Default::default() };
        let mut found = self.orders.clone().list_sagas(call().request(request)).await.unwrap().into_inner().sagas;
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    pub async fn saga_until(&self, order_id: &str, step: SagaStep) -> Saga {
        eventually(&format!("{order_id} is at {}", step.as_str_name()), BOUND, || async {
            let saga = self.saga(order_id).await;
            (saga.step() == step).then_some(saga)
        })
        .await
    }

    /// Pieces on hand and held; none without a level.
    pub async fn stock(&self, sku: &str) -> Option<(i32, i32)> {
        let request = call().request(GetStockRequest { sku: sku.to_owned() });
        let stock = self.inventory.clone().get_stock(request).await.ok()?.into_inner().stock?;
        Some((stock.on_hand_quantity, stock.reserved_quantity))
    }

    pub async fn stock_until(&self, sku: &str, on_hand: i32, reserved: i32) {
        let what = format!("{sku}: {on_hand} on hand, {reserved} held");
        let is = || async { (self.stock(sku).await == Some((on_hand, reserved))).then_some(()) };
        eventually(&what, BOUND, is).await;
    }

    /// Whole euros; 0 without a wallet.
    pub async fn balance(&self, name: &str) -> i64 {
        let request = call().request(GetWalletRequest { user_id: name.to_owned() });
        let answer = self.payments.clone().get_wallet(request).await;
        answer.map_or(0, |answer| answer.into_inner().wallet.unwrap().balance.unwrap().units)
    }

    pub async fn reservation(&self, order_id: &str) -> Option<Reservation> {
        let request = ListReservationsRequest { order_id: order_id.to_owned(), ..Default::default() };
        let answer = self.inventory.clone().list_reservations(call().request(request)).await.unwrap();
        answer.into_inner().reservations.pop()
    }

    /// A service's own database, to see what it logged and to break it.
    pub async fn database(&self, service: &str) -> PgPool {
        PgPool::connect(self.world.database_url(service).expose()).await.unwrap()
    }

    /// Publishes an order's events of this type once more, as new ones. Returns their ids.
    pub async fn publish_again(&self, order_id: &str, event_type: &str) -> Vec<Uuid> {
        let events: Vec<(String, Vec<u8>)> =
            sqlx::query_as("select topic, payload from event_log where aggregate_id = $1 and event_type = $2")
                .bind(order_id)
                .bind(event_type)
                .fetch_all(&self.database("order").await)
                .await
                .unwrap();
        let mut ids = Vec::new();
        for (topic, payload) in &events {
            ids.push(Uuid::now_v7());
            let event_id = ids[ids.len() - 1].to_string();
            let headers = [("ce_id", event_id.as_str()), ("ce_type", event_type), ("ce_source", "/openorder/order")];
            self.producer.send(topic, order_id, &headers, payload).await;
        }
        ids
    }

    /// The order service's events of this type about an order.
    pub async fn asked(&self, order_id: &str, event_type: &str) -> Vec<Uuid> {
        sqlx::query_scalar("select event_id from event_log where aggregate_id = $1 and event_type = $2")
            .bind(order_id)
            .bind(event_type)
            .fetch_all(&self.database("order").await)
            .await
            .unwrap()
    }

    /// Waits until a service has handled these events.
    pub async fn handled(&self, service: &str, events: &[Uuid]) {
        let (orders, database) = (self.database("order").await, self.database(service).await);
        // What a test published itself is in no log.
        let sql = "select id, topic, position from unnest($1::uuid[]) as asked (id) \
                   left join event_log on event_id = id";
        let places: Vec<(Uuid, Option<String>, Option<i64>)> =
            sqlx::query_as(sql).bind(events).fetch_all(&orders).await.unwrap();
        let ids: Vec<Uuid> = places.iter().map(|(id, ..)| *id).collect();
        let topics: Vec<Option<&str>> = places.iter().map(|(_, topic, _)| topic.as_deref()).collect();
        let positions: Vec<Option<i64>> = places.iter().map(|(.., position)| *position).collect();
        eventually("all is handled", BOUND, || async {
            let sql = "select count(*) from unnest($1::uuid[], $2::text[], $3::bigint[]) as of_event (id, topic, position) \
                       where is_taken_over(id, topic, 'order', position)";
            let count: i64 =
                sqlx::query_scalar(sql).bind(&ids).bind(&topics).bind(&positions).fetch_one(&database).await.unwrap();
            (usize::try_from(count).unwrap() == events.len()).then_some(())
        })
        .await;
    }

    /// How many events of these types a service has logged about an order.
    pub async fn logged(&self, service: &str, order_id: &str, event_types: &[&str]) -> usize {
        let count: i64 =
            sqlx::query_scalar("select count(*) from event_log where aggregate_id = $1 and event_type = any ($2)")
                .bind(order_id)
                .bind(event_types)
                .fetch_one(&self.database(service).await)
                .await
                .unwrap();
        usize::try_from(count).unwrap()
    }

    /// In every log, the versions of every aggregate go 1, 2, 3 … in each topic; those of a wallet in its topic and in that of
    /// payments together.
    pub async fn check_versions(&self) {
        let mut seen = 0;
        for service in ["order", "inventory", "payment", "product", "promotion", "shipping"] {
            let streams: Vec<(String, String, Vec<i64>)> = sqlx::query_as(
                "select aggregate_id, topic, array_agg(aggregate_version order by position) from event_log group by 1, 2",
            )
            .fetch_all(&self.database(service).await)
            .await
            .unwrap();
            seen += streams.len();
            let mut payments = if service == "payment" { self.payments_from_wallets().await } else { BTreeMap::new() };
            for (aggregate_id, topic, mut versions) in streams {
                if topic == topics::PAYMENT_WALLET {
                    assert!(versions.is_sorted(), "{aggregate_id}: {versions:?}");
                    versions.extend(payments.remove(&aggregate_id).unwrap_or_default());
                    versions.sort_unstable();
                }
                let gapless = versions.iter().copied().eq(1..=i64::try_from(versions.len()).unwrap());
                assert!(gapless, "{service}: {aggregate_id} in {topic}: {versions:?}");
            }
            assert!(payments.is_empty(), "of wallets that were never charged: {payments:?}");
        }
        assert!(seen > 1, "at least a product and its stock");
    }

    /// The versions of wallets that payments made, by user.
    async fn payments_from_wallets(&self) -> BTreeMap<String, Vec<i64>> {
        let events: Vec<Vec<u8>> = sqlx::query_scalar("select payload from event_log where event_type = $1")
            .bind(PaymentCompleted::EVENT_TYPE)
            .fetch_all(&self.database("payment").await)
            .await
            .unwrap();
        let mut versions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for event in events {
            let completed = PaymentCompleted::decode(event.as_slice()).unwrap();
            versions.entry(completed.user_id).or_default().push(completed.wallet_version);
        }
        versions
    }
}
