//! `openorder serve`: settings, telemetry, build, serve, signal, bounded drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;
use openorder_runtime::{State, install_signals};

use crate::roles::Role;
use crate::settings::ProcessSettings;
use crate::settings_args::SettingsArgs;
use crate::system::{Ending, System};
use crate::{config, output};

/// Every role, on the command line.
const ALL: &str = "all";

/// How long threads may take that wait for a server that is away; then the process ends without them.
const THREADS_DRAIN: Duration = Duration::from_secs(1);
/// How long the last spans and log lines may take to leave.
const TELEMETRY_DRAIN: Duration = Duration::from_secs(5);
/// How much later than calls are answered all may be there, before it is said what is missing.
const SOON: Duration = Duration::from_secs(3);

const SERVE_HELP: &str = "\
Examples:
  openorder serve all
  openorder serve gateway order
  openorder serve all --anonymous                 nobody has to sign in; for a machine of one's own
  openorder serve inventory --set inventory.listen_address=127.0.0.1:9103 --set kafka.brokers=kafka:9092

The order in which processes and their servers start does not matter: a role waits for what it needs, says so in its
log and on the admin port (/readyz), and begins when it is there. Without Kafka, Redis or a provider of messages it
answers calls all the same: it is degraded, and what it does by itself waits.

The first SIGTERM or SIGINT begins the drain: no new work is taken, work in hand ends within
process.drain_timeout_ms. A second one ends the process at once. The exit code is 0 after a clean drain, 1 when a task
failed or had to be cut, 2 when the settings cannot be used.";

/// Arguments of `openorder serve`.
#[derive(Clone, Debug, Args)]
#[command(after_help = SERVE_HELP)]
pub struct ServeArgs {
    /// The roles of this process, or `all`.
    #[arg(required = true, value_name = "ROLE", value_parser = roles())]
    pub roles: Vec<String>,
    /// Who a caller of the gateway without a token is, on loopback: an operator, who may do everything, or nobody
    /// (gateway.anonymous; none by default).
    #[arg(long, value_name = "WHO", value_parser = ["operator", "none"])]
    #[arg(num_args = 0..=1, default_missing_value = "operator")]
    pub anonymous: Option<String>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl ServeArgs {
    /// Each role once, in the order of [`Role::ALL`].
    #[must_use]
    pub fn roles(&self) -> Vec<Role> {
        let asked = |role: &Role| self.roles.iter().any(|name| name == ALL || name == role.name());
        Role::ALL.iter().copied().filter(asked).collect()
    }

    /// The settings that have an argument of their own.
    fn given(&self) -> SettingsArgs {
        let set = self.anonymous.iter().map(|who| format!("gateway.anonymous={who}")).collect();
        SettingsArgs { set, ..SettingsArgs::default() }
    }
}

fn roles() -> PossibleValuesParser {
    PossibleValuesParser::new(Role::ALL.iter().map(|role| role.name()).chain([ALL]))
}

/// Runs the command, until a signal or a failure.
///
/// # Errors
/// Settings that cannot be used; a task that failed, or had to be cut.
pub fn run(settings: &SettingsArgs, args: &ServeArgs) -> anyhow::Result<()> {
    let roles = args.roles();
    let loaded = config::load(&settings.then(&args.given()), &roles)?;
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
    // Boxed: the settings of all roles are large, and read once.
    let starting = Box::pin(System::start_with(settings, roles, Some(Arc::clone(&telemetry)), Some(explained)));
    let system = starting.await?;
    install_signals(system.shutdown().clone()).context("signals cannot be received")?;
    announce(&system);
    tokio::select! {
        () = system.stop_requested() => {}
        () = announce_readiness(&system, started) => {}
    }
    let ending = system.stop().await;
    log_ending(&ending);
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

fn log_ending(ending: &Ending) {
    if ending.is_clean() {
        tracing::info!("all work in hand has ended");
    }
    for task in &ending.cut {
        tracing::error!(task, "a task did not end in time and was cut");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn served(arguments: &[&str]) -> Vec<Role> {
        Line::try_parse_from([&["serve"], arguments].concat()).unwrap().serve.roles()
    }

    #[test]
    fn roles_are_served_once_each_however_often_they_are_named() {
        assert_eq!(served(&["all"]), Role::ALL);
        assert_eq!(served(&["order", "all", "order"]), Role::ALL);
        assert_eq!(served(&["inventory", "gateway", "inventory"]), [Role::Gateway, Role::Inventory]);
        assert!(Line::try_parse_from(["serve"]).is_err());
        assert!(Line::try_parse_from(["serve", "warehouse"]).is_err());
    }

    #[test]
    fn who_a_caller_without_a_token_is_may_be_an_argument() {
        let given = |arguments: &[&str]| {
            let line = Line::try_parse_from([&["serve", "gateway"], arguments].concat());
            line.map(|line| line.serve.given().set).map_err(|error| error.kind())
        };
        assert_eq!(given(&["--anonymous", "none"]), Ok(vec!["gateway.anonymous=none".to_owned()]));
        for operator in [&["--anonymous"][..], &["--anonymous", "operator"], &["--anonymous=operator"]] {
            assert_eq!(given(operator), Ok(vec!["gateway.anonymous=operator".to_owned()]));
        }
        assert_eq!(given(&[]), Ok(Vec::new()));
        assert!(given(&["--anonymous", "king"]).is_err());
    }
}
