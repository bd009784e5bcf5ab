//! What building costs a developer.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::bench::Bench;
use crate::output::say;
use crate::processes::ended_children_seconds;
use crate::stack::without_settings;

const BUILD_BOUND: Duration = Duration::from_secs(45 * 60);
const CHANGED: &str = "services/payment/src/lib.rs";

pub(crate) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    say(format_args!("building after a change in {CHANGED}"));
    // The first one brings everything else up to date.
    build(bench, None).await?;
    let changed = bench.repository.join(CHANGED);
    File::options().append(true).open(&changed)?.set_modified(SystemTime::now())?;
    let begin = Instant::now();
    build(bench, None).await?;
    let seconds = begin.elapsed().as_secs_f64();
    say(format_args!("build after a change: {seconds:.1} s"));
    bench.side.samples.push("build.incremental_seconds", seconds);
    if bench.args.with_clean_build {
        say("building from nothing");
        let folder = bench.stack.folder().join("target");
        let before = ended_children_seconds();
        build(bench, Some(folder.to_string_lossy().into_owned())).await?;
        bench.side.samples.push("build.clean_cpu_seconds", ended_children_seconds() - before);
    } else {
        bench.side.notes.insert("15b", "asked for with --with-clean-build".to_owned());
    }
    Ok(())
}

async fn build(bench: &Bench<'_>, folder: Option<String>) -> anyhow::Result<()> {
    let mut command = Command::new("cargo");
    without_settings(&mut command);
    command.args(["build", "--release", "--locked", "--quiet", "--package", "openorder"]);
    if let Some(folder) = folder {
        command.env("CARGO_TARGET_DIR", folder);
    }
    command.current_dir(&bench.repository).stdin(Stdio::null()).kill_on_drop(true);
    let status = tokio::time::timeout(BUILD_BOUND, command.status()).await.context("the build takes too long")??;
    ensure!(status.success(), "the build failed");
    Ok(())
}
