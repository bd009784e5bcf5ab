//! Orders as a shop has them, and an order service that tells of them: its log, its relay and its pipeline are real.

use std::{collections::BTreeMap, sync::LazyLock};

use openorder_messaging::{Application, Committer, Envelope, NewEvent, Outcomes, UnitOfWork};
use openorder_proto::{
    google::r#type::Money,
    order::v1::{
        OrderCancelled, OrderConfirmed, OrderCreated, OrderDelivered, OrderLine, OrderPaid, OrderPreparing,
        OrderRejected, OrderShipped, OrderStatus,
    },
    topics,
};
use openorder_rpc::PageTokens;
use openorder_service::{Aggregate, Host, NewEvents, ServiceSpec, service_settings};
use openorder_telemetry::TraceContext;
use openorder_testing::World;
use openorder_types::Fault;
use sqlx::migrate::Migrator;
use tokio::sync::oneshot;
use tonic::service::Routes;
use uuid::Uuid;

/// How far an order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Rejected,
    /// Before it was paid.
    Unpaid,
    Prepared,
    /// After it was paid.
    GivenBack,
    Delivered,
}

#[derive(Debug, Clone)]
pub struct Order {
    pub id: Uuid,
    pub way: Way,
    pub currency: &'static str,
    /// SKU, pieces and price of one, in minor units of two digits.
    pub lines: Vec<(String, i32, i64)>,
    /// What a coupon takes off each line.
    pub discount: i64,
}

impl Order {
    pub fn new(way: Way, currency: &'static str, lines: &[(&str, i32, i64)]) -> Self {
        let lines = lines.iter().map(|(sku, quantity, price)| ((*sku).to_owned(), *quantity, *price)).collect();
        Self { id: Uuid::now_v7(), way, currency, lines, discount: 0 }
    }

    /// The `number`th of many: of all ways, two currencies and some products.
    pub fn numbered(number: usize) -> Self {
        let ways = [Way::Prepared, Way::Delivered, Way::GivenBack, Way::Rejected, Way::Unpaid, Way::Prepared];
        let currency = if number.is_multiple_of(7) { "USD" } else { "EUR" };
        // A product that every order has, and one of twenty.
        let some = format!("SOME-{}", number % 20);
        let quantity = i32::try_from(number % 5 + 1).unwrap();
        let order = Self::new(ways[number % ways.len()], currency, &[("HOT", 1, 250), (&some, quantity, 999)]);
        Self { discount: if number.is_multiple_of(4) { 33 } else { 0 }, ..order }
    }

    pub fn is_sold(&self) -> bool {
        matches!(self.way, Way::Prepared | Way::Delivered)
    }

    pub fn was_paid(&self) -> bool {
        self.is_sold() || self.way == Way::GivenBack
    }

    /// What is paid.
    pub fn minor_units(&self) -> i64 {
        self.lines.iter().map(|(_, quantity, price)| i64::from(*quantity) * price - self.discount).sum()
    }

    pub fn quantity(&self) -> i64 {
        self.lines.iter().map(|(_, quantity, _)| i64::from(*quantity)).sum()
    }

    pub fn money(&self, minor_units: i64) -> Option<Money> {
        Some(money(self.currency, minor_units))
    }

    pub fn proto_lines(&self) -> Vec<OrderLine> {
        let lines = self.lines.iter().map(|(sku, quantity, price)| OrderLine {
            sku: sku.clone(),
            display_name: format!("The {sku}"),
            quantity: *quantity,
            unit_price: self.money(*price),
            line_total: self.money(i64::from(*quantity) * price),
            discount: self.money(self.discount).filter(|_| self.discount > 0),
            ..OrderLine::default()
        });
        lines.collect()
    }

    pub fn paid(&self) -> OrderPaid {
        OrderPaid {
            order_id: self.id.to_string(),
            total: self.money(self.minor_units()),
            lines: self.proto_lines(),
            ..OrderPaid::default()
        }
    }

    pub fn cancelled(&self, previous: OrderStatus) -> OrderCancelled {
        OrderCancelled {
            order_id: self.id.to_string(),
            total: self.money(self.minor_units()),
            lines: self.proto_lines(),
            status_reason: "CANCELLED_BY_CUSTOMER".to_owned(),
            previous_status: previous.into(),
            ..OrderCancelled::default()
        }
    }

