//! `openorder load`: orders through the gateway, each followed to its last event, measured.
//!
//! - `world.rs`: the products and wallets that the orders need;
//! - `request.rs`: requests that are made once and only get their numbers when they are sent;
//! - `callers.rs`: who sends them, in a closed or an open loop;
//! - `completions.rs`: reads the last event of each order from Kafka;
//! - `statistics.rs`, `report.rs`: what is counted, and how it is shown;
//! - `cpu.rs`: what it cost.
//!
//! All of it runs on one thread: load and system often share a machine.

mod callers;
mod completions;
mod cpu;
mod report;
mod request;
mod statistics;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use openorder_messaging::{KafkaSettings, Tail};
use openorder_proto::topics;
use openorder_runtime::{Shutdown, install_signals};

use crate::block_on::block_on;
use crate::config;
use crate::gateway_client::{self, GatewayArgs, GatewayClient};
use crate::output::{self, Format, note};
use crate::session;
use crate::settings_args::SettingsArgs;
use crate::time::duration;

use callers::Callers;
use report::Report;
use statistics::{Counts, Statistics};
use world::World;

/// The longest load with the token of a sign-in: that ends five minutes after it was made, and products come first.
const SIGN_IN_MAX: Duration = Duration::from_secs(240);

const HELP: &str = "\
Examples:
  openorder load                                          64 callers, as fast as they are answered
  openorder load --callers 256 --connections 8 --duration 60s
  openorder load --rate 2000                              2,000 orders a second, whatever the answers take
  openorder load --lines 3 --products 10                  hot stock
  openorder load --output json > load.json

It needs a caller that may make products and orders for anybody: an API key of an operator or a service. The token of a
sign-in (`openorder login`) ends within five minutes, and is enough for a load that ends sooner.

Closed loop (default): each of --callers waits for the answer to its order before it sends the next.
Open loop (--rate): orders are due at fixed times; --callers is how many may wait for answers at a time, and a call
counts from when it was due, so that a system that stalls cannot hide it.

What is measured: orders sent after --warm-up, for --duration. An order is
  offered     when it is sent (open loop: also when it was due and never sent);
  accepted    when CreateOrder answered it, which is when it is durable;
  completed   when its last event (preparing, rejected, cancelled) was read from the topic order.lifecycle.v1.
accepted/s is the number of accepted orders by the time from the first one's sending to the last one's answer,
completed/s the number of completed ones by the time from the first one's sending to the last one's last event: what
piles up counts against it. Latencies run from sending (open loop: from due) and include retries.

An order that is answered UNAVAILABLE is sent again with the same request id until --timeout; so is, in a closed loop,
one that is answered RESOURCE_EXHAUSTED with a time to retry. In an open loop such an order counts as failed. The exit code is 0 when
every accepted order was completed.";

/// Arguments of `openorder load`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct LoadArgs {
    /// Where the gateway is.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// API key of an operator or a service to call with, instead of the sign-in of `openorder login`.
    #[arg(long, value_name = "TOKEN", env = "OPENORDER_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Callers that wait for an answer each.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub callers: u32,
    /// Orders a second, in an open loop.
    #[arg(long, value_name = "ORDERS", value_parser = rate)]
    pub rate: Option<f64>,
    /// How long orders are measured.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub duration: Duration,
    /// How long orders are sent before.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub warm_up: Duration,
    /// Lines of an order, each of another product.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub lines: u32,
    /// Products that are ordered; few of them make hot stock.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    pub products: u32,
    /// Customers that order; few of them make hot wallets.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=999_999))]
    pub customers: u32,
    /// Orders created and not yet completed at most; beyond, callers wait, so that the backlog has a bound.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub in_flight_orders_max: u32,
    /// HTTP/2 connections to the gateway, used in turn.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
    /// Share of orders, 0 to 1, whose call asks to be traced; the others ask not to be. The gateway heeds it where
    /// gateway.incoming_trace is trust [default: the server decides].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub sampled_ratio: Option<f64>,
    /// How long one order may take to be answered, retries included.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// How long to wait for the last orders to be completed after the last one was sent.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub completion_timeout: Duration,
    /// Processes whose CPU seconds are told too, such as the server's; may be given several times.
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,
    /// How the result is written; progress goes to standard error.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "must be a number of orders a second from 0.01 to 10000000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// Runs the command; whether every accepted order was completed.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &LoadArgs) -> anyhow::Result<bool> {
    ensure!(args.lines <= args.products, "--lines {} needs at least as many --products", args.lines);
    ensure!(!args.duration.is_zero(), "--duration must be more than nothing");
    let gateway = args.gateway.address(settings)?;
    let kafka = config::load(settings, &[])?.settings.kafka;
    let report = block_on(Box::pin(load(&gateway, &kafka, args)))??;
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => report.table().iter().for_each(output::line),
    }
    Ok(report.is_complete())
}

