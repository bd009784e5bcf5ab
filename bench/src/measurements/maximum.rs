//! Whole orders: the maximum, with and without tracing, without batches, hot stock.

use std::time::{Duration, Instant};

use anyhow::ensure;
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

use crate::bench::Bench;
use crate::load::{Load, Loaded};
use crate::measurements::RATE_CALLERS;
use crate::output::say;

/// Without batches a backlog is worked off slowly, and is not what is measured: enough to keep every step busy.
const SINGLE_IN_FLIGHT_ORDERS: u32 = 48;
/// Until the last steps of the first orders are mixed with the first steps of later ones.
const SINGLE_WARM_UP: Duration = Duration::from_secs(8);

/// Too few to fill a batch, or the cores.
const FEW_CALLERS: u32 = 4;
const FEW_DURATION_MAX: Duration = Duration::from_secs(5);

/// An order is at its end long before the next one.
const LONE_PER_SECOND: f64 = 5.0;
const LONE_DURATION: Duration = Duration::from_secs(10);

const NOTIFICATIONS_BOUND: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let running = bench.start(&[]).await?;
    let found = bench.load(bench.maximum(), &running).await?;
    let cost = found.completed_cost;
    say(format_args!("maximum: {:.0} orders/s, {:.0} µs an order ({cost})", found.completed_per_second, cost.total()));
    let samples = &mut bench.side.samples;
    samples.push("maximum.per_second", found.completed_per_second);
    samples.push("maximum.p99_ms", found.report.completion_ms.p99);
    samples.push("maximum.cpu_us", cost.total());
    samples.push("maximum.openorder_cpu_us", cost.openorder);
    samples.push("maximum.postgres_cpu_us", cost.postgres);
    samples.push("maximum.kafka_cpu_us", cost.kafka);
    samples.push("maximum.load_cpu_us", cost.load);
    samples.push("maximum.jaeger_cpu_us", cost.jaeger);
    bench.side.notes.insert("5a", cost.to_string());
    notifications(bench).await?;
    running.stop().await
}

/// All roles, each order with a parcel: what the core costs then, what the others cost, and what the core costs alone when
/// it is offered as many orders. (At a lower rate batches are smaller, and an order costs more, whatever it is made of.)
pub(crate) async fn shop(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let maximum = bench.maximum();
    let system = bench.shop().await?;
    let running = system.start_shop().await?;
    let found = maximum.run(system, running.meter_of_first()).await?;
    let cost = found.completed_cost;
    say(format_args!(
        "all roles: {:.0} orders/s, {:.0} µs an order ({cost})",
        found.completed_per_second,
        cost.total()
    ));
    let samples = &mut bench.side.samples;
    samples.push("shop.per_second", found.completed_per_second);
    samples.push("shop.cpu_us", cost.total());
    samples.push("shop.core_cpu_us", cost.openorder);
    samples.push("shop.beside_cpu_us", cost.beside);
    samples.push("shop.postgres_cpu_us", cost.postgres);
    samples.push("shop.kafka_cpu_us", cost.kafka);
    bench.side.notes.insert("19b", cost.to_string());
    running.stop().await?;
    let rate = found.completed_per_second;
    let running = bench.start(&[]).await?;
    let found = bench.load(Load { rate: Some(rate), callers: RATE_CALLERS, ..bench.maximum() }, &running).await?;
    let cost = found.completed_cost;
    say(format_args!("the core alone, {rate:.0} orders/s offered: {:.0} µs an order ({cost})", cost.total()));
    bench.side.samples.push("shop.alone_cpu_us", cost.openorder);
    running.stop().await
}

