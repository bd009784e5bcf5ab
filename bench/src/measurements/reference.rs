//! L: the least CPU of an order's steps.

use std::time::Duration;

use crate::bench::Bench;
use crate::floor::{self, STEPS};
use crate::output::say;
use crate::processes::MICROS;
use crate::samples::Samples;

pub(crate) async fn floor(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let (inserted, updated) = floor::rows(bench.stack).await?;
    let (produced, consumed) = floor::messages(bench.stack).await?;
    let running = bench.start(&[]).await?;
    let called = floor::calls(&bench.side.system, &running.meter(), Duration::from_secs(3)).await?;
    running.stop().await?;
    for (step, cost) in STEPS.iter().zip([inserted, updated, produced, consumed, called]) {
        say(format_args!("L: {cost:.1} µs a {}", step.what));
        bench.side.samples.push(step.name, cost);
    }
    Ok(())
}

/// L out of the smallest cost of each step, once all rounds are over; `(µs an order, orders a second)`.
pub(crate) fn conclude(samples: &mut Samples) -> Option<(f64, f64)> {
    let cost = STEPS.iter().map(|step| Some(samples.smallest(step.name)? * step.per_order)).sum::<Option<f64>>()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let orders = cores as f64 * MICROS / cost;
    samples.set("floor.per_second", orders);
    Some((cost, orders))
}
