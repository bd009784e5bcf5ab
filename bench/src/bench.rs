//! A run: what it stands on, and what its measurements have in common.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::Args;
use crate::load::{Load, Loaded};
use crate::output::say;
use crate::pgbench::PgBench;
use crate::processes::machine_seconds;
use crate::rows::{self, Part, Row};
use crate::samples::Samples;
use crate::stack::Stack;
use crate::system::{Running, System};

/// Callers at the maximum.
pub(crate) const CALLERS: u32 = 256;
/// The share of the maximum at which a system is at ease.
pub(crate) const CALM_SHARE: f64 = 0.35;

const LOOK_TIME: Duration = Duration::from_secs(1);
/// An idle stack uses less.
const BUSY_PERCENT: f64 = 15.0;

/// Everything that a measurement needs.
pub(crate) struct Bench<'a> {
    pub(crate) repository: PathBuf,
    pub(crate) args: &'a Args,
    pub(crate) stack: &'a Stack,
    pub(crate) system: System,
    pub(crate) pgbench: PgBench,
    pub(crate) samples: Samples,
    /// What is to be said of a row besides its figure, by its id.
    pub(crate) notes: BTreeMap<&'static str, String>,
    pub(crate) rows: Vec<&'static Row>,
    /// Of the rounds; from 0.
    pub(crate) round: usize,
}

impl<'a> Bench<'a> {
    pub(crate) async fn prepare(
        repository: &Path,
        program: &Path,
        args: &'a Args,
        stack: &'a Stack,
    ) -> anyhow::Result<Self> {
        stack.up().await?;
        let system = System::configure(program, stack, "bench").await?;
        let pgbench = PgBench::prepare(stack).await?;
        Ok(Self {
            repository: repository.to_owned(),
            args,
            stack,
            system,
            pgbench,
            samples: Samples::default(),
            notes: BTreeMap::new(),
            rows: rows::selected(args),
            round: 0,
        })
    }

    /// Whether a selected row needs it.
    pub(crate) fn needs(&self, part: Part) -> bool {
        self.rows.iter().any(|row| row.parts.contains(&part))
    }

    /// The broker's code is compiled while it runs; what comes first would be measured cold.
    pub(crate) async fn warm_up(&mut self) -> anyhow::Result<()> {
        say("warming up: the first load and the first transactions are not counted");
        self.pgbench.orders(Duration::from_secs(2)).await?;
        let running = self.start(&[]).await?;
        let load = Load { duration: self.args.warming_time(), ..self.maximum() };
        self.load(load, &running).await?;
        running.stop().await
    }

    /// Now nothing of ours works: who else does takes from what is measured.
    pub(crate) async fn look_at_machine(&mut self) {
        let before = machine_seconds();
        tokio::time::sleep(LOOK_TIME).await;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let percent = (machine_seconds() - before) / LOOK_TIME.as_secs_f64() / cores * 100.0;
        if percent > BUSY_PERCENT {
            say(format_args!("the machine is not idle before the round: {percent:.0} % of its CPU is used by others"));
        }
        self.samples.push("machine.busy_before_percent", percent);
    }

    /// All roles in one process.
    pub(crate) async fn start(&self, settings: &[String]) -> anyhow::Result<Running> {
        self.system.start(&[&["all"]], settings).await
    }

    /// As many orders as the system takes.
    pub(crate) fn maximum(&self) -> Load {
        let load = Load::closed(CALLERS, Duration::from_secs(3), self.args.window());
        Load { in_flight_orders_max: self.args.in_flight_orders_max, ..load }
    }

    pub(crate) async fn load(&self, load: Load, running: &Running) -> anyhow::Result<Loaded> {
        load.run(&self.system, running.meter()).await
    }
}
