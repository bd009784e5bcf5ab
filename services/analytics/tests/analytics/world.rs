//! A running analytics service, and what is asked of it.

use std::{collections::BTreeMap, time::Duration};

use openorder_analytics::{AnalyticsSettings, serve};
use openorder_proto::analytics::v1::{
    GetRebuildRequest, OrderStatsRequest, OrderStatsResponse, RankingSource, RankingWindow, Rebuild, RebuildState,
    SalesGranularity, SalesRow, SalesSummaryRequest, TopProductsRequest, TopProductsResponse,
    analytics_service_client::AnalyticsServiceClient,
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel, reason_of, timestamp_to_proto};
use openorder_service::Host;
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, eventually, free_address};
use openorder_types::{Caller, Role, Timestamp};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime::Runtime;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::orders::{Order, OrderService, Way, sold};

/// How long anything may take on a busy machine.
pub const BOUND: Duration = Duration::from_secs(90);

pub type Client = AnalyticsServiceClient<UpstreamChannel>;

pub fn as_caller<T>(caller: Caller, message: T) -> Request<T> {
    let call = CallContext { caller, trace: TraceContext::NONE, deadline: None };
    call.within(Duration::from_secs(20)).retry_safe_request(message)
}

pub fn as_operator<T>(message: T) -> Request<T> {
    as_caller(Caller::new("olga", [Role::Operator]), message)
}

/// Code and reason of a refusal.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

/// One analytics service in a runtime of its own, so that it can be killed.
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

/// An order service that is played, and instances of the analytics service.
pub struct Bench {
    pub world: World,
    pub orders: OrderService,
    orders_address: String,
}

impl Bench {
    pub async fn start() -> Self {
        let (world, orders_address) = (World::new(), free_address().to_string());
        let orders = OrderService::start(&world, &orders_address).await;
        Self::of(world, orders, orders_address)
    }

    /// With an order service that a test has started.
    pub fn of(world: World, orders: OrderService, orders_address: String) -> Self {
        Self { world, orders, orders_address }
    }

    /// An instance whose settings a test changes.
    pub async fn instance_with(&self, change: impl FnOnce(&mut AnalyticsSettings)) -> Instance {
        let address = free_address();
        let mut settings = AnalyticsSettings {
            listen_address: address.to_string(),
            database_url: self.world.database_url("analytics"),
            database: self.world.database(),
            redis_url: openorder_config::Secret::new(openorder_testing::redis_url()),
            ..AnalyticsSettings::default()
        };
        settings.ranking.interval_ms = 50;
        settings.rebuild.poll_interval_ms = 50;
        change(&mut settings);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let role = self.world.separate_role("analytics");
        let host = Host::new(role, settings, self.world.kafka(), PageTokens::new(b"test"))
            .with_urls([("order", format!("http://{}", self.orders_address))].into_iter().collect());
        runtime.spawn(serve(host));
        let client = RpcClientSettings { in_memory: false, ..RpcClientSettings::default() };
        let channel =
            openorder_rpc::channel(&RoleTelemetry::disabled("test"), &format!("http://{address}"), &client).unwrap();
        let client = Client::new(channel);
        eventually("the service answers", BOUND, || async {
            let asked = client.clone().top_products(as_operator(TopProductsRequest::default())).await;
            asked.ok().map(drop)
        })
        .await;
        Instance { runtime, client }
    }

    pub async fn instance(&self) -> Instance {
        self.instance_with(|_| {}).await
    }

