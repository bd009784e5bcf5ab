//! The command line: what can be asked of the program.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::demo::DemoArgs;
use crate::load::LoadArgs;
use crate::manual::{CompletionArgs, ManArgs};
use crate::operate::audit::AuditArgs;
use crate::operate::dlq::DlqArgs;
use crate::operate::health::HealthArgs;
use crate::operate::lag::LagArgs;
use crate::operate::parked::ParkedArgs;
use crate::operate::replay::ReplayArgs;
use crate::order::OrderArgs;
use crate::output::Format;
use crate::roles::Role;
use crate::topic::TopicArgs;
use crate::verify::VerifyArgs;

const ALL: &str = "all";

const EXAMPLES: &str = "\
Examples:
  openorder serve all                        every role in one process, on a laptop
  openorder serve order                      one role; in production each is a process of its own
  openorder config --explain                 every setting: value, where it came from, what it means
  openorder demo                             place orders through a running system and watch them
  openorder order create --customer anna --line chair=2 --until preparing
  openorder load --callers 64 --duration 30s
  openorder topic tail order.lifecycle.v1    the events themselves
  openorder verify                           whether nothing was lost, doubled or oversold
  openorder health                           what an operator should look at, and what to type next
  openorder dlq list --by-cause              messages that were given up, and why

Settings come from, the later winning: defaults; a TOML file (--config, OPENORDER_CONFIG, ./openorder.toml);
the environment (OPENORDER_ORDER_LISTEN_ADDRESS for order.listen_address); --set order.listen_address=….

Exit codes: 0 done, 1 failed, 2 wrong arguments or settings, or (verify) something could not be checked.";

/// OpenOrder: orders, stock and payments over Kafka, from one program.
#[derive(Debug, Parser)]
#[command(name = "openorder", version, after_help = EXAMPLES, max_term_width = 120)]
pub struct Cli {
    /// What was said about settings before the command.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where settings come from besides defaults and environment. Every command takes them, and so does the program itself:
/// clap's global arguments would lose what stands before the command when more stands behind it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingsArgs {
    /// TOML file of settings, instead of OPENORDER_CONFIG or ./openorder.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A setting, above file and environment; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl SettingsArgs {
    /// These, and above them those that came later.
    #[must_use]
    pub fn then(&self, later: &Self) -> Self {
        let config = later.config.as_ref().or(self.config.as_ref());
        Self { config: config.cloned(), set: [self.set.as_slice(), later.set.as_slice()].concat() }
    }
}

impl Cli {
    /// What was said about settings, before and behind the command.
    #[must_use]
    pub fn all_settings(&self) -> SettingsArgs {
        let behind = match &self.command {
            Command::Serve(args) => &args.settings,
            Command::Config(args) => &args.settings,
            Command::Probe(args) => &args.settings,
            Command::Demo(args) => &args.settings,
            Command::Load(args) => &args.settings,
            Command::Logs(args) => &args.settings,
            Command::Verify(args) => &args.settings,
            Command::Health(args) => &args.through.settings,
            Command::Lag(args) => &args.through.settings,
            Command::Dlq(args) => args.settings(),
            Command::Parked(args) => &args.through.settings,
            Command::Replay(args) => &args.through.settings,
            Command::Audit(args) => &args.through.settings,
            Command::Order(args) => args.settings(),
            Command::Topic(args) => args.settings(),
            Command::Completion(args) => &args.settings,
            Command::Man(args) => &args.settings,
        };
        self.settings.then(behind)
    }
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve one, several or all roles until SIGTERM
    Serve(ServeArgs),
    /// Show or check the settings
    Config(ConfigArgs),
    /// Ask a running process whether it is ready: exit code 0 if it is
    Probe(ProbeArgs),
    /// Place orders through the gateway and follow each to its end
    Demo(DemoArgs),
    /// Put load on a running system and measure it
    Load(LoadArgs),
    /// Read the log file of a role
    Logs(LogsArgs),
    /// Check on the running system that nothing is lost, doubled or oversold
    Verify(VerifyArgs),
    /// Show every role at a glance, and what to look at: exit code 0 if nothing
    Health(HealthArgs),
    /// Show how far consumer groups are behind
    Lag(LagArgs),
    /// Look at dead letters, replay and discard them
    Dlq(DlqArgs),
    /// List messages that failed and are tried again by themselves
    Parked(ParkedArgs),
    /// Give events of one service's log to one consumer group again
    Replay(ReplayArgs),
    /// Show who did what, when and why
    Audit(AuditArgs),
    /// Make orders by hand, and look at them
    Order(OrderArgs),
    /// Look at the events in Kafka, decoded
    Topic(TopicArgs),
    /// Print the completion script of a shell
    Completion(CompletionArgs),
    /// Print or write the manual pages
    Man(ManArgs),
}

