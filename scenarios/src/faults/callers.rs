//! Callers that take what they can, beside callers that do not.

use std::time::{Duration, Instant};

use openorder_proto::order::v1::GetOrderRequest;
use openorder_proto::product::v1::get_product_request::Key;
use openorder_proto::product::v1::{CreateProductRequest, GetProductRequest};
use tonic::Status;

use crate::deployment::get;
use crate::hostile::Hostile;
use crate::load::{Load, Plan};
use crate::{Fleet, Outcome, Servers, Shop, eur, faults::Length, id};

/// As many connections as the gateway's port takes here.
const CONNECTIONS_MAX: usize = 128;
/// The well-behaved caller's p99 stays within so many times its own alone.
const SLOWER_AT_MOST: u32 = 3;
/// Where that is less than what a busy machine adds to any call, this counts.
const NOISE: Duration = Duration::from_millis(50);
/// How long calls may take to be as quick as before once a hostile caller is gone.
const RECOVERY_BOUND: Duration = Duration::from_secs(20);
/// Products whose list makes a large answer.
const LARGE_PRODUCTS: usize = 100;
const DESCRIPTION_LENGTH: usize = 4_000;
/// Memory that any hostile caller may cost the gateway and the service behind it, each.
const GROWTH_MAX_MIB: u64 = 192;
/// What a page of metrics may grow by.
const METRICS_GROWTH_MAX_BYTES: usize = 200_000;

/// Silent, slow, greedy callers, those that read no answer, keep streams open or make names up; one after another.
pub async fn callers(servers: Servers, length: Length) -> (Servers, Outcome) {
    let measured = Duration::from_secs(length.pick(4, 15));
    let connections = format!("connections_max = {CONNECTIONS_MAX}");
    let fleet = Fleet::start(servers, &[("gateway.connection", &connections)]).await;
    let load = Load::start(&fleet, Plan { callers: 2, ..Plan::default() }).await;
    let good = Good::new(&fleet, &load).await;
    let mut beside = Beside { fleet: &fleet, good, measured, wrong: Vec::new(), notes: Vec::new() };
    for hostile in Hostile::ALL {
        beside.judge(hostile).await;
    }
    let Beside { wrong, notes, .. } = beside;

    let names = load.names().clone();
    let ledger = load.stop().await;
    let mut outcome = Outcome::of(&fleet, &names, ledger).await;
    outcome = outcome.broken("hostile callers beside good ones", Hostile::ALL.len(), Duration::ZERO);
    outcome.wrong.extend(wrong);
    outcome.notes.extend(notes);
    super::judged(fleet, outcome).await
}

/// A well-behaved caller beside hostile ones, and what was found.
struct Beside<'a> {
    fleet: &'a Fleet,
    good: Good,
    measured: Duration,
    wrong: Vec<String>,
    notes: Vec<String>,
}

impl Beside<'_> {
    /// Measures alone, since the machine has other work as well, and at once beside.
    async fn judge(&mut self, hostile: Hostile) {
        let gateway = self.fleet.instances[self.fleet.running("gateway")[0]].listen;
        let alone = self.good.measure(self.measured).await;
        let before = State::of(self.fleet).await;
        let tasks = hostile.begin(gateway, CONNECTIONS_MAX, &self.good.order_id).await;
        let beside = self.good.measure(self.measured).await;
        let after = State::of(self.fleet).await;
        drop(tasks);
        self.good.recovered(alone.p99).await;
        let (alone_ms, beside_ms) = (alone.p99.as_millis(), beside.p99.as_millis());
        self.notes.push(format!("p99 {alone_ms} ms, beside {hostile:?} {beside_ms} ms"));
        for (found, when) in [(&alone, "before"), (&beside, "beside")] {
            if let Some(first) = found.refused.first() {
                let (refused, calls) = (found.refused.len(), found.calls);
                self.wrong.push(format!("{when} {hostile:?}: {refused} of {calls} refused, such as {first}"));
            }
        }
        self.wrong.extend(before.grown(&after).map(|grown| format!("{hostile:?}: {grown}")));
        let bound = (alone.p99 * SLOWER_AT_MOST).max(NOISE);
        if beside.p99 > bound {
            self.wrong.push(format!("{hostile:?}: p99 {:?} instead of {bound:?} at most", beside.p99));
        }
    }
}

