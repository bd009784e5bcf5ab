//! `openorder verify`: do the invariants hold, on the running system, while it works.
//!
//! - `report.rs`: the invariants, what was found, how it is told; `next.rs`: what to look at then;
//! - `database.rs`: a snapshot of a service's database, read in pages;
//! - `log.rs`: an event log, aggregate by aggregate; `floor.rs`: where it begins; `difference.rs`: two large sets, compared in little memory;
//! - `services.rs`: which service publishes and consumes what;
//! - one file an invariant: `orders.rs`, `stock.rs`, `money.rs`, `versions.rs` (with `topics.rs`), `state/`, `agreement/`, `sales.rs`,
//!   `checkouts.rs`.
//!
//! Within one database state and events are read in one snapshot, where they have to agree exactly. What spans databases
//! or topics is judged once it is older than the bound that it may take (`--settle`), and looked at again before it is
//! told: work that is under way is never an alarm.

mod aggregates;
mod agreement;
mod checkouts;
mod database;
mod debits;
mod difference;
mod floor;
mod log;
mod money;
mod next;
mod orders;
mod report;
mod sales;
mod services;
mod state;
mod stock;
mod topics;
mod versions;

use std::time::Duration;

use clap::Args;
use openorder_messaging::ScanFrom;

use crate::block_on::block_on;
use crate::config;
use crate::output::{self, Format};
use crate::settings::ProcessSettings;
use crate::settings_args::SettingsArgs;
use crate::time::duration;

pub(crate) use services::Consumed;

use database::Databases;
use report::{Findings, Invariant, Outcome, Report};

const HELP: &str = "\
Examples:
  openorder verify                                     all eight, on the system of the settings
  openorder verify --only stock,money
  openorder verify --settle 2m --output json > verified.json
  openorder verify --topics-since 30m                  topics from half an hour ago, not from their beginning

The invariants:
  orders     every accepted order reaches a final status, and a request id makes one order
  stock      on hand = initial + adjustments - shipped; reserved = what reservations hold; released = what was reserved
  money      each wallet = charges - debits + refunds; one completed payment an order at most; the sum is conserved
  versions   per aggregate, versions rise by one: in the event logs, in the topics, and all that was consumed was taken over
  state      orders, payments, wallets, stock, reservations, coupons and shipments are the fold of their events; as many
             coupons are issued as were counted
  agreement  order, reservation, payment, shipment, notification and document say the same
  sales      what analytics has counted, orders and money by currency, is what the orders come to; while orders change it
             is in flight
  checkouts  each cart that was ordered is one order, of the lines that the checkout fixed; and the checkout knows it

It reads only, in pages, and the system goes on working. What is younger than --settle, or still has a deadline ahead, is
in flight and not judged. PREPARING counts as the end of an order while nothing ships by itself.

Exit codes: 0 all of them hold, 1 one is violated, 2 one could not be checked (and none is known to be violated).";

/// Arguments of `openorder verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct VerifyArgs {
    /// How long what follows from a change may take; younger changes are in flight.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub settle: Duration,
    /// Only these invariants, with commas between several [default: all].
    #[arg(long, value_name = "INVARIANT", value_enum, value_delimiter = ',')]
    pub only: Vec<Invariant>,
    /// Violations of each invariant that are shown with their ids; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub show: u32,
    /// Read topics from this long ago, instead of from their beginning.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub topics_since: Option<Duration>,
    /// Aggregates of a topic that are kept in memory (some 60 bytes each); with more, the topic is read several times.
    #[arg(long, value_name = "N", default_value_t = 4_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub aggregates_max: u32,
    /// How long one statement may run.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub statement_timeout: Duration,
    /// How the result is written; progress goes to standard error.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Something could not be checked, and nothing is known to be violated.
#[derive(Debug, thiserror::Error)]
#[error("could not be checked: {0}")]
pub struct CouldNotCheck(String);

/// What every check is given.
struct Check<'a> {
    settings: &'a ProcessSettings,
    databases: Databases,
    settle: Duration,
    topics_from: ScanFrom,
    aggregates_max: usize,
}

/// Runs the command; whether all invariants hold.
///
/// # Errors
/// Settings that cannot be used; [`CouldNotCheck`].
pub fn run(settings: &SettingsArgs, args: &VerifyArgs) -> anyhow::Result<bool> {
    let settings = config::load(settings, &[])?.settings;
    let report = block_on(Box::pin(verify(&settings, args)))?;
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => report.lines().iter().for_each(output::line),
    }
    match report.outcome() {
        Outcome::Holds => Ok(true),
        Outcome::Violated => Ok(false),
        Outcome::Unknown => Err(CouldNotCheck(report.unchecked()).into()),
    }
}

async fn verify(settings: &ProcessSettings, args: &VerifyArgs) -> Report {
    let from = args.topics_since.map_or(ScanFrom::Beginning, |ago| ScanFrom::Time(chrono::Utc::now() - ago));
    let check = Check {
        settings,
        databases: Databases::new(settings, args.statement_timeout),
        settle: args.settle,
        topics_from: from,
        aggregates_max: args.aggregates_max as usize,
    };
    let mut report = Report::new(args.settle);
    for invariant in Invariant::ALL {
        if !args.only.is_empty() && !args.only.contains(invariant) {
            continue;
        }
        let mut findings = Findings::new(*invariant, args.show as usize);
        let result = match invariant {
            Invariant::Orders => Box::pin(orders::check(&check, &mut findings)).await,
            Invariant::Stock => Box::pin(stock::check(&check, &mut findings)).await,
            Invariant::Money => Box::pin(money::check(&check, &mut findings)).await,
            Invariant::Versions => Box::pin(versions::check(&check, &mut findings)).await,
            Invariant::State => Box::pin(state::check(&check, &mut findings)).await,
            Invariant::Agreement => Box::pin(agreement::check(&check, &mut findings)).await,
            Invariant::Sales => Box::pin(sales::check(&check, &mut findings)).await,
            Invariant::Checkouts => Box::pin(checkouts::check(&check, &mut findings)).await,
        };
        report.add(findings, result.err().map(|error| format!("{error:#}")));
    }
    report
}