const SERVE_HELP: &str = "\
Examples:
  openorder serve all
  openorder serve gateway order
  openorder serve inventory --set inventory.listen_address=0.0.0.0:8103 --set kafka.brokers=kafka:9092

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
    /// What was said about settings.
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
}

fn roles() -> PossibleValuesParser {
    PossibleValuesParser::new(Role::ALL.iter().map(|role| role.name()).chain([ALL]))
}

const CONFIG_HELP: &str = "\
Examples:
  openorder config                                   every setting that this shell gives, as --explain
  openorder config --server                          those that the running server has
  openorder config --example > openorder.toml        a file to begin with: all settings, commented out
  openorder config --explain --output json
  OPENORDER_KAFKA_PARTITIONS=0 openorder config --check
  openorder --config production.toml config --check

The running server is asked on its admin port: admin.listen_address of the settings. Secrets are never shown; of a URL,
all but its password is.";

/// Arguments of `openorder config`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CONFIG_HELP)]
pub struct ConfigArgs {
    /// Print each setting with its value, its source and its meaning. The default.
    #[arg(long, conflicts_with = "check")]
    pub explain: bool,
    /// Show the settings of the server that runs, not those of this shell.
    #[arg(long, conflicts_with_all = ["check", "example"])]
    pub server: bool,
    /// Print an example of openorder.toml: every setting with its meaning and default, commented out.
    #[arg(long, conflicts_with_all = ["check", "explain", "output"])]
    pub example: bool,
    /// Only say whether the settings can be used, and everything that is wrong with them.
    #[arg(long)]
    pub check: bool,
    /// How the result is written.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// What was said about settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

const PROBE_HELP: &str = "\
Examples:
  openorder probe                              for a container's health check
  openorder probe --address 127.0.0.1:9081
  until openorder probe; do sleep 1; done

Exit code 0: it answers calls (ready, or degraded: work in the background waits). 1: it does not, or nobody is there.
What is waited for is printed.";

/// Arguments of `openorder probe`.
#[derive(Clone, Debug, Args)]
#[command(after_help = PROBE_HELP)]
pub struct ProbeArgs {
    /// Admin port of the process [default: admin.listen_address of the settings, 127.0.0.1:8081].
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// How long the answer may take.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
    /// How the result is written.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// What was said about settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

const LOGS_HELP: &str = "\
Examples:
  openorder logs order                         the last 50 lines
  openorder logs payment --follow
  openorder logs inventory --lines 500 --output json | jq 'select(.level == \"WARN\")'

Roles write files when telemetry.log_directory is set; lines that belong to no role stand in openorder.log.";

/// Arguments of `openorder logs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = LOGS_HELP)]
pub struct LogsArgs {
    /// Whose log.
    #[arg(value_name = "ROLE", value_parser = log_names())]
    pub role: String,
    /// Stay and print what is added, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// Lines from the end of the file to begin with.
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub lines: u32,
    /// Directory of the files [default: telemetry.log_directory of the settings, or of the running server].
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// `text` for eyes; `json` for the lines as they stand in the file.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// What was said about settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// The file names of the log writer: the roles, and `openorder` for lines of none.
fn log_names() -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(Role::ALL.iter().map(|role| role.name()).chain(["openorder"]))
}

/// Reads `250ms`, `20s`, `5m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let form = || "must be a whole number with its unit: 250ms, 20s, 5m".to_owned();
    let number: u64 = number.parse().map_err(|_| form())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(form),
        _ => Err(form()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn served(arguments: &[&str]) -> Vec<Role> {
        let cli = Cli::try_parse_from([&["openorder", "serve"], arguments].concat()).unwrap();
        let Command::Serve(serve) = cli.command else { panic!("not serve") };
        serve.roles()
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn roles_are_served_once_each_however_often_they_are_named() {
        assert_eq!(served(&["all"]), Role::ALL);
        assert_eq!(served(&["order", "all", "order"]), Role::ALL);
        assert_eq!(served(&["inventory", "gateway", "inventory"]), [Role::Gateway, Role::Inventory]);
        assert!(Cli::try_parse_from(["openorder", "serve"]).is_err());
        assert!(Cli::try_parse_from(["openorder", "serve", "warehouse"]).is_err());
    }

    #[test]
    fn settings_may_stand_before_and_after_the_command() {
        let cli = Cli::try_parse_from(["openorder", "--set", "a=1", "serve", "all", "--set", "b=2", "--config", "f"]);
        let settings = cli.unwrap().all_settings();
        assert_eq!(settings.config, Some(PathBuf::from("f")));
        assert_eq!(settings.set, ["a=1", "b=2"]);
    }

    #[test]
    fn every_command_and_flag_says_what_it_is_for() {
        let all = Cli::command();
        let nested = all.get_subcommands().flat_map(|command| command.get_subcommands());
        for command in all.get_subcommands().chain(nested) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            assert!(command.get_after_help().is_some(), "{} has no examples", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "20", "s", "1.5s", "-1s", "1h", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
