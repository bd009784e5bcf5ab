//! `openorder-bench`: OpenOrder measured against references of the same machine and the same run.
//!
//! - `stack.rs`: a stack of the run's own; `system.rs`: OpenOrder on it;
//! - `load.rs`, `calls.rs`, `orders.rs`: who drives it; `sign_in.rs`: with a token, over TLS; `processes.rs`: what it used;
//! - `pgbench.rs`, `floor.rs`: the references T and L;
//! - `rows.rs`: the figures; `bench.rs`: the run; `measurements/`: how each figure is measured, and in which order;
//! - `samples.rs`, `report.rs`, `machine.rs`: what was found out, and how it is shown;
//! - `pair.rs`, `pair_report.rs`: two programs by turns; `search.rs`: the highest rate that holds.

mod args;
mod bench;
mod calls;
mod floor;
mod load;
mod machine;
mod measurements;
mod orders;
mod output;
mod pair;
mod pair_report;
mod pgbench;
mod processes;
mod report;
mod rows;
mod samples;
mod search;
mod sign_in;
mod stack;
mod system;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use args::Args;
use bench::Bench;
use machine::Machine;
use output::{line, say};
use pair_report::PairReport;
use report::Report;
use stack::Stack;

/// What databases and topics of the run begin with, and those of a second measurement in the same stack.
const NAME: &str = "bench";
const NAME_AGAIN: &str = "again";

fn main() -> ExitCode {
    let args = Args::parse();
    // One thread: the machine is shared with what is measured.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("the runtime").and_then(|runtime| runtime.block_on(Box::pin(run(&args))));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("openorder-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?;
    ensure!(repository.join("dev/stack").exists(), "{} is no repository of OpenOrder", repository.display());
    let program = program(args)?;
    let before = args
        .check
        .as_ref()
        .map(|path| fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display())));
    let before = before.transpose()?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stack = Stack::prepare(repository)?;
    // Whoever is dropped here ends its processes; the stack is ended below, whatever happened.
    let outcome = tokio::select! {
        outcome = measure_all(repository, &program, args, &stack, before.as_deref()) => outcome,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    stack.clean().await;
    match outcome? {
        Outcome::Alone(report, worse) => show(args, &report, &worse),
        Outcome::Pair(report) => show_pair(args, &report),
    }
}

/// What a run found out.
enum Outcome {
    /// And what is worse than recorded: each row's id, and words.
    Alone(Box<Report>, Vec<(String, String)>),
    Pair(Box<PairReport>),
}

async fn measure_all(
    repository: &Path,
    program: &Path,
    args: &Args,
    stack: &Stack,
    before: Option<&str>,
) -> anyhow::Result<Outcome> {
    // Built before anything runs: building takes what is measured.
    let Some(base) = pair::base(repository, args).await? else {
        let (report, worse) = measure_and_check(repository, program, args, stack, before).await?;
        return Ok(Outcome::Alone(Box::new(report), worse));
    };
    let mut bench = Bench::prepare(repository, program, Some(&base.program), args, stack, NAME).await?;
    let machine = Machine::read(repository, bench.pgbench.version().await?).await;
    measurements::run(&mut bench, |_| ()).await?;
    Ok(Outcome::Pair(Box::new(PairReport::of(&mut bench, machine, &base, program))))
}

fn show(args: &Args, report: &Report, worse: &[(String, String)]) -> anyhow::Result<ExitCode> {
    report.table().iter().for_each(line);
    if let Some(path) = &args.json {
        write(path, &(serde_json::to_string_pretty(report)? + "\n"))?;
    }
    if let Some(path) = &args.markdown {
        write(path, &report.markdown()?)?;
    }
    if !report.is_whole() {
        return Ok(ExitCode::FAILURE);
    }
    if args.check.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    if worse.is_empty() {
        line("No ratio is worse than recorded by more than three tenths.");
        return Ok(ExitCode::SUCCESS);
    }
    worse.iter().for_each(|(_, moved)| line(format_args!("WORSE  {moved}")));
    Ok(ExitCode::FAILURE)
}

/// Writes what is measured so far where the whole is to stand.
fn keep(args: &Args, report: Report) {
    let Some(path) = &args.markdown else { return };
    if let Err(error) = report.markdown().and_then(|text| write(path, &text)) {
        say(format_args!("{error:#}"));
    }
}

fn show_pair(args: &Args, report: &PairReport) -> anyhow::Result<ExitCode> {
    report.table().iter().for_each(line);
    if let Some(path) = &args.json {
        write(path, &(serde_json::to_string_pretty(report)? + "\n"))?;
    }
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// The report, and what is worse than `before` has it. A shared machine has bad minutes: what seems worse is measured once
/// more, and is worse only if it is so both times.
async fn measure_and_check(
    repository: &Path,
    program: &Path,
    args: &Args,
    stack: &Stack,
    before: Option<&str>,
) -> anyhow::Result<(Report, Vec<(String, String)>)> {
    let report = measure(repository, program, args, stack, NAME).await?;
    let Some(before) = before else { return Ok((report, Vec::new())) };
    let worse = report.check(before)?;
    if worse.is_empty() {
        return Ok((report, Vec::new()));
    }
    worse.iter().for_each(|(_, moved)| say(format_args!("{moved}; measuring it once more")));
    let rows = worse.iter().map(|(id, _)| id.clone()).collect();
    // The document is the first measurement's.
    let args = Args { rows, markdown: None, ..args.clone() };
    let again = measure(repository, program, &args, stack, NAME_AGAIN).await?;
    ensure!(again.is_whole(), "what is worse could not be measured once more");
    let again = again.check(before)?;
    let both = worse.into_iter().filter(|(id, _)| again.iter().any(|(again, _)| again == id));
    Ok((report, both.collect()))
}

async fn measure(repository: &Path, program: &Path, args: &Args, stack: &Stack, name: &str) -> anyhow::Result<Report> {
    let mut bench = Bench::prepare(repository, program, None, args, stack, name).await?;
    let machine = Machine::read(repository, bench.pgbench.version().await?).await;
    measurements::run(&mut bench, |bench| keep(args, Report::of(bench, machine.clone()))).await?;
    Ok(Report::of(&mut bench, machine))
}

/// The program beside this one, unless another is named.
fn program(args: &Args) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let beside = || Some(own.parent()?.join("openorder"));
    let program = args.program.clone().or_else(beside).context("the program")?;
    if !program.exists() {
        bail!("{} is missing: cargo build --release -p openorder", program.display());
    }
    Ok(program.canonicalize()?)
}
