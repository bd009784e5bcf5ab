//! The only place that writes to the terminal: results to standard output, all else to standard error.
//!
//! Much of what is shown was written by strangers: keys, headers and values of records, texts of failures. None of it
//! commands the terminal: characters that do something, and are nothing to read, are shown as `\u{1b}`.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process;

use clap::ValueEnum;
use openorder_types::is_unprintable;
use unicode_width::UnicodeWidthStr;

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
    if write(io::stdout().lock(), &format!("{}\n", printable(&text.to_string()))).is_err_and(gone) {
        // Whoever read the result has left (`openorder config | head`): there is nobody to work for.
        process::exit(0);
    }
}

/// A line about a server to standard output; the server goes on when nobody reads it.
pub fn announce(text: impl fmt::Display) {
    drop(write(io::stdout().lock(), &format!("{}\n", printable(&text.to_string()))));
}

/// A result as a JSON document.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(json_printable(&serde_json::to_string_pretty(value)?));
    Ok(())
}

/// A JSON document on one line, where a result is a document a line.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn json_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    line(json_printable(&serde_json::to_string(value)?));
    Ok(())
}

/// A JSON document as it stands, with what a terminal would obey written as JSON writes it.
#[must_use]
pub fn json_printable(document: &str) -> Cow<'_, str> {
    escaped(
        document,
        |letter| is_unprintable(letter) && letter != '\n',
        |letter| format!("\\u{:04x}", u32::from(letter)),
    )
}

/// A line about the work: progress, warnings.
pub fn note(text: impl fmt::Display) {
    drop(write(io::stderr().lock(), &format!("{}\n", printable(&text.to_string()))));
}

/// How far the work is: on a terminal one line that is written anew, elsewhere a line each.
pub fn progress(text: impl fmt::Display) {
    if io::stderr().is_terminal() {
        drop(write(io::stderr().lock(), &format!("\r\x1b[K{}", printable(&text.to_string()))));
    } else {
        note(text);
    }
}

/// Ends the line of [`progress`].
pub fn progress_ends() {
    if io::stderr().is_terminal() {
        drop(write(io::stderr().lock(), "\r\x1b[K"));
    }
}

/// A question; the cursor stays behind it.
pub fn prompt(text: impl fmt::Display) {
    drop(write(io::stderr().lock(), &printable(&text.to_string())));
}

/// Why the program ends without a result.
pub fn error(text: impl fmt::Display) {
    note(format_args!("openorder: {text}"));
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}

/// Text of several lines that commands no terminal.
fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| is_unprintable(letter) && !matches!(letter, '\n' | '\t'), visible)
}

/// Text of one line that commands no terminal: a line break in it is shown, not made.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unprintable, visible)
}

fn visible(letter: char) -> String {
    letter.escape_unicode().to_string()
}

fn escaped(text: &str, is_wrong: impl Fn(char) -> bool, shown: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.chars().any(&is_wrong) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_wrong(letter) { clean.push_str(&shown(letter)) } else { clean.push(letter) }
    }
    Cow::Owned(clean)
}

/// Text in columns, two spaces between them; the last one is not padded. Each row is one line.
///
/// Columns line up on a terminal: a Korean letter or an emoji takes two places there, a combining accent none.
#[must_use]
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let rows: Vec<Vec<Cow<'_, str>>> = rows.iter().map(|row| row.iter().map(|cell| one_line(cell)).collect()).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or_default()).collect();
    let padded = |row: &Vec<Cow<'_, str>>| {
        let pad = |(cell, width): (&Cow<'_, str>, &usize)| format!("{cell}{}", " ".repeat(width - cell.width()));
        let cells = row.iter().zip(&widths).map(pad);
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_commands_no_terminal() {
        let clear = "a\u{1b}[2J\u{7}\u{9b}1m\u{202E}b\rc";
        let shown = "a\\u{1b}[2J\\u{7}\\u{9b}1m\\u{202e}b\\u{d}c";
        assert_eq!(printable(clear), shown);
        assert_eq!(printable("two\nlines\tä"), "two\nlines\tä");
        assert_eq!(one_line("two\nlines"), "two\\u{a}lines");
        let rows = [vec!["x\ny".to_owned(), clear.to_owned()]];
        assert_eq!(columns(&rows), [format!("x\\u{{a}}y  {shown}")]);
        let document = serde_json::to_string_pretty(&serde_json::json!({ "type": clear })).unwrap();
        let json = json_printable(&document);
        assert!(!json.chars().any(|letter| is_unprintable(letter) && letter != '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["type"], clear);
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "é".to_owned(), "x".to_owned()], vec!["long".to_owned(), "bb".to_owned()]];
        assert_eq!(columns(&rows), ["a     é   x", "long  bb"]);
        assert!(columns(&[]).is_empty());
    }

    #[test]
    fn columns_line_up_on_a_terminal_with_letters_of_any_width() {
        // Two places a Korean syllable, an emoji and a family of four; none a combining accent and a joiner.
        let cells = ["의자", "🪑", "👩‍👩‍👧‍👦", "cafe\u{301}", "ＡＢ", "plain", ""];
        let rows: Vec<Vec<String>> = cells.iter().map(|cell| vec![(*cell).to_owned(), "|".to_owned()]).collect();
        for line in columns(&rows) {
            let before = line.split_once('|').map(|(before, _)| before.width());
            assert_eq!(before, Some(5 + 2), "{line}");
        }
        assert_eq!(columns(&rows)[..2], ["의자   |", "🪑     |"]);
    }

    #[test]
    fn a_json_line_stays_json_and_commands_no_terminal() {
        let text = "\u{1b}[2J\u{9b}\u{202e}\u{7f}의자";
        let document = serde_json::json!({ "key": text }).to_string();
        let shown = json_printable(&document).into_owned();
        assert!(!shown.contains(is_unprintable), "{shown:?}");
        assert_eq!(printable(&shown), shown, "what prints it changes nothing more");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["key"], text);
    }
}
