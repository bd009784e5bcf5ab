//! The measurements, a file each, and their order.

mod accepting;
mod builds;
mod fractions;
mod maximum;
mod overload;
mod parallel;
pub(crate) mod protocols;
mod reads;
pub(crate) mod reference;
pub(crate) mod signed;
mod start;
pub(crate) mod stored;
mod sustained;
mod warmth;

use std::time::Duration;

use crate::bench::Bench;
use crate::output::say;
use crate::pgbench::Transactions;
use crate::rows::Part;

/// Calls that may wait for answers where a rate is offered.
const RATE_CALLERS: u32 = 1_000;

/// What every round has. Those against T stand together: the slice after one is the slice before the next.
const ROUND: &[Part] = &[
    Part::Accepting,
    Part::Recovery,
    Part::Traced,
    Part::Tenth,
    Part::ThreeTenths,
    Part::Maximum,
    Part::Shop,
    Part::Untraced,
    Part::Hot,
    Part::Few,
    Part::Lone,
    Part::Single,
    Part::Memory,
    Part::Reads,
    Part::Signed,
    Part::Protocols,
    Part::Overload,
    Part::Fairness,
    Part::Floor,
];
/// What is measured once, or by rounds of its own.
const ONCE: &[Part] = &[Part::Parallel, Part::Start, Part::Stored, Part::Sustained, Part::Builds];
/// After something went wrong: until its processes are gone.
const FAILURE_PAUSE: Duration = Duration::from_secs(2);

/// All of them, alternating, round by round; then those that are made once. `keep` is called once the rounds are over, and
/// after each of the others: some take many minutes, and one that is broken off is to leave what was measured before.
pub(crate) async fn run(bench: &mut Bench<'_>, keep: impl Fn(&mut Bench<'_>)) -> anyhow::Result<()> {
    warmth::reach(bench).await?;
    for round in 0..bench.args.rounds() {
        say(format_args!("round {} of {}", round + 1, bench.args.rounds()));
        bench.look_at_machine().await;
        let mut latest = None;
        for part in ROUND {
            latest = by_turns(bench, *part, round, latest).await?;
        }
    }
    keep(bench);
    for part in ONCE {
        by_turns(bench, *part, 0, None).await?;
        keep(bench);
    }
    bench.select("now");
    Ok(())
}

impl Bench<'_> {
    /// Of the programs, in the order in which they are measured first.
    fn labels(&self) -> Vec<&'static str> {
        if self.sides() == 2 { vec!["base", "now"] } else { vec!["now"] }
    }

    fn is_due(&self, part: Part) -> bool {
        // What piled up while orders were only accepted is to be gone before anything else is measured.
        self.needs(part) || (part == Part::Recovery && self.needs(Part::Accepting))
    }
}

/// One part, under each program in its turn, between slices of T where it is set against T. The other program begins in
/// every second round. Gives the slice of T that was taken last, and takes the one that was taken just before.
async fn by_turns(
    bench: &mut Bench<'_>,
    part: Part,
    round: usize,
    latest: Option<Transactions>,
) -> anyhow::Result<Option<Transactions>> {
    if !bench.is_due(part) {
        return Ok(latest);
    }
    let reference = bench.rows.iter().any(|row| row.is_against_t(part)).then_some(part.reference()).flatten();
    bench.before = match (reference, latest) {
        (Some(_), None) => match bench.slice().await {
            Ok(slice) => Some(slice),
            Err(error) => {
                without_reference(bench, part, &error).await;
                return Ok(None);
            }
        },
        (Some(_), latest) => latest,
        (None, _) => None,
    };
    bench.offered = bench.before;
    let mut labels = bench.labels();
    if round % 2 == 1 {
        labels.reverse();
    }
    for label in labels {
        bench.select(label);
        if bench.side.failed.contains_key(&part) {
            continue;
        }
        if bench.sides() == 2 {
            say(format_args!("{label}:"));
        }
        if let Err(error) = measure(bench, part).await {
            failed(bench, label, part, &error).await;
            continue;
        }
        if let Some(name) = reference
            && let Some(before) = bench.before
        {
            let after = match bench.slice().await {
                Ok(after) => after,
                Err(error) => {
                    without_reference(bench, part, &error).await;
                    return Ok(None);
                }
            };
            let mean = before.mean(after);
            bench.side.samples.push(format!("{name}.reference_per_second"), mean.per_second);
            bench.side.samples.push(format!("{name}.reference_cpu_us"), mean.cpu_us);
            bench.before = Some(after);
        }
    }
    Ok(bench.before.take())
}

/// The other rows still say something, after an hour in particular.
async fn failed(bench: &mut Bench<'_>, label: &'static str, part: Part, error: &anyhow::Error) {
    bench.select(label);
    say(format_args!("{label}: {error:#}"));
    bench.side.failed.insert(part, format!("{error:#}"));
    tokio::time::sleep(FAILURE_PAUSE).await;
}

/// Nothing to set it against, under any program.
async fn without_reference(bench: &mut Bench<'_>, part: Part, error: &anyhow::Error) {
    for label in bench.labels() {
        failed(bench, label, part, error).await;
    }
}

async fn measure(bench: &mut Bench<'_>, part: Part) -> anyhow::Result<()> {
    match part {
        Part::Accepting => accepting::measure(bench).await,
        Part::Recovery => accepting::drain(bench).await,
        Part::Maximum => maximum::measure(bench).await,
        Part::Shop => maximum::shop(bench).await,
        Part::Traced => maximum::traced(bench).await,
        Part::Untraced => maximum::untraced(bench).await,
        Part::Hot => maximum::hot(bench).await,
        Part::Few => maximum::few(bench).await,
        Part::Lone => maximum::lone(bench).await,
        Part::Single => maximum::single(bench).await,
        Part::Tenth => fractions::measure(bench, &fractions::TENTH).await,
        Part::ThreeTenths => fractions::measure(bench, &fractions::THREE_TENTHS).await,
        Part::Memory => start::memory(bench).await,
        Part::Reads => reads::measure(bench).await,
        Part::Signed => signed::measure(bench).await,
        Part::Protocols => protocols::measure(bench).await,
        Part::Floor => reference::floor(bench).await,
        Part::Overload => overload::overload(bench).await,
        Part::Fairness => overload::fairness(bench).await,
        Part::Parallel => parallel::measure(bench).await,
        Part::Start => start::measure(bench).await,
        Part::Stored => stored::measure(bench).await,
        Part::Sustained => sustained::measure(bench).await,
        Part::Builds => builds::measure(bench).await,
    }
}
