//! The history service, and one service in the place of all others: what is appended to its log goes to Kafka, and is read
//! from it when documents are built anew.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use openorder_config::Secret;
use openorder_history::{HistorySettings, serve};
use openorder_messaging::{Application, Committer, Envelope, Outcomes, RoleContext, UnitOfWork};
use openorder_proto::{
    history::v1::{GetOrderViewRequest, OrderView, history_service_client::HistoryServiceClient},
    topics,
};
use openorder_rpc::{CallContext, PageTokens, RpcClientSettings, UpstreamChannel, reason_of};
use openorder_service::{Host, NewEvents, ServiceSpec, ServiceUrls, service_settings};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_testing::{World, eventually, free_address};
use openorder_types::{Caller, Fault, Role};
use sqlx::{PgPool, migrate::Migrator, postgres::PgPoolOptions};
use tokio::sync::oneshot;
use tonic::{Code, Status, service::Routes};

pub const BOUND: Duration = Duration::from_secs(60);

pub type Client = HistoryServiceClient<UpstreamChannel>;

service_settings! {
    /// Of the service in the place of all others.
    pub struct LogSettings(1, "order") {}
}

static NO_MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| openorder_messaging::migrator(&[]));

static LOG: ServiceSpec = ServiceSpec {
    role: "order",
    grpc_services: &[],
    publishes: &[
        topics::ORDER_LIFECYCLE,
        topics::PAYMENT_TRANSACTION,
        topics::SHIPPING_SHIPMENT,
        topics::NOTIFICATION_DELIVERY,
    ],
};

/// Appends events.
pub type Append = Box<dyn Fn(&mut NewEvents) + Send + Sync>;

struct Logging;

impl Application for Logging {
    type Command = Append;
    type Reply = ();

    async fn execute(&self, unit: &mut UnitOfWork, batch: &[Envelope<'_, Append>]) -> Result<Outcomes<()>, Fault> {
        let mut events = NewEvents::default();
        for (index, envelope) in batch.iter().enumerate() {
            events.begin_command(index);
            (envelope.command)(&mut events);
        }
        events.append_to(unit);
        Ok(batch.iter().map(|_| Ok(())).collect())
    }
}

pub struct Shop {
    pub world: World,
    log: Committer<Logging>,
    log_url: String,
}

pub fn calling(caller: Caller) -> CallContext {
    CallContext { caller, ..CallContext::of_service("test", TraceContext::default()) }
}

pub fn as_operator() -> CallContext {
    calling(Caller::new("root", [Role::Operator]))
}

pub fn as_customer(name: &str) -> CallContext {
    calling(Caller::new(name, [Role::Customer]))
}

pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

pub fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

impl Shop {
    /// The log alone.
    pub async fn closed() -> Self {
        let world = World::new();
        let address = free_address().to_string();
        let settings = LogSettings {
            listen_address: address.clone(),
            database_url: world.database_url("order"),
            database: world.database(),
            ..LogSettings::default()
        };
        let host = Host::new(world.role("order"), settings, world.kafka(), PageTokens::new(b"test"));
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(async move {
            let service = host.start(&LOG, &NO_MIGRATIONS).await.unwrap();
            drop(sender.send(service.run(Arc::new(Logging))));
            service.serve(Routes::default()).await;
        });
        let log = receiver.await.unwrap();
        Self { world, log, log_url: format!("http://{address}") }
    }

    /// The log, and a history service.
    pub async fn open() -> (Self, Client) {
        Self::open_with(|_| {}).await
    }

    pub async fn open_with(change: impl FnOnce(&mut HistorySettings)) -> (Self, Client) {
        let shop = Self::closed().await;
        let client = shop.start(shop.world.role("history"), change).await;
        (shop, client)
    }

    /// Starts a history service; a role of another name is another group, with a database of its own.
    pub async fn start(&self, role: RoleContext, change: impl FnOnce(&mut HistorySettings)) -> Client {
        let address = free_address().to_string();
        let mut settings = HistorySettings {
            listen_address: address.clone(),
            database_url: self.world.database_url(role.telemetry.role()),
            database: self.world.database(),
            freshness_interval_ms: 100,
            rebuild_poll_interval_ms: 50,
            rebuild_retry_max_ms: 200,
            ..HistorySettings::default()
        };
        change(&mut settings);
        let urls: ServiceUrls = ["order", "payment", "shipping", "notification"]
            .into_iter()
            .map(|role| (role, self.log_url.clone()))
            .collect();
        let host = Host::new(role, settings, self.world.kafka(), PageTokens::new(b"test")).with_urls(urls);
        tokio::spawn(serve(host));
        // Machines that run tests are busy.
        let client = RpcClientSettings { in_memory: false, default_timeout_ms: 30_000, ..RpcClientSettings::default() };
        let url = format!("http://{address}");
        let channel = openorder_rpc::channel(&RoleTelemetry::disabled("test"), &url, &client).unwrap();
        eventually("the service is ready", BOUND, || async { self.world.readiness().is_ready().then_some(()) }).await;
        HistoryServiceClient::new(channel)
    }

    /// Appends to the log, in one transaction.
    pub async fn append(&self, events: Append) {
        self.log.submit(None, events, TraceContext::default(), None).await.unwrap();
    }

    pub async fn database(&self, role: &str) -> PgPool {
        connected(&self.world.database_url(role)).await
    }

    pub async fn close(self) {
        self.world.close().await;
    }
}

async fn connected(url: &Secret) -> PgPool {
    PgPoolOptions::new().max_connections(2).connect(url.expose()).await.unwrap()
}

pub async fn get(client: &Client, call: CallContext, order_id: &str) -> Result<OrderView, Status> {
    let request = GetOrderViewRequest { order_id: order_id.to_owned(), min_version: 0 };
    client.clone().get_order_view(call.request(request)).await.map(|answer| answer.into_inner().order_view.unwrap())
}

/// The document, once it is as it is waited for.
pub async fn becomes(client: &Client, order_id: &str, what: &str, holds: impl Fn(&OrderView) -> bool) -> OrderView {
    eventually(what, BOUND, || async { get(client, as_operator(), order_id).await.ok().filter(&holds) }).await
}
