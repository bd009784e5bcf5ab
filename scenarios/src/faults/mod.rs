//! What is broken while orders flow, a file a kind. Each ends with the ledger compared and `openorder verify`.

mod callers;
mod clock;
mod duplicates;
mod fault_points;
mod foreign;
mod hot_coupon;
mod hot_key;
mod kafka;
mod kill;
mod late;
mod poison;
mod postgres;
mod redis;
mod replay;
mod scale;
mod shop;
mod sign_in;

use std::time::Duration;

use futures::future::BoxFuture;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Fleet, Outcome, Servers};

pub use callers::callers;
pub use hot_key::hot_key;
pub use kill::{kill_at_random, kill_in_turn};
pub use shop::shop;
pub use sign_in::sign_in;

/// A failed scenario keeps its system until the program is interrupted, to be looked at.
pub static KEEP: AtomicBool = AtomicBool::new(false);

/// Judges, and gives the servers back.
pub(crate) async fn judged(fleet: Fleet, outcome: Outcome) -> (Servers, Outcome) {
    if KEEP.load(Ordering::Relaxed) && !outcome.is_sound() {
        note(&outcome.line("kept"));
        note(&format!("settings {}, {:?}; interrupt to end it", fleet.config().display(), fleet.servers));
        std::future::pending::<()>().await;
    }
    (fleet.close().await, outcome)
}

#[allow(clippy::print_stderr, reason = "for whoever looks at a failed scenario")]
fn note(text: &str) {
    eprintln!("{text}");
}

/// How much of a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A taste of it, for every test run.
    Short,
    /// All of it.
    Full,
}

impl Length {
    /// One of two values.
    pub(crate) fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

type Run = fn(Servers, Length) -> BoxFuture<'static, (Servers, Outcome)>;

/// A scenario with its name and the time that it may take.
pub struct Scenario {
    /// As it is called on the command line.
    pub name: &'static str,
    /// Then it is cut, and failed.
    pub bound: Duration,
    /// Gives the servers back.
    pub run: Run,
}

macro_rules! scenarios {
    ($($name:literal within $seconds:literal s: $run:path,)*) => {
        /// All of them, in the order in which they run. They need servers of their own.
        pub const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: $name,
            bound: Duration::from_secs($seconds),
            run: |servers, length| Box::pin($run(servers, length)),
        },)*];
    };
}

scenarios! {
    "kill" within 300 s: kill::kill_at_random,
    "kill-in-turn" within 300 s: kill::kill_in_turn,
    "hot-key" within 300 s: hot_key::hot_key,
    "hot-coupon" within 1200 s: hot_coupon::hot_coupon,
    "scale" within 300 s: scale::scale,
    "late" within 600 s: late::late,
    "shop" within 600 s: shop::shop,
    "zombie" within 300 s: scale::zombie,
    "postgres" within 400 s: postgres::postgres,
    "read-only" within 300 s: postgres::read_only,
    "kafka" within 400 s: kafka::kafka,
    "kafka-freezes" within 2400 s: kafka::freezes,
    "kafka-freezes-whole" within 2400 s: kafka::freezes_whole,
    "brokers" within 600 s: kafka::brokers,
    "redis" within 300 s: redis::redis,
    "duplicates" within 300 s: duplicates::duplicates,
    "clock" within 300 s: clock::clock,
    "fault-points" within 600 s: fault_points::fault_points,
    "replay" within 300 s: replay::replay,
    "poison" within 400 s: poison::poison,
    "callers" within 400 s: callers::callers,
    "sign-in" within 400 s: sign_in::sign_in,
    "foreign" within 900 s: foreign::foreign,
}
