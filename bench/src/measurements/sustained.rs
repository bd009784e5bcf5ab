//! The highest rate that users would call good: 99 of 100 orders are completed in time, for as long as one likes to look.

use std::time::Duration;

use anyhow::ensure;

use super::stored;
use crate::bench::Bench;
use crate::load::{Load, Loaded};
use crate::output::say;
use crate::search::Search;
use crate::system::{Running, System};

/// From creation to the last event.
const P99_MS_MAX: f64 = 250.0;
/// Orders that may be refused or never sent.
const LOST_SHARE_MAX: f64 = 0.001;
/// Where the search begins, of T.
const FIRST_SHARE: f64 = 0.5;
const TRIALS_MAX: u32 = 8;
/// A shorter trial has too few orders beyond its p99 at low rates: it refused rates that hold.
const TRIAL_DURATION_MIN: Duration = Duration::from_secs(20);
/// A rate that held for a trial may not hold for longer: the next one is lower by this.
const HOLD_STEP: f64 = 0.9;
const HOLDS_MAX: u32 = 4;
/// Calls that may wait for answers.
const CALLERS: u32 = 4_000;

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let Some(offered) = bench.offered else { return Ok(()) };
    let with_orders = match bench.args.stored {
        Some(orders) => Some(stored::system(bench, "held", orders).await?.0),
        None => None,
    };
    let system = with_orders.as_ref().unwrap_or(&bench.side.system);
    let running = system.start_core(&[]).await?;
    let trial = bench.args.window().max(TRIAL_DURATION_MIN);
    let mut search = Search::new(offered.per_second * FIRST_SHARE, TRIALS_MAX);
    while let Some(rate) = search.next() {
        search.tell(offer(bench, system, &running, rate, trial).await?.is_some());
    }
    let first = search.found();
    running.stop().await?;
    ensure!(first.is_some(), "no rate held {P99_MS_MAX:.0} ms in {TRIALS_MAX} trials");

    // T once more: the search has taken minutes.
    bench.before = Some(bench.slice().await?);
    let system = with_orders.as_ref().unwrap_or(&bench.side.system);
    let running = system.start_core(&[]).await?;
    let time = bench.args.hold_time();
    let (mut rate, mut held) = (first.unwrap_or_default(), None);
    for _ in 0..HOLDS_MAX {
        held = offer(bench, system, &running, rate, time).await?;
        if held.is_some() {
            break;
        }
        rate *= HOLD_STEP;
    }
    running.stop().await?;
    let Some(found) = held else {
        anyhow::bail!("no rate held {P99_MS_MAX:.0} ms for {} s in {HOLDS_MAX} trials", time.as_secs())
    };
    bench.side.samples.push("sustained.per_second", found.completed_per_second);
    bench.side.samples.push("sustained.p99_ms", found.report.completion_ms.p99);
    bench.side.samples.push("sustained.cpu_us", found.completed_cost.total());
    let stored = bench.args.stored.map_or(String::new(), |orders| format!(" over {orders} stored orders"));
    let note = format!(
        "{:.0} orders/s held for {} s{stored}; {:.0} µs an order",
        found.completed_per_second,
        time.as_secs(),
        found.completed_cost.total()
    );
    bench.side.notes.insert("18", note);
    Ok(())
}

/// What was found out when the rate held; none when it did not.
async fn offer(
    bench: &Bench<'_>,
    system: &System,
    running: &Running,
    rate: f64,
    duration: Duration,
) -> anyhow::Result<Option<Loaded>> {
    let load = Load { rate: Some(rate), callers: CALLERS, duration, ..bench.maximum() };
    let found = load.run(system, running.meter()).await?;
    let report = &found.report;
    let holds = holds(report.offered, report.completed, report.completion_ms.p99);
    let verdict = if holds { "holds" } else { "does not hold" };
    say(format_args!(
        "{rate:.0} orders/s for {} s: p99 {:.0} ms, {} of {} completed: {verdict}",
        duration.as_secs(),
        report.completion_ms.p99,
        report.completed,
        report.offered
    ));
    Ok(holds.then_some(found))
}

fn holds(offered: u64, completed: u64, p99_ms: f64) -> bool {
    let lost = offered.saturating_sub(completed) as f64;
    offered > 0 && p99_ms <= P99_MS_MAX && lost <= offered as f64 * LOST_SHARE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_holds_when_its_orders_are_in_time_and_next_to_none_is_lost() {
        assert!(holds(10_000, 9_990, 250.0));
        assert!(!holds(10_000, 9_989, 20.0), "refused orders would make it easy");
        assert!(!holds(10_000, 10_000, 250.1));
        assert!(!holds(0, 0, 0.0));
    }
}
