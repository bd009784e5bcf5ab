//! `openorder rebuild`: what services have made of events of others, made anew.
//!
//! - `analytics.rs`: the ranking in Redis, or all sums;
//! - `history.rs`: the documents of orders.

mod analytics;
mod history;

use clap::{Args, Subcommand};

use crate::block_on::block_on;
use crate::settings_args::SettingsArgs;

pub use analytics::AnalyticsArgs;
pub use history::HistoryArgs;

const HELP: &str = "\
Examples:
  openorder rebuild analytics --reason 'Redis was moved'
  openorder rebuild analytics --from-events --reason 'its database was restored'
  openorder rebuild history --reason 'its database was restored'

What is asked for meanwhile is answered as before.

Exit codes: 0 done, 1 refused, failed or called off, 2 wrong arguments.";

/// Arguments of `openorder rebuild`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct RebuildArgs {
    /// What to make anew.
    #[command(subcommand)]
    pub command: RebuildCommand,
}

/// What can be made anew.
#[derive(Clone, Debug, Subcommand)]
pub enum RebuildCommand {
    /// Write the ranking of products anew, or count all orders anew
    Analytics(AnalyticsArgs),
    /// Build the documents of orders anew, from the services' event logs
    History(HistoryArgs),
}

impl RebuildArgs {
    /// Where settings come from.
    #[must_use]
    pub fn settings(&self) -> &SettingsArgs {
        match &self.command {
            RebuildCommand::Analytics(args) => &args.through.settings,
            RebuildCommand::History(args) => &args.through.settings,
        }
    }
}

/// Runs the command; whether what was asked for is made.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &RebuildArgs) -> anyhow::Result<bool> {
    match &args.command {
        RebuildCommand::Analytics(args) => block_on(Box::pin(analytics::run(settings, args)))?.map(|()| true),
        RebuildCommand::History(args) => block_on(Box::pin(history::run(settings, args)))?,
    }
}