    /// Runs a statement in the database of a service.
    pub async fn run(&self, service: &str, sql: &str) {
        let mut connection = self.connect(service).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// One value out of the database of a service.
    pub async fn one(&self, service: &str, sql: &str) -> String {
        let mut connection = self.connect(service).await;
        let found = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        found
    }

    async fn connect(&self, service: &str) -> PgConnection {
        PgConnection::connect(self.world.database_url(service).expose()).await.unwrap()
    }

    /// The keys of this world's rankings in Redis.
    pub async fn keys(&self) -> Vec<String> {
        let id = self.one("analytics", "select ranking_id::text from ranking").await;
        let mut redis = redis().await;
        redis::cmd("KEYS").arg(format!("*{id}*")).query_async(&mut redis).await.unwrap()
    }

    /// Takes keys away, as a Redis does that was emptied.
    pub async fn delete(&self, keys: &[String]) {
        if !keys.is_empty() {
            let _: i64 = redis::cmd("DEL").arg(keys).query_async(&mut redis().await).await.unwrap();
        }
    }

    /// Ends the instances and leaves nothing behind.
    pub async fn close(self, instances: impl IntoIterator<Item = Instance>) {
        let keys = self.keys().await;
        instances.into_iter().for_each(Instance::kill);
        self.delete(&keys).await;
        self.world.close().await;
    }
}

pub async fn redis() -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(openorder_testing::redis_url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// A midnight before all orders of a test.
pub fn yesterday() -> Timestamp {
    let date = chrono::Utc::now().date_naive() - chrono::Days::new(1);
    date.and_time(chrono::NaiveTime::MIN).and_utc()
}

pub async fn stats(client: &Client) -> OrderStatsResponse {
    let from_time = Some(timestamp_to_proto(&yesterday()));
    let request = OrderStatsRequest { from_time, until_time: None };
    client.clone().order_stats(as_operator(request)).await.unwrap().into_inner()
}

pub async fn summary(client: &Client) -> Vec<SalesRow> {
    let request = SalesSummaryRequest {
        from_time: Some(timestamp_to_proto(&yesterday())),
        granularity: SalesGranularity::Hour.into(),
        ..Default::default()
    };
    client.clone().sales_summary(as_operator(request)).await.unwrap().into_inner().rows
}

pub async fn top(client: &Client, window: RankingWindow, currency: &str) -> TopProductsResponse {
    let request = TopProductsRequest { window: window.into(), currency_code: currency.to_owned(), limit: 100 };
    client.clone().top_products(as_operator(request)).await.unwrap().into_inner()
}

pub async fn rebuild(client: &Client, rebuild_id: &str) -> Rebuild {
    let request = GetRebuildRequest { rebuild_id: rebuild_id.to_owned() };
    client.clone().get_rebuild(as_operator(request)).await.unwrap().into_inner().rebuild.unwrap()
}

/// Waits until a rebuild has come to its end.
pub async fn ended(client: &Client, rebuild_id: &str) -> Rebuild {
    eventually("the rebuild ends", BOUND, || async {
        let found = rebuild(client, rebuild_id).await;
        let is_final = matches!(found.state(), RebuildState::Done | RebuildState::Failed | RebuildState::Cancelled);
        is_final.then_some(found)
    })
    .await
}

/// Minor units of two digits.
fn minor(money: Option<&openorder_proto::google::r#type::Money>) -> i64 {
    money.map_or(0, |money| money.units * 100 + i64::from(money.nanos / 10_000_000))
}

/// What is answered, in a form that can be compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// By status and reason.
    pub orders: BTreeMap<(String, String), i64>,
    /// By currency: orders, quantity, net, discount, refunded orders, refunded quantity, refunded.
    pub sales: BTreeMap<String, [i64; 7]>,
}

impl Counted {
    /// What the service says.
    pub async fn by(client: &Client) -> Self {
        let mut counted = Self::default();
        for count in stats(client).await.counts {
            let status = count.status().as_str_name().trim_start_matches("ORDER_STATUS_").to_owned();
            counted.orders.insert((status, count.status_reason), count.orders);
        }
        for row in summary(client).await {
            let sums = counted.sales.entry(row.currency_code.clone()).or_default();
            let (net, refunded) = (minor(row.net.as_ref()), minor(row.refunded.as_ref()));
            let discount = minor(row.discount.as_ref());
            assert_eq!(minor(row.gross.as_ref()) - discount, net);
            let of_row =
                [row.orders, row.quantity, net, discount, row.refunded_orders, row.refunded_quantity, refunded];
            for (sum, one) in sums.iter_mut().zip(of_row) {
                *sum += one;
            }
        }
        counted
    }

