//! A fixed share of T offered: what an order costs and how long it takes while the machine has room. The share is not one
//! of the system's own maximum, which would make the row easier the slower the system is.

use crate::bench::Bench;
use crate::load::Load;
use crate::measurements::RATE_CALLERS;
use crate::output::say;

/// Less than this of what was offered means that the system does not follow.
const FOLLOWED: f64 = 0.97;

/// A share of T, and the names of its samples.
pub(crate) struct Fraction {
    share: f64,
    cpu_us: &'static str,
    p99_ms: &'static str,
    row: &'static str,
}

pub(crate) const TENTH: Fraction = Fraction { share: 0.1, cpu_us: "tenth.cpu_us", p99_ms: "tenth.p99_ms", row: "5c" };
pub(crate) const THREE_TENTHS: Fraction =
    Fraction { share: 0.3, cpu_us: "three_tenths.cpu_us", p99_ms: "three_tenths.p99_ms", row: "5b" };

pub(crate) async fn measure(bench: &mut Bench<'_>, fraction: &Fraction) -> anyhow::Result<()> {
    let Some(offered) = bench.offered else { return Ok(()) };
    let rate = offered.per_second * fraction.share;
    let running = bench.start(&[]).await?;
    let found = bench.load(Load { rate: Some(rate), callers: RATE_CALLERS, ..bench.maximum() }, &running).await?;
    running.stop().await?;
    let (cost, p99) = (found.completed_cost, found.report.completion_ms.p99);
    let share = fraction.share;
    say(format_args!("{share} T, {rate:.0} orders/s: {:.0} µs an order ({cost}); p99 {p99:.1} ms", cost.total()));
    bench.side.samples.push(fraction.cpu_us, cost.total());
    bench.side.samples.push(fraction.p99_ms, p99);
    let mut note = cost.to_string();
    if found.completed_per_second < rate * FOLLOWED {
        note = format!("only {:.0} of {rate:.0} orders/s were completed; {note}", found.completed_per_second);
    }
    bench.side.notes.insert(fraction.row, note);
    Ok(())
}