    /// All events of its way.
    fn events(&self) -> Vec<NewEvent> {
        let (mut events, order_id) = (NewEvents::default(), self.id.to_string());
        let mut version = 0;
        let mut next = || {
            version += 1;
            Aggregate::new("order", self.id, version)
        };
        events.append(&OrderCreated { order_id: order_id.clone(), ..Default::default() }, next());
        match self.way {
            Way::Rejected => {
                let status_reason = "OUT_OF_STOCK".to_owned();
                events.append(&OrderRejected { order_id, status_reason, ..Default::default() }, next());
                return events.as_slice().to_vec();
            }
            Way::Unpaid => {
                events.append(&self.cancelled(OrderStatus::Pending), next());
                return events.as_slice().to_vec();
            }
            Way::Prepared | Way::GivenBack | Way::Delivered => {}
        }
        events.append(&OrderConfirmed { order_id: order_id.clone(), ..Default::default() }, next());
        events.append(&self.paid(), next());
        events.append(&OrderPreparing { order_id: order_id.clone(), ..Default::default() }, next());
        match self.way {
            Way::GivenBack => events.append(&self.cancelled(OrderStatus::Preparing), next()),
            Way::Delivered => {
                events.append(&OrderShipped { order_id: order_id.clone(), ..Default::default() }, next());
                events.append(&OrderDelivered { order_id, ..Default::default() }, next());
            }
            _ => {}
        }
        events.as_slice().to_vec()
    }
}

/// An amount of a currency with two digits.
pub fn money(currency: &str, minor_units: i64) -> Money {
    let nanos = i32::try_from(minor_units % 100).unwrap() * 10_000_000;
    Money { currency_code: currency.to_owned(), units: minor_units / 100, nanos }
}

/// Pieces and minor units of each SKU that these orders come to, in a currency or in all.
pub fn sold(orders: &[Order], currency: Option<&str>) -> BTreeMap<String, (i64, i64)> {
    let mut sold: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let counted = orders.iter().filter(|order| order.is_sold());
    for order in counted.filter(|order| currency.is_none_or(|currency| currency == order.currency)) {
        for (sku, quantity, price) in &order.lines {
            let one = sold.entry(sku.clone()).or_default();
            one.0 += i64::from(*quantity);
            one.1 += i64::from(*quantity) * price - order.discount;
        }
    }
    sold
}

service_settings! {
    /// The played order service.
    pub struct PlayedSettings(8198, "order") {}
}

const PLAYED: ServiceSpec = ServiceSpec { role: "order", grpc_services: &[], publishes: &[topics::ORDER_LIFECYCLE] };
static NO_TABLES: LazyLock<Migrator> = LazyLock::new(|| Migrator::with_migrations(Vec::new()));

/// Appends the events that it is told.
pub struct Teller;

impl Application for Teller {
    type Command = Vec<NewEvent>;
    type Reply = ();

    async fn execute(
        &self,
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Vec<NewEvent>>],
    ) -> Result<Outcomes<()>, Fault> {
        for (command_index, envelope) in batch.iter().enumerate() {
            for event in envelope.command {
                unit.append(NewEvent { command_index, ..event.clone() });
            }
        }
        Ok(batch.iter().map(|_| Ok(())).collect())
    }
}

/// An order service that tells of the orders that it is given.
#[derive(Clone)]
pub struct OrderService(Committer<Teller>);

impl OrderService {
    /// Starts it at this address.
    pub async fn start(world: &World, address: &str) -> Self {
        Self::start_as(world, world.role("order"), address).await
    }

    pub async fn start_as(world: &World, role: openorder_messaging::RoleContext, address: &str) -> Self {
        let settings = PlayedSettings {
            listen_address: address.to_owned(),
            database_url: world.database_url("order"),
            database: world.database(),
            ..PlayedSettings::default()
        };
        let host = Host::new(role, settings, world.kafka(), PageTokens::new(b"test"));
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let service = host.start(&PLAYED, &NO_TABLES).await.unwrap();
            drop(sender.send(service.run(std::sync::Arc::new(Teller))));
            service.serve(Routes::default()).await;
        });
        Self(receiver.await.unwrap())
    }

    /// Tells all there is to tell of an order.
    pub async fn tell(&self, order: &Order) {
        self.0.submit(None, order.events(), TraceContext::NONE, None).await.unwrap();
    }

    /// Tells of many, many at a time.
    pub async fn tell_all(&self, orders: &[Order]) {
        for part in orders.chunks(100) {
            futures::future::join_all(part.iter().map(|order| self.tell(order))).await;
        }
    }
}

/// How many events these orders have.
pub fn events_of(orders: &[Order]) -> usize {
    orders.iter().map(|order| order.events().len()).sum()
}
