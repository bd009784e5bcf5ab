//! More than the system can do, and one caller beside another.

use std::time::Duration;

use crate::bench::Bench;
use crate::load::Load;
use crate::output::say;

/// Calls that may wait for answers in an open loop; far more than the gateway takes at a time.
const OPEN_CALLERS: u32 = 20_000;
/// Rate of the modest caller; the other one has a hundred times as much, within the maximum.
const MODEST_SHARE: f64 = 0.007;

pub(crate) async fn overload(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let Some(maximum) = bench.side.samples.median("maximum.per_second") else { return Ok(()) };
    let running = bench.start(&[]).await?;
    let open = |share: f64| Load {
        rate: Some(maximum * share),
        callers: OPEN_CALLERS,
        in_flight_orders_max: 10_000_000,
        completion_timeout: Duration::from_secs(180),
        ..bench.maximum()
    };
    let busy = bench.load(open(0.7), &running).await?;
    let over = bench.load(open(2.0), &running).await?;
    running.stop().await?;
    let count = |reason: &str| {
        let of_reason = over.report.failed.iter().filter(|(text, _)| text.contains(reason));
        of_reason.map(|(_, count)| *count).sum::<u64>()
    };
    let refused: u64 = count("CreateOrder: ");
    let shed = refused as f64 / over.report.offered.max(1) as f64 * 100.0;
    say(format_args!(
        "at twice the maximum: {:.0} orders/s completed, {shed:.1} % shed, p99 of the call {:.1} ms (at 70 %: {:.1} ms)",
        over.completed_per_second, over.report.call_ms.p99, busy.report.call_ms.p99
    ));
    bench.side.samples.push("overload.per_second", over.completed_per_second);
    bench.side.samples.push("overload.call_p99_ms", over.report.call_ms.p99);
    bench.side.samples.push("busy.call_p99_ms", busy.report.call_ms.p99);
    bench.side.samples.push("overload.shed_percent", shed);
    let reasons: Vec<String> = over.report.failed.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let note = if reasons.is_empty() {
        "nothing was shed: what is accepted beyond the maximum piles up behind acceptance".to_owned()
    } else {
        reasons.join(", ")
    };
    bench
        .side
        .notes
        .insert("16c", format!("{} of {} orders completed; {note}", over.report.completed, over.report.offered));
    Ok(())
}

pub(crate) async fn fairness(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let Some(maximum) = bench.side.samples.median("maximum.per_second") else { return Ok(()) };
    let running = bench.start(&[]).await?;
    let at = |share: f64| Load { rate: Some(maximum * share), callers: 1_000, connections: 1, ..bench.maximum() };
    let alone = bench.load(at(MODEST_SHARE), &running).await?;
    // Longer than the other one, whose customers are made after its beginning.
    let greedy = at(MODEST_SHARE * 100.0);
    let greedy = Load { duration: greedy.duration + Duration::from_secs(3), ..greedy };
    let greedy = greedy.begin(&bench.side.system, running.meter()).await?;
    let (beside, greedy) = tokio::join!(bench.load(at(MODEST_SHARE), &running), greedy.finish());
    let (beside, greedy) = (beside?, greedy?);
    running.stop().await?;
    say(format_args!(
        "a caller's p99: {:.1} ms alone, {:.1} ms beside one with {:.0} orders/s",
        alone.report.call_ms.p99, beside.report.call_ms.p99, greedy.report.accepted_per_second
    ));
    bench.side.samples.push("fairness.alone_p99_ms", alone.report.call_ms.p99);
    bench.side.samples.push("fairness.beside_p99_ms", beside.report.call_ms.p99);
    bench
        .side
        .notes
        .insert("17", "each has a connection of its own: by that the gateway tells callers apart".to_owned());
    Ok(())
}
