//! Asks whether to go on.

use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::bail;

use crate::output;

/// Asks at the terminal whether to go on; nobody to ask is a refusal, which says what to do `instead`.
///
/// # Errors
/// Nobody sits at a terminal, or says no.
pub(crate) fn confirm(question: &str, instead: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        bail!("{question} Nobody is there to be asked: {instead}.");
    }
    output::prompt(format_args!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was done"),
    }
}
