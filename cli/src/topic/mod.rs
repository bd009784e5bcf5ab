//! `openorder topic`: the events themselves, as they stand in Kafka.
//!
//! - `tail.rs`: the command;
//! - `event.rs`: one event, decoded by its type.

mod event;
mod tail;

use clap::{Args, Subcommand};

use crate::block_on::block_on;
use crate::settings_args::SettingsArgs;

pub use tail::TailArgs;

const HELP: &str = "\
Examples:
  openorder topic tail order.lifecycle.v1                    all that is there
  openorder topic tail order.lifecycle.v1 --follow           what is published from now on
  openorder topic tail --order 01a2b3c4-…                    what was published about one order, on all topics
  openorder topic tail payment.transaction.v1 --from 15m --type payment.transaction.failed
  openorder topic tail order.lifecycle.v1 --output json | jq -r .value.order_id

It reads Kafka itself, at kafka.brokers of the settings; nothing is committed, and no consumer group notices.";

/// Arguments of `openorder topic`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct TopicArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TopicCommand,
}

/// What can be done with topics.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicCommand {
    /// Print the events of topics or of one order, decoded
    Tail(TailArgs),
}

impl TopicArgs {
    /// Where settings come from.
    #[must_use]
    pub fn settings(&self) -> &SettingsArgs {
        match &self.command {
            TopicCommand::Tail(args) => &args.settings,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &TopicArgs) -> anyhow::Result<()> {
    match &args.command {
        TopicCommand::Tail(args) => block_on(Box::pin(tail::run(settings, args)))?,
    }
}
