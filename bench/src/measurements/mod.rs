//! The measurements, a file each, and their order.

mod accepting;
mod builds;
mod maximum;
mod overload;
mod parallel;
pub(crate) mod reference;
mod start;
mod stored;

use crate::bench::Bench;
use crate::output::say;

/// All of them, alternating, round by round; then those that are made once.
pub(crate) async fn run(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    bench.warm_up().await?;
    for round in 0..bench.args.rounds() {
        bench.round = round;
        say(format_args!("round {} of {}", round + 1, bench.args.rounds()));
        bench.look_at_machine().await;
        reference::measure(bench).await?;
        maximum::measure(bench).await?;
        accepting::measure(bench).await?;
    }
    overload::measure(bench).await?;
    parallel::measure(bench).await?;
    start::measure(bench).await?;
    stored::measure(bench).await?;
    builds::measure(bench).await
}
