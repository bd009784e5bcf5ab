//! `openorder topic tail`.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use openorder_messaging::{KafkaSettings, ScanFrom, Scanned, TailError, TopicScan};
use openorder_proto::topics;

use super::event::{Decoder, Event};
use crate::config;
use crate::output::{self, Format, note};
use crate::settings_args::SettingsArgs;
use crate::time;

/// Messages between two looks at whether there is more to do.
const PAGE: usize = 500;
/// How long one wait for new messages takes.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

const HELP: &str = "\
Examples:
  openorder topic tail order.lifecycle.v1                       all that is there, from the oldest
  openorder topic tail order.lifecycle.v1 --from 15m            what was published in the last 15 minutes
  openorder topic tail order.lifecycle.v1 --follow              what is published from now on, until interrupted
  openorder topic tail order.lifecycle.v1 --follow --from beginning --limit 10
  openorder topic tail order.lifecycle.v1 --key 01a2b3c4-… --output json | jq .value

Each event is shown with its time in Kafka, its type (ce_type), its key, its place (partition/offset) and the service that
published it; then its value as JSON. Order holds within a partition, and so for all events of one key. With --output
json each line is a JSON document of its own.";

/// Arguments of `openorder topic tail`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct TailArgs {
    /// The topic, without the deployment's prefix (kafka.topic_prefix): order.lifecycle.v1.
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// Where to begin: `beginning`, `end`, so long ago (90s, 15m, 2h, 3d), or a time such as 2026-05-17T12:00:00Z
    /// [default: beginning; with --follow: end].
    #[arg(long, value_name = "WHERE", value_parser = from)]
    pub from: Option<ScanFrom>,
    /// Stay at the end and print what is published, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// End after so many events.
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only events of this type, such as order.lifecycle.created; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Only events of this key.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// How the result is written.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// What was given about settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

fn from(text: &str) -> Result<ScanFrom, String> {
    match text {
        "beginning" => Ok(ScanFrom::Beginning),
        "end" => Ok(ScanFrom::End),
        other => time::parse(other).map(ScanFrom::Time).map_err(|error| format!("{error}, or beginning, or end")),
    }
}

/// Runs the command; with `--follow` until interrupted, or the limit.
pub(super) async fn run(settings: &SettingsArgs, args: &TailArgs) -> anyhow::Result<()> {
    let kafka = config::load(settings, &[])?.settings.kafka;
    let usual = if args.follow { ScanFrom::End } else { ScanFrom::Beginning };
    let opened = TopicScan::open(&kafka, &args.topic, args.from.unwrap_or(usual)).await;
    let mut scan = opened.map_err(|error| unopened(error, &kafka))?;
    let mut printer = Printer { decoder: Decoder::new()?, args, printed: 0 };
    loop {
        // Once it stood at the end of every partition it need not be there again to be followed.
        let read = scan.read(PAGE, |message| printer.see(message)).await;
        let at_end = read.with_context(|| format!("{} cannot be read on", args.topic))?;
        if printer.is_full() {
            return Ok(());
        }
        if at_end {
            break;
        }
    }
    if !args.follow {
        if printer.printed == 0 {
            note("no such events; --follow waits for them");
        }
        return Ok(());
    }
    while !printer.is_full() {
        // A broker that went away comes back by itself.
        if let Err(error) = scan.read_on(FOLLOW_INTERVAL, |message| printer.see(message)).await {
            note(format_args!("{error}; waiting …"));
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
    Ok(())
}

fn unopened(error: TailError, kafka: &KafkaSettings) -> anyhow::Error {
    let brokers = &kafka.brokers;
    let account = match kafka.sasl_username.as_str() {
        "" => String::new(),
        user => format!(", and kafka.sasl_… that {user} may sign in there"),
    };
    match error {
        TailError::NoSuchTopic(name) => {
            anyhow!("there is no topic {name} at {brokers}; events are in {}", topics::ALL.join(", "))
        }
        TailError::Broker(error) => {
            anyhow!(
                "Kafka at {brokers} does not answer ({error}): kafka.brokers of the settings says where it is{account}"
            )
        }
        TailError::Stopped => error.into(),
    }
}

struct Printer<'a> {
    decoder: Decoder,
    args: &'a TailArgs,
    printed: u64,
}

impl Printer<'_> {
    fn is_full(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.printed >= limit)
    }

    fn see(&mut self, message: &Scanned<'_>) {
        let wanted = self.args.types.is_empty() || self.args.types.iter().any(|one| one == message.event_type);
        if !wanted || self.is_full() {
            return;
        }
        let received = message.received();
        if self.args.key.as_ref().is_some_and(|key| key.as_bytes() != received.key) {
            return;
        }
        self.printed += 1;
        self.print(&self.decoder.decode(received, message.timestamp_ms));
    }

    fn print(&self, event: &Event) {
        match self.args.output {
            // None that fails: a JSON value is JSON.
            Format::Json => drop(output::json_line(&event.document())),
            Format::Text => event.lines().iter().for_each(output::line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_at_an_end_or_at_a_time() {
        assert_eq!((from("beginning"), from("end")), (Ok(ScanFrom::Beginning), Ok(ScanFrom::End)));
        assert!(matches!(from("15m"), Ok(ScanFrom::Time(_))));
        assert!(from("yesterday").unwrap_err().contains("beginning"));
    }
}
