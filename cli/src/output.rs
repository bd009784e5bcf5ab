//! The only place that writes to the terminal: results to standard output, all else to standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process;

use clap::ValueEnum;

/// How a result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; one JSON document.
    Json,
}

/// A line of the result.
pub fn line(text: impl fmt::Display) {
    let gone = |error: io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if write(io::stdout().lock(), format_args!("{text}\n")).is_err_and(gone) {
        // Whoever read the result has left (`openorder config | head`): there is nobody to work for.
        process::exit(0);
    }
}

/// A line about a server to standard output; the server goes on when nobody reads it.
pub fn announce(text: impl fmt::Display) {
    drop(write(io::stdout().lock(), format_args!("{text}\n")));
}

/// A result as a JSON document.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A line about the work: progress, warnings.
pub fn note(text: impl fmt::Display) {
    drop(write(io::stderr().lock(), format_args!("{text}\n")));
}

/// How far the work is: on a terminal one line that is written anew, elsewhere a line each.
pub fn progress(text: impl fmt::Display) {
    if io::stderr().is_terminal() {
        drop(write(io::stderr().lock(), format_args!("\r\x1b[K{text}")));
    } else {
        note(text);
    }
}

/// Ends the line of [`progress`].
pub fn progress_ends() {
    if io::stderr().is_terminal() {
        drop(write(io::stderr().lock(), format_args!("\r\x1b[K")));
    }
}

/// A question; the cursor stays behind it.
pub fn prompt(text: impl fmt::Display) {
    drop(write(io::stderr().lock(), format_args!("{text}")));
}

/// Why the program ends without a result.
pub fn error(text: impl fmt::Display) {
    note(format_args!("openorder: {text}"));
}

fn write(mut to: impl Write, text: fmt::Arguments<'_>) -> io::Result<()> {
    to.write_fmt(text)?;
    to.flush()
}

/// Text in columns, two spaces between them; the last one is not padded.
#[must_use]
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or_default()).collect();
    let padded = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "é".to_owned(), "x".to_owned()], vec!["long".to_owned(), "bb".to_owned()]];
        assert_eq!(columns(&rows), ["a     é   x", "long  bb"]);
        assert!(columns(&[]).is_empty());
    }
}
