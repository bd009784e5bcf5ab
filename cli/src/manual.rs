//! `openorder completion` and `openorder man`: what shells and `man` want to know of the command line.

use std::io::Cursor;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;

use crate::output::{self, note};
use crate::settings_args::SettingsArgs;

const NAME: &str = "openorder";

const COMPLETION_HELP: &str = "\
Examples:
  source <(openorder completion bash)                                        # this shell
  openorder completion bash > ~/.local/share/bash-completion/completions/openorder
  openorder completion zsh > \"${fpath[1]}/_openorder\"
  openorder completion fish > ~/.config/fish/completions/openorder.fish";

/// Arguments of `openorder completion`.
#[derive(Clone, Debug, Args)]
#[command(after_help = COMPLETION_HELP)]
pub struct CompletionArgs {
    /// The shell that completes.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

const MAN_HELP: &str = "\
Examples:
  openorder man | man -l -                              the page of the program
  openorder man --directory ~/.local/share/man/man1     a page for each command: man openorder-order-create";

/// Arguments of `openorder man`.
#[derive(Clone, Debug, Args)]
#[command(after_help = MAN_HELP)]
pub struct ManArgs {
    /// Write a page for the program and for each command into this directory, which is made if need be.
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Prints the completion script of a shell for this command line.
pub fn completion(args: &CompletionArgs, command: &mut Command) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, NAME, &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
}

/// Prints the manual page of a command line, or writes those of all its commands.
///
/// # Errors
/// The directory cannot be written to.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<()> {
    let Some(directory) = &args.directory else {
        let mut page = Cursor::new(Vec::new());
        clap_mangen::Man::new(command).render(&mut page)?;
        output::line(String::from_utf8_lossy(page.get_ref()).trim_end());
        return Ok(());
    };
    let write = || {
        std::fs::create_dir_all(directory)?;
        clap_mangen::generate_to(command, directory)
    };
    write().with_context(|| format!("the pages cannot be written to {}", directory.display()))?;
    note(format_args!("the pages are in {}: man -l {0}/openorder.1", directory.display()));
    Ok(())
}