/// A few callers, each of which waits for its answer: what a batch saves must not make them wait for each other.
pub(crate) async fn few(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let duration = bench.args.window().min(FEW_DURATION_MAX);
    let transactions = bench.pgbench.orders_of(FEW_CALLERS, duration).await?;
    let running = bench.start(&[]).await?;
    let load = Load::closed(FEW_CALLERS, Duration::from_secs(2), duration);
    let report = bench.load(load, &running).await?.report;
    say(format_args!(
        "{FEW_CALLERS} callers: {:.0} CreateOrder/s, p50 {:.1} ms, p99 {:.1} ms; pgbench: {:.0} transactions/s",
        report.accepted_per_second, report.call_ms.p50, report.call_ms.p99, transactions.per_second
    ));
    let samples = &mut bench.side.samples;
    samples.push("few.per_second", report.accepted_per_second);
    samples.push("few.transactions_per_second", transactions.per_second);
    samples.push("few.p50_ms", report.call_ms.p50);
    samples.push("few.p99_ms", report.call_ms.p99);
    running.stop().await
}

/// One order after another on a system at rest: no batch, and nobody to wait for.
pub(crate) async fn lone(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let running = bench.start(&[]).await?;
    let load = Load { rate: Some(LONE_PER_SECOND), ..Load::closed(FEW_CALLERS, Duration::from_secs(2), LONE_DURATION) };
    let report = bench.load(load, &running).await?.report;
    let (p50, p99) = (report.completion_ms.p50, report.completion_ms.p99);
    say(format_args!("a lone order: p50 {p50:.1} ms, p99 {p99:.1} ms to completion"));
    bench.side.samples.push("lone.p50_ms", p50);
    running.stop().await
}

pub(crate) async fn traced(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let running = bench.start(&[]).await?;
    let found = bench.load(Load { sampled_ratio: Some(1.0), ..bench.maximum() }, &running).await?;
    keep(bench, "traced.per_second", "every order traced", &found);
    running.stop().await
}

pub(crate) async fn untraced(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let running = bench.start(&["telemetry.otlp_endpoint=".to_owned()]).await?;
    let found = bench.load(bench.maximum(), &running).await?;
    keep(bench, "untraced.per_second", "tracing off", &found);
    running.stop().await
}

/// One product allows one line.
pub(crate) async fn hot(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let running = bench.start(&[]).await?;
    let spread = bench.load(Load { products: 10_000, lines: 1, ..bench.maximum() }, &running).await?;
    keep(bench, "spread.per_second", "10,000 SKUs", &spread);
    let hot = bench.load(Load { products: 1, lines: 1, ..bench.maximum() }, &running).await?;
    keep(bench, "hot.per_second", "one SKU", &hot);
    running.stop().await
}

/// An order is completed without its notification: whether they keep up stands beside the maximum.
async fn notifications(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let open = async |service: &str| {
        anyhow::Ok(bench.side.system.database_url(service).parse::<PgConnectOptions>()?.connect().await?)
    };
    let (mut orders, mut notifications) = (open("order").await?, open("notification").await?);
    let begin = Instant::now();
    let paid: i64 = sqlx::query_scalar("select count(*) from orders where status = 20").fetch_one(&mut orders).await?;
    let mut first = None;
    loop {
        let query = sqlx::query_scalar("select count(*) from notification");
        let behind = paid - query.fetch_one(&mut notifications).await.map(|made: i64| made)?;
        let behind_at_first = *first.get_or_insert(behind);
        if behind <= 0 {
            bench.side.samples.push("maximum.notifications_behind", behind_at_first as f64);
            break;
        }
        ensure!(begin.elapsed() < NOTIFICATIONS_BOUND, "{behind} notifications are missing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    orders.close().await?;
    Ok(notifications.close().await?)
}

fn keep(bench: &mut Bench<'_>, name: &'static str, what: &str, found: &Loaded) {
    say(format_args!("{what}: {:.0} orders/s", found.completed_per_second));
    bench.side.samples.push(name, found.completed_per_second);
}

/// B: every batch has one command, one message, one event.
pub(crate) async fn single(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let running = bench.start(&bench.side.system.without_batches()).await?;
    let load = Load { in_flight_orders_max: SINGLE_IN_FLIGHT_ORDERS, warm_up: SINGLE_WARM_UP, ..bench.maximum() };
    let found = bench.load(load, &running).await?;
    keep(bench, "single.per_second", "B, no batches", &found);
    running.stop().await
}
