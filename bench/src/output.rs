//! What the program says: results to standard output, progress to standard error.

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Instant;

static STARTED: OnceLock<Instant> = OnceLock::new();

/// A progress line with the seconds since the first one.
pub(crate) fn say(text: impl fmt::Display) {
    let seconds = STARTED.get_or_init(Instant::now).elapsed().as_secs_f64();
    drop(writeln!(io::stderr().lock(), "[{seconds:6.1} s] {text}"));
}

/// A line of the result.
pub(crate) fn line(text: impl fmt::Display) {
    drop(writeln!(io::stdout().lock(), "{text}"));
}