/// What all parts of a run share. One thread: the lock is never waited for.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Statistics>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Statistics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(gateway: &gateway_client::Address, kafka: &KafkaSettings, args: &LoadArgs) -> anyhow::Result<Report> {
    let shutdown = Shutdown::new();
    install_signals(shutdown.clone()).context("signals cannot be received")?;
    let client = gateway_client::connect(gateway).await?;
    let token = token(&client, gateway, args).await?;
    let client = client.with_token(token.as_deref())?;
    note(format_args!("making {} products and filling {} wallets …", args.products, args.customers));
    let world = World::new();
    let made = shutdown.unless_requested(world.make(&client, args)).await;
    made.context("interrupted before the load began")??;
    let tail = Tail::open(kafka, topics::ORDER_LIFECYCLE).await.with_context(|| {
        format!("orders cannot be followed over Kafka at {}: is kafka.brokers what the system uses?", kafka.brokers)
    })?;

    let statistics = Shared::default();
    let authorization = client.authorization();
    let callers = Callers::new(gateway, authorization, args, &world, statistics.clone(), shutdown.clone())?;
    let places = callers.places();
    let reading = tokio::spawn(completions::read(tail, world.customer_prefix(), statistics.clone(), places));
    note(format_args!("load on {}: {}", gateway.url(), callers.describe()));
    let started = Instant::now();
    statistics.lock().measure_from(started + args.warm_up);
    let progress = tokio::spawn(progress(statistics.clone(), started, args.warm_up));
    let cost = tokio::spawn(cpu::measure_from(started + args.warm_up, args.pid.clone()));
    callers.run(started).await;

    wait_for_completions(&statistics, args.completion_timeout, &shutdown).await;
    progress.abort();
    reading.abort();
    // Aborted when the load was interrupted during the warm-up: then there is nothing to tell.
    let cost = if started.elapsed() > args.warm_up { cost.await.ok() } else { None };
    let costs = cost.map(cpu::Begun::end).unwrap_or_default();
    let report = statistics.lock().report(args, gateway.url(), costs, shutdown.is_requested());
    Ok(report)
}

/// What the load calls with: what was given, or the token of whoever signed in, if it is good for as long as the load takes.
async fn token(
    client: &GatewayClient,
    gateway: &gateway_client::Address,
    args: &LoadArgs,
) -> anyhow::Result<Option<String>> {
    if args.token.is_some() {
        return Ok(args.token.clone());
    }
    let token = session::access_token_for(client, gateway.url(), SIGN_IN_MAX.as_secs().cast_signed()).await?;
    ensure!(
        token.is_none() || args.warm_up + args.duration <= SIGN_IN_MAX,
        "the token of a sign-in ends sooner than this load: give an API key by --token, or OPENORDER_TOKEN"
    );
    Ok(token)
}

async fn wait_for_completions(statistics: &Shared, bound: Duration, shutdown: &Shutdown) {
    let open = statistics.lock().in_flight();
    if open > 0 {
        note(format_args!("waiting for the last {open} orders to be completed …"));
    }
    let until = Instant::now() + bound;
    while statistics.lock().in_flight() > 0 && Instant::now() < until && !shutdown.is_requested() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A line a second.
async fn progress(statistics: Shared, started: Instant, warm_up: Duration) {
    let mut before = Counts::default();
    let mut ticks =
        tokio::time::interval_at(tokio::time::Instant::now() + Duration::from_secs(1), Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let (now, in_flight) = {
            let statistics = statistics.lock();
            (statistics.all(), statistics.in_flight())
        };
        let phase = if started.elapsed() < warm_up { "  (warm-up)" } else { "" };
        note(format_args!(
            "{:>4} s  accepted {:>6}/s  completed {:>6}/s  in flight {in_flight:>6}  failed {}{phase}",
            started.elapsed().as_secs(),
            now.accepted - before.accepted,
            now.completed - before.completed,
            now.failed,
        ));
        before = now;
    }
}
