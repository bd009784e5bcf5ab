//! The references: T (pgbench), L (the least CPU of an order's steps).

use std::time::Duration;

use crate::bench::Bench;
use crate::floor::{self, STEPS};
use crate::output::say;
use crate::processes::MICROS;
use crate::rows::Part;

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    if bench.needs(Part::Reference) {
        let found = bench.pgbench.orders(bench.args.window()).await?;
        say(format_args!(
            "T: {:.0} transactions/s, p99 {:.1} ms, {:.0} µs of PostgreSQL's CPU each",
            found.per_second, found.p99_ms, found.cpu_us
        ));
        bench.samples.push("reference.per_second", found.per_second);
        bench.samples.push("reference.p99_ms", found.p99_ms);
        bench.samples.push("reference.cpu_us", found.cpu_us);
    }
    if bench.needs(Part::Floor) {
        floor(bench).await?;
    }
    Ok(())
}

async fn floor(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let (inserted, updated) = floor::rows(bench.stack).await?;
    let (produced, consumed) = floor::messages(bench.stack, bench.round).await?;
    let running = bench.start(&[]).await?;
    let called = floor::calls(&bench.system, &running.meter(), Duration::from_secs(3)).await?;
    running.stop().await?;
    for (step, cost) in STEPS.iter().zip([inserted, updated, produced, consumed, called]) {
        say(format_args!("L: {cost:.1} µs a {}", step.what));
        bench.samples.push(step.name, cost);
    }
    Ok(())
}

/// L out of the smallest cost of each step, once all rounds are over; `(µs an order, orders a second)`.
pub(crate) fn conclude(bench: &mut Bench<'_>) -> Option<(f64, f64)> {
    let cost =
        STEPS.iter().map(|step| Some(bench.samples.smallest(step.name)? * step.per_order)).sum::<Option<f64>>()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let orders = cores as f64 * MICROS / cost;
    bench.samples.push("floor.per_second", orders);
    Some((cost, orders))
}
