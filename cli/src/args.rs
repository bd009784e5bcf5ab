//! The command line: what can be asked of the program.

use clap::{Parser, Subcommand};

use crate::certs::CertsArgs;
use crate::config::ConfigArgs;
use crate::demo::DemoArgs;
use crate::load::LoadArgs;
use crate::login::{LoginArgs, LogoutArgs};
use crate::logs::LogsArgs;
use crate::manual::{CompletionArgs, ManArgs};
use crate::operate::audit::AuditArgs;
use crate::operate::dlq::DlqArgs;
use crate::operate::health::HealthArgs;
use crate::operate::lag::LagArgs;
use crate::operate::parked::ParkedArgs;
use crate::operate::replay::ReplayArgs;
use crate::order::OrderArgs;
use crate::probe::ProbeArgs;
use crate::rebuild::RebuildArgs;
use crate::serve::ServeArgs;
use crate::settings_args::SettingsArgs;
use crate::token::TokenArgs;
use crate::topic::TopicArgs;
use crate::user::UserArgs;
use crate::verify::VerifyArgs;

const EXAMPLES: &str = "\
Examples:
  openorder serve all                        every role in one process, on a laptop
  openorder serve order                      one role; in production each is a process of its own
  openorder config --explain                 every setting: value, where it came from, what it means
  openorder demo                             place orders through a running system and watch them
  openorder login --email ada@example.com    the other commands act as whoever signed in, or by OPENORDER_TOKEN
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
    /// Where settings come from, as given before the command.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Where settings come from, as given before and behind the command.
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
            Command::Rebuild(args) => args.settings(),
            Command::Audit(args) => &args.through.settings,
            Command::Order(args) => args.settings(),
            Command::Topic(args) => args.settings(),
            Command::User(args) => args.settings(),
            Command::Login(args) => &args.settings,
            Command::Logout(args) => &args.settings,
            Command::Token(args) => &args.settings,
            Command::Certs(args) => args.settings(),
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
    /// Make anew what a service has made of events: its sums, its ranking, its documents
    Rebuild(RebuildArgs),
    /// Show who did what, when and why
    Audit(AuditArgs),
    /// Make orders by hand, and look at them
    Order(OrderArgs),
    /// Look at the events in Kafka, decoded
    Topic(TopicArgs),
    /// Users, their roles and keys
    User(UserArgs),
    /// Sign in: the other commands act as whoever did
    Login(LoginArgs),
    /// Sign out
    Logout(LogoutArgs),
    /// Print an access token of whoever signed in, for other programs
    Token(TokenArgs),
    /// Make certificates for development
    Certs(CertsArgs),
    /// Print the completion script of a shell
    Completion(CompletionArgs),
    /// Print or write the manual pages
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
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
}
