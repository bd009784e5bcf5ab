//! Whole orders: the maximum, with and without tracing, without batches, hot stock, at ease; reads beside it.

use std::time::{Duration, Instant};

use anyhow::ensure;
use openorder_proto::order::v1::GetOrderRequest;
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

use crate::bench::{Bench, CALLERS, CALM_SHARE};
use crate::calls::Calls;
use crate::load::{Load, Loaded};
use crate::output::say;
use crate::rows::Part;
use crate::system::Running;

/// Rows that are read by turns.
const READ_ORDERS: i64 = 64;
/// Without batches a backlog is worked off slowly, and is not what is measured: enough to keep every step busy.
const SINGLE_IN_FLIGHT_ORDERS: u32 = 48;
/// Until the last steps of the first orders are mixed with the first steps of later ones.
const SINGLE_WARM_UP: Duration = Duration::from_secs(8);

const NOTIFICATIONS_BOUND: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let running = bench.start(&[]).await?;
    if bench.needs(Part::Maximum) {
        let found = bench.load(bench.maximum(), &running).await?;
        let cost = found.completed_cost;
        say(format_args!(
            "maximum: {:.0} orders/s, {:.0} µs an order (OpenOrder {:.0}, PostgreSQL {:.0}, Kafka {:.0})",
            found.completed_per_second,
            cost.total(),
            cost.openorder,
            cost.postgres,
            cost.kafka
        ));
        bench.samples.push("maximum.per_second", found.completed_per_second);
        bench.samples.push("maximum.cpu_us", cost.total());
        bench.samples.push("maximum.openorder_cpu_us", cost.openorder);
        bench.samples.push("maximum.postgres_cpu_us", cost.postgres);
        bench.samples.push("maximum.kafka_cpu_us", cost.kafka);
        notifications(bench).await?;
    }
    if bench.needs(Part::Traced) {
        let found = bench.load(Load { sampled_ratio: Some(1.0), ..bench.maximum() }, &running).await?;
        keep(bench, "traced.per_second", "every order traced", &found);
    }
    if bench.needs(Part::Hot) {
        let spread = bench.load(Load { products: 10_000, ..bench.maximum() }, &running).await?;
        keep(bench, "spread.per_second", "10,000 SKUs", &spread);
        let hot = bench.load(Load { products: 1, ..bench.maximum() }, &running).await?;
        keep(bench, "hot.per_second", "one SKU", &hot);
    }
    if bench.needs(Part::Calm) {
        calm(bench, &running).await?;
    }
    if bench.needs(Part::Reads) {
        reads(bench).await?;
    }
    running.stop().await?;
    if bench.needs(Part::Untraced) {
        let running = bench.start(&["telemetry.otlp_endpoint=".to_owned()]).await?;
        let found = bench.load(bench.maximum(), &running).await?;
        keep(bench, "untraced.per_second", "tracing off", &found);
        running.stop().await?;
    }
    if bench.needs(Part::Single) {
        single(bench).await?;
    }
    if bench.needs(Part::Memory) {
        super::start::memory(bench).await?;
    }
    Ok(())
}

/// An order is completed without its notification: whether they keep up stands beside the maximum.
async fn notifications(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let open = async |service: &str| {
        anyhow::Ok(bench.system.database_url(service).parse::<PgConnectOptions>()?.connect().await?)
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
            bench.samples.push("maximum.notifications_behind", behind_at_first as f64);
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
    bench.samples.push(name, found.completed_per_second);
}

/// B: every batch has one command, one message, one event.
async fn single(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let running = bench.start(&bench.system.without_batches()).await?;
    let load = Load { in_flight_orders_max: SINGLE_IN_FLIGHT_ORDERS, warm_up: SINGLE_WARM_UP, ..bench.maximum() };
    let found = bench.load(load, &running).await?;
    keep(bench, "single.per_second", "B, no batches", &found);
    running.stop().await
}

/// An open loop at a share of the maximum.
async fn calm(bench: &mut Bench<'_>, running: &Running) -> anyhow::Result<()> {
    let Some(maximum) = bench.samples.median("maximum.per_second") else { return Ok(()) };
    let rate = Some(maximum * CALM_SHARE);
    let found = bench.load(Load { rate, callers: 1_000, ..bench.maximum() }, running).await?;
    let (cost, p99) = (found.completed_cost.total(), found.report.completion_ms.p99);
    say(format_args!("at 35 %: {cost:.0} µs an order, p99 to completion {p99:.1} ms"));
    bench.samples.push("calm.cpu_us", cost);
    bench.samples.push("calm.p99_ms", p99);
    Ok(())
}

/// GetOrder through the gateway, and PostgreSQL alone reading the same rows.
async fn reads(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let url = bench.system.database_url("order");
    let mut connection = url.parse::<PgConnectOptions>()?.connect().await?;
    let ids: Vec<String> = sqlx::query_scalar("select order_id::text from orders order by order_id desc limit $1")
        .bind(READ_ORDERS)
        .fetch_all(&mut connection)
        .await?;
    connection.close().await?;
    let database = url.rsplit('/').next().unwrap_or_default().to_owned();
    let duration = bench.args.window().min(Duration::from_secs(5));
    let selects = bench.pgbench.reads(&database, &ids, duration).await?;
    let requests: Vec<_> = ids.into_iter().map(|order_id| GetOrderRequest { order_id }).collect();
    let calls = Calls::new(&bench.system.gateway(), "/openorder.order.v1.OrderService/GetOrder", &requests, "0")?;
    let (per_second, _) = calls.run(CALLERS as usize, duration).await?;
    say(format_args!("GetOrder: {per_second:.0}/s, pgbench's select: {:.0}/s", selects.per_second));
    bench.samples.push("selects.per_second", selects.per_second);
    bench.samples.push("reads.per_second", per_second);
    Ok(())
}