/// A caller that asks for one thing after another, waits for each answer, and is told no.
struct Good {
    shop: Shop,
    gateway: String,
    order_id: String,
    sku: String,
}

/// What a well-behaved caller saw.
struct Found {
    p99: Duration,
    calls: usize,
    refused: Vec<String>,
}

impl Good {
    async fn new(fleet: &Fleet, load: &Load) -> Self {
        let shop = fleet.shop();
        for _ in 0..LARGE_PRODUCTS {
            let request = CreateProductRequest {
                request_id: id("large"),
                sku: id("large"),
                display_name: "large".to_owned(),
                description: "x".repeat(DESCRIPTION_LENGTH),
                price: Some(eur(1, 0)),
                ..Default::default()
            };
            shop.products.clone().create_product(request).await.expect("a product");
        }
        while load.accepted() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // A request of its own, within the load's names: the ledger is compared by customer.
        let order_id = load.some_order().expect("an accepted order");
        Self { shop, gateway: fleet.gateway(), order_id, sku: load.names().sku(0) }
    }

    async fn measure(&self, for_how_long: Duration) -> Found {
        let (mut took, mut refused) = (Vec::new(), Vec::new());
        refused.extend(self.newcomer().await.err().map(|status| format!("a newcomer: {status}")));
        let started = Instant::now();
        while took.is_empty() || started.elapsed() < for_how_long {
            let begun = Instant::now();
            let order = GetOrderRequest { order_id: self.order_id.clone() };
            let asked = async {
                self.shop.orders.clone().get_order(order).await?;
                let product = GetProductRequest { key: Some(Key::Sku(self.sku.clone())) };
                self.shop.products.clone().get_product(product).await.map(|_| ())
            };
            refused.extend(asked.await.err().map(|status: Status| status.to_string()));
            took.push(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        took.sort_unstable();
        let p99 = took[(took.len() * 99 / 100).min(took.len() - 1)];
        Found { p99, calls: took.len(), refused }
    }

    /// Waits until calls take as long as alone, or the bound has passed: what one caller did is not the next one's doing.
    async fn recovered(&self, p99: Duration) {
        let started = Instant::now();
        while started.elapsed() < RECOVERY_BOUND {
            if self.measure(Duration::from_millis(500)).await.p99 <= p99 {
                return;
            }
        }
    }

    /// Somebody new, who asks for health, watches an order and orders.
    async fn newcomer(&self) -> Result<(), Status> {
        let unreachable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        let endpoint = tonic::transport::Endpoint::from_shared(self.gateway.clone()).map_err(unreachable)?;
        let channel = endpoint.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(10));
        let channel = channel.connect().await.map_err(unreachable)?;
        let health = tonic_health::pb::HealthCheckRequest { service: String::new() };
        tonic_health::pb::health_client::HealthClient::new(channel.clone()).check(health).await?;
        let watch =
            openorder_proto::order::v1::WatchOrderRequest { order_id: self.order_id.clone(), ..Default::default() };
        let mut watched = Shop::new(channel).orders.watch_order(watch).await?.into_inner();
        watched.message().await?;
        Ok(())
    }
}

/// What the gateway and the services cost.
struct State {
    metrics_bytes: usize,
    resident_mib: Vec<(&'static str, u64)>,
}

impl State {
    async fn of(fleet: &Fleet) -> Self {
        let gateway = &fleet.instances[fleet.running("gateway")[0]];
        let metrics_bytes = get(gateway.admin, "/metrics").await.map_or(0, |text| text.len());
        let running = fleet.instances.iter().filter(|one| ["gateway", "product"].contains(&one.role));
        let resident = running.filter_map(|one| Some((one.role, one.resident_mib()?)));
        Self { metrics_bytes, resident_mib: resident.collect() }
    }

    fn grown(&self, after: &Self) -> impl Iterator<Item = String> {
        let metrics = after.metrics_bytes.saturating_sub(self.metrics_bytes);
        let metrics = (metrics > METRICS_GROWTH_MAX_BYTES).then(|| format!("the metrics grew by {metrics} bytes"));
        let memory = self.resident_mib.iter().zip(&after.resident_mib).filter_map(|((role, before), (_, after))| {
            let grown = after.saturating_sub(*before);
            (grown > GROWTH_MAX_MIB).then(|| format!("{role} grew by {grown} MiB"))
        });
        metrics.into_iter().chain(memory).collect::<Vec<_>>().into_iter()
    }
}
