//! `openorder dlq`: dead letters, wherever they are.

mod cancel;
mod discard;
mod list;
mod replay;
mod set;
mod show;

use clap::{Args, Subcommand};

use crate::block_on::block_on;
use crate::settings_args::SettingsArgs;

use cancel::CancelArgs;
use discard::DiscardArgs;
use list::ListArgs;
use replay::ReplayArgs;
use show::ShowArgs;

const HELP: &str = "\
A dead letter is a message that a consumer group gave up: its attempts were used up, or no attempt can help. Its key
(such as one order) is stopped in that group until the letter is replayed or discarded; all other keys flow.

Examples:
  openorder dlq list --by-cause                        what is wrong, most frequent first
  openorder dlq list --group inventory --since 1h
  openorder dlq show inventory/42                      its value as JSON, its headers, its attempts
  openorder dlq replay inventory/42 --reason 'mended in 1.4.2'
  openorder dlq discard inventory/42 --reason 'made by a test'

Exit codes: 0 done, 1 failed or refused, 2 wrong arguments.";

/// Arguments of `openorder dlq`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct DlqArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DlqCommand,
}

/// What can be done with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum DlqCommand {
    /// List them, or their causes
    List(ListArgs),
    /// Show one: value, headers, attempts, trace
    Show(ShowArgs),
    /// Give them back to their consumer groups, once what was wrong is mended
    Replay(ReplayArgs),
    /// Stop a replay: what was not given back yet stays dead
    Cancel(CancelArgs),
    /// Take them away for good
    Discard(DiscardArgs),
}

impl DlqArgs {
    /// Where settings come from.
    #[must_use]
    pub fn settings(&self) -> &SettingsArgs {
        match &self.command {
            DlqCommand::List(args) => &args.through.settings,
            DlqCommand::Show(args) => &args.through.settings,
            DlqCommand::Replay(args) => &args.through.settings,
            DlqCommand::Cancel(args) => &args.through.settings,
            DlqCommand::Discard(args) => &args.through.settings,
        }
    }
}

/// Runs the command; whether all went well.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &DlqArgs) -> anyhow::Result<bool> {
    match &args.command {
        DlqCommand::List(args) => block_on(Box::pin(list::run(settings, args)))?.map(|()| true),
        DlqCommand::Show(args) => block_on(Box::pin(show::run(settings, args)))?.map(|()| true),
        DlqCommand::Replay(args) => block_on(Box::pin(replay::run(settings, args)))?,
        DlqCommand::Cancel(args) => block_on(Box::pin(cancel::run(settings, args)))?.map(|()| true),
        DlqCommand::Discard(args) => block_on(Box::pin(discard::run(settings, args)))?.map(|()| true),
    }
}
