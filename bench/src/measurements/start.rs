//! How fast all roles are ready, and how much memory each holds at the maximum.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bench::Bench;
use crate::output::say;
use crate::processes::resident_mib;

const STARTS: usize = 5;

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    for _ in 0..STARTS {
        let running = bench.shop().await?.start(&[&["all"]], &[]).await?;
        bench.side.samples.push("start.seconds", running.start_time.as_secs_f64());
        running.stop().await?;
    }
    let median = bench.side.samples.median("start.seconds").unwrap_or_default();
    say(format_args!("start: all roles ready after {median:.2} s"));
    Ok(())
}

/// Each role as a process of its own, under the load of the maximum.
pub(crate) async fn memory(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let maximum = bench.maximum();
    let system = bench.shop().await?;
    let roles: Vec<[&str; 1]> = system.roles().map(|role| [role]).collect();
    let processes: Vec<&[&str]> = roles.iter().map(|role| &role[..]).collect();
    let running = system.start(&processes, &[]).await?;
    let pids = running.pids();
    let mut largest: BTreeMap<&str, f64> = BTreeMap::new();
    {
        let mut loading = std::pin::pin!(maximum.run(system, running.meter()));
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        loop {
            tokio::select! {
                found = &mut loading => break drop(found?),
                _ = ticks.tick() => {}
            }
            for (roles, pid) in &pids {
                let known = largest.entry(roles).or_default();
                *known = known.max(resident_mib(*pid).unwrap_or_default());
            }
        }
    }
    let listed: Vec<String> = largest.iter().map(|(role, mib)| format!("{role} {mib:.0}")).collect();
    let listed = listed.join(", ");
    say(format_args!("memory in MiB at the maximum: {listed}"));
    bench.side.samples.push("memory.largest_mib", largest.values().copied().fold(0.0, f64::max));
    running.stop().await?;
    bench.side.notes.insert("12", listed);
    Ok(())
}
