//! Callers that take what they can, beside callers that do not.

use std::time::{Duration, Instant};

use openorder_proto::order::v1::GetOrderRequest;
use openorder_proto::product::v1::get_product_request::Key;
use openorder_proto::product::v1::{CreateProductRequest, GetProductRequest};
use openorder_runtime::asked;
use tonic::Status;

use crate::hostile::Hostile;
use crate::load::{Load, Plan};
use crate::{Fleet, Outcome, Servers, Shop, eur, faults::Length, id};

/// As many connections as the gateway's port takes here.
const CONNECTIONS_MAX: usize = 128;
/// Between two orders of one of the load's callers: the machine is not busy with them, so that all that is slow beside a
/// hostile caller is slow by it.
const PAUSE: Duration = Duration::from_millis(250);
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
    let (rounds, measured) = (length.pick(2, 3), Duration::from_secs(length.pick(4, 5)));
    let connections = format!("connections_max = {CONNECTIONS_MAX}");
    let fleet = Fleet::start(servers, &[("gateway.connection", &connections)]).await;
    let load = Load::start(&fleet, Plan { callers: 2, pause: PAUSE, ..Plan::default() }).await;
    let good = Good::new(&fleet, &load).await;
    let mut beside = Beside { fleet: &fleet, good, rounds, measured, wrong: Vec::new(), notes: Vec::new() };
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
    rounds: usize,
    measured: Duration,
    wrong: Vec<String>,
    notes: Vec<String>,
}

impl Beside<'_> {
    /// Measures alone and at once beside, by turns: the machine has other work as well, and that work comes and goes.
    async fn judge(&mut self, hostile: Hostile) {
        let gateway = self.fleet.instances[self.fleet.running("gateway")[0]].listen;
        let (mut alone, mut beside) = (Found::default(), Found::default());
        for _ in 0..self.rounds {
            self.good.measure(self.measured, &mut alone).await;
            let before = State::of(self.fleet).await;
            let tasks = hostile.begin(gateway, CONNECTIONS_MAX, &self.good.order_id).await;
            self.good.measure(self.measured, &mut beside).await;
            let after = State::of(self.fleet).await;
            drop(tasks);
            self.wrong.extend(before.grown(&after).map(|grown| format!("{hostile:?}: {grown}")));
            self.good.recovered(alone.p99()).await;
        }
        for (found, when) in [(&alone, "before"), (&beside, "beside")] {
            if let Some(first) = found.refused.first() {
                let (refused, calls) = (found.refused.len(), found.took.len());
                self.wrong.push(format!("{when} {hostile:?}: {refused} of {calls} refused, such as {first}"));
            }
        }
        let (alone, beside) = (alone.p99(), beside.p99());
        self.notes.push(format!("p99 {} ms, beside {hostile:?} {} ms", alone.as_millis(), beside.as_millis()));
        let bound = (alone * SLOWER_AT_MOST).max(NOISE);
        if beside > bound {
            self.wrong.push(format!("{hostile:?}: p99 {beside:?} instead of {bound:?} at most"));
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
#[derive(Default)]
struct Found {
    took: Vec<Duration>,
    refused: Vec<String>,
}

impl Found {
    fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
    }
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

    /// Adds to `found` what is seen for so long.
    async fn measure(&self, for_how_long: Duration, found: &mut Found) {
        found.refused.extend(self.newcomer().await.err().map(|status| format!("a newcomer: {status}")));
        let (started, mut asked_once) = (Instant::now(), false);
        while !asked_once || started.elapsed() < for_how_long {
            let begun = Instant::now();
            let order = GetOrderRequest { order_id: self.order_id.clone() };
            let asked = async {
                self.shop.orders.clone().get_order(order).await?;
                let product = GetProductRequest { key: Some(Key::Sku(self.sku.clone())) };
                self.shop.products.clone().get_product(product).await.map(|_| ())
            };
            found.refused.extend(asked.await.err().map(|status: Status| status.to_string()));
            found.took.push(begun.elapsed());
            asked_once = true;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until calls take as long as alone, or the bound has passed: what one caller did is not the next one's doing.
    async fn recovered(&self, p99: Duration) {
        let started = Instant::now();
        while started.elapsed() < RECOVERY_BOUND {
            let mut found = Found::default();
            self.measure(Duration::from_millis(500), &mut found).await;
            if found.p99() <= p99 {
                return;
            }
        }
    }

    /// Somebody new, who asks for health, watches an order and orders.
    #[expect(clippy::disallowed_methods, reason = "for an answer that never came")]
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
        let metrics_bytes = asked::get(gateway.admin, "/metrics").await.map_or(0, |text| text.len());
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