    /// What these orders come to.
    pub fn of(orders: &[Order]) -> Self {
        let mut counted = Self::default();
        for order in orders {
            let (status, reason) = match order.way {
                Way::Rejected => ("REJECTED", "OUT_OF_STOCK"),
                Way::Unpaid | Way::GivenBack => ("CANCELLED", "CANCELLED_BY_CUSTOMER"),
                Way::Prepared => ("PREPARING", ""),
                Way::Delivered => ("DELIVERED", ""),
            };
            *counted.orders.entry((status.to_owned(), reason.to_owned())).or_default() += 1;
            if order.was_paid() {
                let sums = counted.sales.entry(order.currency.to_owned()).or_default();
                let discount = order.discount * i64::try_from(order.lines.len()).unwrap();
                let paid = [1, order.quantity(), order.minor_units(), discount];
                let refunded = if order.is_sold() { [0; 3] } else { [1, order.quantity(), order.minor_units()] };
                for (sum, one) in sums.iter_mut().zip(paid.into_iter().chain(refunded)) {
                    *sum += one;
                }
            }
        }
        counted
    }
}

/// Waits until the service has counted these orders, and no others.
pub async fn until_counted(client: &Client, orders: &[Order]) {
    let expected = Counted::of(orders);
    let last = std::sync::Mutex::new(Counted::default());
    let waited = tokio::time::timeout(BOUND, async {
        loop {
            let counted = Counted::by(client).await;
            let is_there = counted == expected;
            *last.lock().unwrap() = counted;
            if is_there {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "counted {:?}, and not {expected:?}", last.lock().unwrap());
}

/// SKU, pieces and minor units in each currency, in the order of the answer.
pub fn shown(answer: &TopProductsResponse) -> Vec<(String, i64, BTreeMap<String, i64>)> {
    let products = answer.products.iter().map(|product| {
        assert_eq!(product.display_name, format!("The {}", product.sku));
        let revenue = product.revenue.iter().map(|amount| (amount.currency_code.clone(), minor(Some(amount))));
        (product.sku.clone(), product.quantity, revenue.collect())
    });
    products.collect()
}

/// The same of these orders.
pub fn expected_top(orders: &[Order], currency: Option<&str>) -> Vec<(String, i64, BTreeMap<String, i64>)> {
    let by_currency: Vec<(&str, _)> = ["EUR", "USD"].map(|code| (code, sold(orders, Some(code)))).into();
    let mut products: Vec<(String, i64, BTreeMap<String, i64>)> = sold(orders, currency)
        .into_iter()
        .map(|(sku, (quantity, _))| {
            let shown = by_currency.iter().filter(|(code, _)| currency.is_none_or(|currency| currency == *code));
            let revenue = shown.filter_map(|(code, sold)| Some(((*code).to_owned(), sold.get(&sku)?.1)));
            let revenue = revenue.collect();
            (sku, quantity, revenue)
        })
        .collect();
    products.sort_by(|one, other| (other.1, &other.0).cmp(&(one.1, &one.0)));
    products
}

/// Waits until Redis has the ranking of these orders, in all windows and currencies. Whatever is answered meanwhile out of
/// PostgreSQL is right as well.
pub async fn until_ranked(client: &Client, orders: &[Order]) {
    until_counted(client, orders).await;
    for window in [RankingWindow::AllTime, RankingWindow::Day, RankingWindow::Week] {
        for currency in ["", "EUR", "USD"] {
            let expected = expected_top(orders, Some(currency).filter(|code| !code.is_empty()));
            eventually(&format!("{window:?} of {currency:?} is in Redis"), BOUND, || async {
                let answer = top(client, window, currency).await;
                let is_right = shown(&answer) == expected;
                if answer.source() == RankingSource::Postgresql {
                    assert!(is_right, "{:?} and not {expected:?}", shown(&answer));
                }
                (answer.source() == RankingSource::Redis && is_right).then_some(())
            })
            .await;
        }
    }
}

/// A UUID of version 7 of this time.
pub fn id_of(time: Timestamp) -> Uuid {
    let random: [u8; 10] = rand::random();
    uuid::Builder::from_unix_timestamp_millis(time.timestamp_millis().unsigned_abs(), &random).into_uuid()
}
