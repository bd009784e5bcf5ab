//! Passwords, as they are typed.

use std::io::{self, BufRead, IsTerminal};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::output;

/// Reads a password: typed unseen on a terminal, elsewhere the first line of standard input.
///
/// # Errors
/// None is given, or standard input cannot be read.
pub(crate) fn read(question: &str) -> anyhow::Result<String> {
    let is_typed = io::stdin().is_terminal();
    if is_typed {
        output::prompt(format_args!("{question}: "));
    }
    let unseen = is_typed && stty("-echo");
    let mut text = String::new();
    let answer = io::stdin().lock().read_line(&mut text);
    if unseen {
        stty("echo");
        output::note("");
    }
    answer.context("the password cannot be read")?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        bail!("a password is needed, on the terminal or as the first line of standard input");
    }
    Ok(password.to_owned())
}

/// As [`read`], of a new one: on a terminal it is typed twice.
///
/// # Errors
/// As [`read`]; the two differ.
pub(crate) fn read_new() -> anyhow::Result<String> {
    let password = read("New password")?;
    if io::stdin().is_terminal() && read("Once more")? != password {
        bail!("the two passwords differ");
    }
    Ok(password)
}

fn stty(mode: &str) -> bool {
    let run = Command::new("stty").arg(mode).stdin(Stdio::inherit()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}
