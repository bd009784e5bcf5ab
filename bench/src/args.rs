//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

const HELP: &str = "\
Examples:
  make bench                                          everything; writes docs/BENCHMARKS.md
  make bench-short                                    two minutes after a warm-up; compares with docs/BENCHMARKS.md
  make bench ARGS=\"--pair main --rows 2,5a\"           this tree's program and main's, by turns
  openorder-bench --rows 2,4,5                        these rows alone
  openorder-bench --rounds 10 --seconds 20            more rounds, longer ones
  openorder-bench --with-clean-build --rows 15        what building costs

bench/README.md says what each figure means and how it is measured.

A goal that is missed is shown as missed; the exit code is 0 all the same. With --check it is 1 when a ratio is worse
than the recorded one by more than three tenths. It is 1 as well when something could not be measured.";

const WINDOW_SECONDS: u64 = 10;
const WINDOW_SECONDS_SHORT: u64 = 5;
const ROUNDS: u16 = 6;
const ROUNDS_SHORT: u16 = 2;
const WARM_UP_SECONDS_MAX: u64 = 240;
const WARM_UP_SECONDS_MAX_SHORT: u64 = 40;
const HOLD_SECONDS: u64 = 600;
const HOLD_SECONDS_SHORT: u64 = 20;
const HOLD_SECONDS_PAIR: u64 = 60;
/// A slice of T, at least: below, one slow second counts too much.
const REFERENCE_SECONDS_MIN: u64 = 3;
const STORED_ORDERS: i64 = 3_000_000;

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
    /// How often everything is measured [default: 6; short: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) rounds: Option<u16>,
    /// Seconds of one measurement; a slice of T takes half of it, at least 3 [default: 10; short: 5].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(3..=600))]
    pub(crate) seconds: Option<u64>,
    /// Seconds of load before the first measurement, at most; it ends when the broker's CPU an order has settled
    /// [default: 240; short: 40].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(3..=600))]
    pub(crate) warm_up: Option<u64>,
    /// Orders created and not yet completed at most, at the maximum.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) in_flight_orders_max: u32,
    /// Orders that are stored before rows 9 and 18 are measured [default: row 9 3000000, row 18 none].
    #[arg(long, alias = "stored-orders", value_name = "N", value_parser = clap::value_parser!(i64).range(1..=100_000_000))]
    pub(crate) stored: Option<i64>,
    /// How long row 18 holds its rate [default: 600; short: 20; of a pair: 60].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub(crate) hold_seconds: Option<u64>,
    /// Builds that revision of the repository, below target/pair, and measures it and this program by turns.
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["pair_program", "check", "markdown"])]
    pub(crate) pair: Option<String>,
    /// As --pair, with a program that is built already.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["check", "markdown"])]
    pub(crate) pair_program: Option<PathBuf>,
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
    /// Whether two programs are compared.
    pub(crate) fn is_pair(&self) -> bool {
        self.pair.is_some() || self.pair_program.is_some()
    }

    pub(crate) fn rounds(&self) -> usize {
        usize::from(self.rounds.unwrap_or(if self.short { ROUNDS_SHORT } else { ROUNDS }))
    }

    /// How long one thing is measured.
    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.short { WINDOW_SECONDS_SHORT } else { WINDOW_SECONDS }))
    }

    /// How long a slice of T is measured.
    pub(crate) fn reference_window(&self) -> Duration {
        Duration::from_secs((self.window().as_secs() / 2).max(REFERENCE_SECONDS_MIN))
    }

    /// How long the broker is warmed up at most.
    pub(crate) fn warm_up_max(&self) -> Duration {
        let default = if self.short { WARM_UP_SECONDS_MAX_SHORT } else { WARM_UP_SECONDS_MAX };
        Duration::from_secs(self.warm_up.unwrap_or(default))
    }

    /// How long the highest rate has to hold.
    pub(crate) fn hold_time(&self) -> Duration {
        let default = match (self.short, self.is_pair()) {
            (true, _) => HOLD_SECONDS_SHORT,
            (false, true) => HOLD_SECONDS_PAIR,
            (false, false) => HOLD_SECONDS,
        };
        Duration::from_secs(self.hold_seconds.unwrap_or(default))
    }

    /// Orders that are stored for row 9.
    pub(crate) fn stored_orders(&self) -> i64 {
        self.stored.unwrap_or(STORED_ORDERS)
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

    #[test]
    fn what_compares_two_programs_writes_no_record_and_checks_none() {
        for forbidden in [["--check", "record.md"], ["--markdown", "record.md"]] {
            let pair = [&["openorder-bench", "--pair", "main"], &forbidden[..]].concat();
            assert!(Args::try_parse_from(pair).is_err(), "{forbidden:?}");
        }
        let args = Args::parse_from(["openorder-bench", "--pair-program", "openorder"]);
        assert!(args.is_pair());
        assert_eq!((args.rounds(), args.hold_time().as_secs()), (6, 60));
    }
}
