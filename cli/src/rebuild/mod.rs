//! `openorder rebuild`: what services have made of events of others, made anew.
//!
//! - `analytics.rs`: the ranking in Redis, or all sums.

mod analytics;

use clap::{Args, Subcommand};

use crate::block_on::block_on;
use crate::settings_args::SettingsArgs;

pub use analytics::AnalyticsArgs;

const HELP: &str = "\
Examples:
  openorder rebuild analytics --reason 'Redis was moved'
  openorder rebuild analytics --from-events --reason 'its database was restored'

What is asked for meanwhile is answered as before.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

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
}

impl RebuildArgs {
    /// Where settings come from.
    #[must_use]
    pub fn settings(&self) -> &SettingsArgs {
        match &self.command {
            RebuildCommand::Analytics(args) => &args.through.settings,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &RebuildArgs) -> anyhow::Result<()> {
    match &args.command {
        RebuildCommand::Analytics(args) => block_on(Box::pin(analytics::run(settings, args)))?,
    }
}
