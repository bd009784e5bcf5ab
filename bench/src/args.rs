//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

const HELP: &str = "\
Examples:
  make bench                                          everything; writes docs/BENCHMARKS.md
  make bench-short                                    two minutes after a warm-up; compares with docs/BENCHMARKS.md
  openorder-bench --rows 2,4,5                        these rows alone
  openorder-bench --rounds 5 --seconds 20             more rounds, longer ones
  openorder-bench --with-clean-build --rows 15        what building costs

bench/README.md says what each figure means and how it is measured.

A goal that is missed is shown as missed; the exit code is 0 all the same. With --check it is 1 when a ratio is worse
than the recorded one by more than three tenths.";

/// Measures OpenOrder against references of the same machine and the same run.
#[derive(Clone, Debug, Parser)]
#[command(name = "openorder-bench", version, after_help = HELP, max_term_width = 120)]
pub(crate) struct Args {
    /// Two minutes after a warm-up: rows 2, 5a, 7, 10, 14 in two short rounds.
    #[arg(long)]
    pub(crate) short: bool,
    /// Rows to measure, such as 2,5,7 [default: all].
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) rows: Vec<String>,
    /// How often everything is measured [default: 3; short: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: Option<u16>,
    /// Seconds of one measurement [default: 10; short: 5].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(3..=600))]
    pub(crate) seconds: Option<u64>,
    /// Seconds of load before the first measurement; the broker's code is compiled meanwhile [default: 60; short: 50].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(3..=600))]
    pub(crate) warm_up: Option<u64>,
    /// Orders created and not yet completed at most, at the maximum.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) in_flight_orders_max: u32,
    /// Orders that are stored before row 9 is measured.
    #[arg(long, value_name = "N", default_value_t = 3_000_000, value_parser = clap::value_parser!(i64).range(1..=100_000_000))]
    pub(crate) stored_orders: i64,
    /// Also builds the program from nothing, in a folder of its own.
    #[arg(long)]
    pub(crate) with_clean_build: bool,
    /// Where the result is written as JSON.
    #[arg(long, value_name = "PATH")]
    pub(crate) json: Option<PathBuf>,
    /// Where the result is written for readers, with the record that --check compares with.
    #[arg(long, value_name = "PATH")]
    pub(crate) markdown: Option<PathBuf>,
    /// Fails when a ratio is worse than in this file by more than three tenths.
    #[arg(long, value_name = "PATH")]
    pub(crate) check: Option<PathBuf>,
    /// The program to measure [default: openorder beside this one].
    #[arg(long, value_name = "PATH")]
    pub(crate) program: Option<PathBuf>,
}

impl Args {
    pub(crate) fn rounds(&self) -> usize {
        usize::from(self.rounds.unwrap_or(if self.short { 2 } else { 3 }))
    }

    /// How long one thing is measured.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.short { 5 } else { 10 }))
    }

    /// How long the broker is warmed up.
    pub(crate) fn warming_time(&self) -> Duration {
        Duration::from_secs(self.warm_up.unwrap_or(if self.short { 50 } else { 60 }))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
