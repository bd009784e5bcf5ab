//! Accepting alone, with the services down that would complete orders; then the drain of what piled up.

use std::time::{Duration, Instant};

use anyhow::ensure;
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use crate::bench::Bench;
use crate::load::{Load, Loaded};
use crate::output::say;
use crate::system::{Running, System};

pub(super) const FRONT: &[&str] = &["gateway", "product", "order"];
/// Enough to fill the cores: with fewer, the wait for a batch is measured and not its cost.
pub(super) const CALLERS: u32 = 1_024;
const WARM_UP: Duration = Duration::from_secs(4);
const DRAIN_BOUND: Duration = Duration::from_secs(300);
/// Orders wait for services that are down on purpose: nobody is to give up on them.
pub(super) const PATIENT: &str = "order.saga_step_timeout_ms=86400000";

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let found = accept(&bench.side.system, bench.args.window()).await?;
    say(format_args!(
        "accepting alone: {:.0} orders/s, {:.0} µs an order",
        found.report.accepted_per_second,
        found.accepted_cost.total()
    ));
    bench.side.samples.push("accepting.per_second", found.report.accepted_per_second);
    bench.side.samples.push("accepting.cpu_us", found.accepted_cost.total());
    bench.side.notes.insert("1", found.accepted_cost.to_string());
    Ok(())
}

/// Orders are accepted and go no further: the services behind are stopped once products and wallets are made.
pub(crate) async fn accept(system: &System, duration: Duration) -> anyhow::Result<Loaded> {
    let mut running = system.start_core_apart(FRONT, &[PATIENT.to_owned()]).await?;
    let mut meter = running.meter();
    meter.openorder.truncate(1);
    let load = Load {
        in_flight_orders_max: 10_000_000,
        completion_timeout: Duration::from_millis(1),
        ..Load::closed(CALLERS, WARM_UP, duration)
    };
    let loading = load.begin(system, meter).await?;
    // Together: what the load says has to be read when it is said.
    let (stopped, found) = tokio::join!(stop_back(&mut running), loading.finish());
    stopped?;
    let found = found?;
    ensure!(found.report.accepted > 0, "no order was accepted: {:?}", found.report.failed);
    running.stop().await?;
    Ok(found)
}

async fn stop_back(running: &mut Running) -> anyhow::Result<()> {
    let begin = Instant::now();
    running.stop_process(1).await?;
    ensure!(begin.elapsed() < WARM_UP, "the roles behind took {:?} to end, longer than the warm-up", begin.elapsed());
    Ok(())
}

/// All roles are there again: how fast is the backlog completed?
pub(crate) async fn drain(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut connection = bench.side.system.database_url("order").parse::<PgConnectOptions>()?.connect().await?;
    let running = bench.start(&[PATIENT.to_owned()]).await?;
    let begin = Instant::now();
    let backlog = open_orders(&mut connection).await?;
    let mut open = backlog;
    while open > 0 {
        ensure!(begin.elapsed() < DRAIN_BOUND, "{open} orders are not completed after {DRAIN_BOUND:?}");
        tokio::time::sleep(Duration::from_millis(if open > 20_000 { 1_000 } else { 100 })).await;
        open = open_orders(&mut connection).await?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    connection.close().await?;
    running.stop().await?;
    let per_second = backlog as f64 / seconds;
    say(format_args!("recovery: a backlog of {backlog} orders drained at {per_second:.0} orders/s"));
    bench.side.samples.push("recovery.per_second", per_second);
    bench.side.samples.push("recovery.orders", backlog as f64);
    bench.side.notes.insert("11", format!("backlog of {backlog} orders when all roles were ready again"));
    Ok(())
}

async fn open_orders(connection: &mut PgConnection) -> anyhow::Result<i64> {
    // Preparing is an order's last status here.
    Ok(sqlx::query_scalar("select count(*) from orders where status < 20").fetch_one(connection).await?)
}
