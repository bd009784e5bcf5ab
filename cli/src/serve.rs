//! `openorder serve`: settings, telemetry, build, serve, signal, bounded drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use openorder_runtime::{State, install_signals};

use crate::args::{ServeArgs, SettingsArgs};
use crate::settings::ProcessSettings;
use crate::system::{Ending, System};
use crate::{config, output, roles::Role};

/// How long threads may take that wait for a server that is away; then the process ends without them.
const THREADS_DRAIN: Duration = Duration::from_secs(1);
/// How long the last spans and log lines may take to leave.
const TELEMETRY_DRAIN: Duration = Duration::from_secs(5);
/// How much later than calls are answered all may be there, before it is said what is missing.
const SOON: Duration = Duration::from_secs(3);

/// Runs the command, until a signal or a failure.
///
/// # Errors
/// Settings that cannot be used; a task that failed, or had to be cut.
pub fn run(settings: &SettingsArgs, args: &ServeArgs) -> anyhow::Result<()> {
    let roles = args.roles();
    let loaded = config::load(settings, &roles)?;
    let explained = config::document(&loaded, &roles)?;
    let settings = loaded.settings;
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    if settings.process.worker_threads > 0 {
        threads.worker_threads(settings.process.worker_threads);
    }
    let runtime = threads.enable_all().thread_name("openorder").build().context("the threads cannot be started")?;
    let result = runtime.block_on(Box::pin(serve(settings, explained, &roles)));
    runtime.shutdown_timeout(THREADS_DRAIN);
    result
}

async fn serve(settings: ProcessSettings, explained: String, roles: &[Role]) -> anyhow::Result<()> {
    let telemetry = Arc::new(openorder_telemetry::init(&settings.telemetry)?);
    openorder_faults::init()?;
    let started = Instant::now();
    let system = System::start_with(settings, roles, Some(Arc::clone(&telemetry)), Some(explained)).await?;
    install_signals(system.shutdown().clone()).context("signals cannot be received")?;
    announce(&system);
    tokio::select! {
        () = system.stop_requested() => {}
        () = announce_readiness(&system, started) => {}
    }
    let ending = system.stop().await;
    tell(&ending);
    telemetry.shutdown(TELEMETRY_DRAIN).await;
    match ending {
        Ending { failure: Some(failure), .. } => bail!("stopped because of a failure: {failure}"),
        Ending { cut, .. } if !cut.is_empty() => {
            bail!("these tasks did not end within process.drain_timeout_ms and were cut: {}", cut.join(", "))
        }
        _ => Ok(()),
    }
}

fn announce(system: &System) {
    output::announce(format_args!("openorder {}", env!("CARGO_PKG_VERSION")));
    for (role, address) in system.addresses() {
        output::announce(format_args!("  {role:<13} {address}"));
    }
    output::announce(format_args!(
        "  {:<13} http://{}/readyz /livez /metrics /config",
        "admin",
        system.admin_address()
    ));
}

/// Says once that calls are answered, and once that all is there; then waits for the stop like everybody.
async fn announce_readiness(system: &System, started: Instant) {
    let readiness = system.readiness();
    readiness.wait_serving().await;
    let seconds = || started.elapsed().as_secs_f64();
    let served_after = seconds();
    if tokio::time::timeout(SOON, readiness.wait_ready()).await.is_err() {
        let missing = readiness.snapshot().into_iter().filter(|one| one.state != State::Ready);
        let missing: Vec<_> = missing.map(|one| format!("{}/{}", one.role, one.name)).collect();
        output::announce(format_args!("calls are answered after {served_after:.1} s; without {}", missing.join(", ")));
        readiness.wait_ready().await;
    }
    output::announce(format_args!("ready after {:.1} s", seconds()));
    system.stop_requested().await;
}

fn tell(ending: &Ending) {
    if ending.is_clean() {
        tracing::info!("all work in hand has ended");
    }
    for task in &ending.cut {
        tracing::error!(task, "a task did not end in time and was cut");
    }
}
