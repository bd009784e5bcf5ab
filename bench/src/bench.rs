//! A run: what it stands on, and what its measurements have in common.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::args::Args;
use crate::load::{Load, Loaded};
use crate::measurements::protocols::Protocols;
use crate::measurements::signed::Signed;
use crate::output::say;
use crate::pgbench::{PgBench, Transactions};
use crate::processes::machine_seconds;
use crate::rows::{self, Part, Row};
use crate::samples::Samples;
use crate::stack::Stack;
use crate::system::{Running, System};

/// Callers at the maximum.
pub(crate) const CALLERS: u32 = 256;

const LOOK_TIME: Duration = Duration::from_secs(1);
/// An idle stack uses less.
const BUSY_PERCENT: f64 = 15.0;

/// A program that is measured: what it runs as, and what was found out about it.
pub(crate) struct Side {
    /// `now`, or `base` for the program that it is compared with.
    pub(crate) label: &'static str,
    pub(crate) system: System,
    pub(crate) samples: Samples,
    /// What is to be said of a row besides its figure, by its id.
    pub(crate) notes: BTreeMap<&'static str, String>,
    /// What could not be measured, and why; it is not tried again.
    pub(crate) failed: BTreeMap<Part, String>,
    /// For row 8: orders that are read, and how their ids are made.
    pub(crate) reads: Option<(System, crate::measurements::stored::Ids)>,
    /// For rows 12, 14 and 19: what has all roles. Where the core runs alone, the others would only pile up work.
    pub(crate) shop: Option<System>,
    /// For row 20.
    pub(crate) signed: Option<Signed>,
    /// For row 21.
    pub(crate) protocols: Option<Protocols>,
}

/// Everything that a measurement needs.
pub(crate) struct Bench<'a> {
    pub(crate) repository: PathBuf,
    pub(crate) args: &'a Args,
    pub(crate) stack: &'a Stack,
    pub(crate) pgbench: PgBench,
    /// Whose turn it is.
    pub(crate) side: Side,
    /// The other one of a pair.
    pub(crate) other: Option<Side>,
    /// All slices of T.
    pub(crate) reference: Samples,
    /// The slice of T before what is measured now.
    pub(crate) before: Option<Transactions>,
    /// The slice of T by which rates are offered: of a pair, both programs are offered the same.
    pub(crate) offered: Option<Transactions>,
    pub(crate) rows: Vec<&'static Row>,
}

impl Side {
    async fn prepare(label: &'static str, program: &Path, stack: &Stack, name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            label,
            system: System::configure(program, stack, name).await?,
            samples: Samples::default(),
            notes: BTreeMap::new(),
            failed: BTreeMap::new(),
            reads: None,
            shop: None,
            signed: None,
            protocols: None,
        })
    }
}

impl<'a> Bench<'a> {
    /// `name` is that of its databases and topics; two in one stack have different ones.
    pub(crate) async fn prepare(
        repository: &Path,
        program: &Path,
        base: Option<&Path>,
        args: &'a Args,
        stack: &'a Stack,
        name: &str,
    ) -> anyhow::Result<Self> {
        stack.up().await?;
        let side = Side::prepare("now", program, stack, &format!("{name}_now")).await?;
        let other = match base {
            // Names of one length: they stand in every topic.
            Some(base) => Some(Side::prepare("base", base, stack, &format!("{name}_was")).await?),
            None => None,
        };
        let pgbench = PgBench::prepare(stack).await?;
        Ok(Self {
            repository: repository.to_owned(),
            args,
            stack,
            pgbench,
            side,
            other,
            reference: Samples::default(),
            before: None,
            offered: None,
            rows: rows::selected(args),
        })
    }

    /// Whether a selected row needs it.
    pub(crate) fn needs(&self, part: Part) -> bool {
        self.rows.iter().any(|row| row.parts.contains(&part))
    }

    /// How many programs are measured.
    pub(crate) fn sides(&self) -> usize {
        1 + usize::from(self.other.is_some())
    }

    /// Makes it the turn of the side with that label.
    pub(crate) fn select(&mut self, label: &str) {
        if let Some(other) = &mut self.other
            && other.label == label
        {
            std::mem::swap(&mut self.side, other);
        }
    }

    /// A slice of T.
    pub(crate) async fn slice(&mut self) -> anyhow::Result<Transactions> {
        let found = self.pgbench.orders(self.args.reference_window()).await?;
        say(format_args!(
            "T: {:.0} transactions/s, p99 {:.1} ms, {:.0} µs of PostgreSQL's CPU each",
            found.per_second, found.p99_ms, found.cpu_us
        ));
        self.reference.push("reference.per_second", found.per_second);
        self.reference.push("reference.p99_ms", found.p99_ms);
        self.reference.push("reference.cpu_us", found.cpu_us);
        Ok(found)
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
        self.reference.push("machine.busy_before_percent", percent);
    }

    /// The roles of the core in one process.
    pub(crate) async fn start(&self, settings: &[String]) -> anyhow::Result<Running> {
        self.side.system.start_core(settings).await
    }

    /// The system that has all roles, its databases migrated.
    pub(crate) async fn shop(&mut self) -> anyhow::Result<&System> {
        if self.side.shop.is_none() {
            let system = self.configure("shop").await?;
            system.start(&[&["all"]], &[]).await?.stop().await?;
            self.side.shop = Some(system);
        }
        self.side.shop.as_ref().context("the shop is configured")
    }

    /// A system of this side with databases, topics and ports of its own.
    pub(crate) async fn configure(&self, name: &str) -> anyhow::Result<System> {
        let of_side = &self.side.system;
        System::configure(of_side.program(), self.stack, &format!("{}_{name}", of_side.name())).await
    }

    /// As many orders as the system takes.
    pub(crate) fn maximum(&self) -> Load {
        let load = Load::closed(CALLERS, Duration::from_secs(3), self.args.window());
        Load { in_flight_orders_max: self.args.in_flight_orders_max, ..load }
    }

    pub(crate) async fn load(&self, load: Load, running: &Running) -> anyhow::Result<Loaded> {
        load.run(&self.side.system, running.meter()).await
    }
}
