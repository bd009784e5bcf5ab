//! `openorder topic tail`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use futures::future::{join_all, try_join_all};
use openorder_messaging::{KafkaSettings, ScanFrom, Scanned, TailError, TopicScan};
use openorder_proto::topics;
use uuid::Uuid;

use super::event::{Decoder, Event};
use crate::config;
use crate::output::{self, Format, note};
use crate::settings_args::SettingsArgs;
use crate::time::{self, duration};

/// Messages of one topic between two looks at what the other topics have.
const PAGE: usize = 500;
/// How long one wait for new messages takes.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

const HELP: &str = "\
Examples:
  openorder topic tail order.lifecycle.v1                       all that is there, from the oldest
  openorder topic tail --order 01a2b3c4-…                       what was published about one order, on all topics
  openorder topic tail order.lifecycle.v1 --from 15m            what was published in the last 15 minutes
  openorder topic tail --follow                                 what is published from now on, until interrupted
  openorder topic tail --for 30s --type payment.transaction.failed --output json
  openorder topic tail order.lifecycle.v1 --follow --from beginning --limit 10
  openorder topic tail order.lifecycle.v1 --key 01a2b3c4-… --output json | jq .value

Each event is shown with its time in Kafka, its type (ce_type), its key, its place (topic/partition/offset), the service
that published it and the id of its trace; then its value as JSON. What cannot be decoded is shown with the reason. Order
holds within a partition, and so for all events of one key; several topics are merged by time. With --output json each
line is a JSON document of its own.

Exit codes: 0 done (also when there are no such events), 1 no such topic or failed, 2 wrong arguments or settings.";

/// Arguments of `openorder topic tail`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct TailArgs {
    /// Topics, without the deployment's prefix (kafka.topic_prefix): order.lifecycle.v1 [default: all topics of events].
    #[arg(value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Where to begin: `beginning`, `end`, so long ago (90s, 15m, 2h, 3d), or a time such as 2026-05-17T12:00:00Z
    /// [default: beginning; with --follow and --for: end].
    #[arg(long, value_name = "WHERE", value_parser = from)]
    pub from: Option<ScanFrom>,
    /// Stay at the end and print what is published, until interrupted.
    #[arg(long, short)]
    pub follow: bool,
    /// Follow for so long, and end.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub follow_time: Option<Duration>,
    /// End after so many events.
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only events of this type, such as order.lifecycle.created; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Only events of this key.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Only events about this order: those of its key, and those whose value names it.
    #[arg(long, value_name = "ORDER_ID")]
    pub order: Option<Uuid>,
    /// How the result is written.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl TailArgs {
    fn follows(&self) -> bool {
        self.follow || self.follow_time.is_some()
    }
}

fn from(text: &str) -> Result<ScanFrom, String> {
    match text {
        "beginning" => Ok(ScanFrom::Beginning),
        "end" => Ok(ScanFrom::End),
        other => time::parse(other).map(ScanFrom::Time).map_err(|error| format!("{error}, or beginning, or end")),
    }
}

/// Runs the command: to the present end, or with `--follow` until interrupted, the limit or the time.
pub(super) async fn run(settings: &SettingsArgs, args: &TailArgs) -> anyhow::Result<()> {
    let kafka = config::load(settings, &[])?.settings.kafka;
    let mut sources = open(&kafka, args).await?;
    let selection = Selection::new(args)?;
    let printer = RefCell::new(Printer { args, printed: 0 });
    let reading = async {
        merged(&mut sources, &selection, &printer).await?;
        if args.follows() {
            follow(&mut sources, &selection, &printer).await;
        } else if printer.borrow().printed == 0 {
            note("no such events; --follow waits for them");
        }
        anyhow::Ok(())
    };
    match args.follow_time {
        // That the time is over is its proper end.
        Some(bound) => tokio::time::timeout(bound, reading).await.unwrap_or(Ok(())),
        None => reading.await,
    }
}

/// Opens the topics that were named, or those there are.
async fn open(kafka: &KafkaSettings, args: &TailArgs) -> anyhow::Result<Vec<Source>> {
    let named: Vec<&str> = match args.topics.is_empty() {
        true => topics::ALL.to_vec(),
        false => args.topics.iter().map(String::as_str).collect(),
    };
    let usual = if args.follows() { ScanFrom::End } else { ScanFrom::Beginning };
    let from = args.from.unwrap_or(usual);
    let opened = join_all(named.iter().map(|topic| TopicScan::open(kafka, topic, from))).await;
    let mut sources = Vec::new();
    for (topic, scan) in named.iter().zip(opened) {
        match scan {
            Ok(scan) => {
                let source = Source { topic: (*topic).to_owned(), scan, is_at_end: false, waiting: VecDeque::new() };
                sources.push(source);
            }
            // A service that never ran has no topic yet.
            Err(TailError::NoSuchTopic(_)) if args.topics.is_empty() => {}
            Err(error) => return Err(unopened(error, kafka)),
        }
    }
    if sources.is_empty() {
        bail!("there are no topics of events at {} yet: `openorder serve all` makes them", kafka.brokers);
    }
    Ok(sources)
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

/// One topic, with those of its events that are not printed yet: at most a page of them.
struct Source {
    topic: String,
    scan: TopicScan,
    is_at_end: bool,
    waiting: VecDeque<Event>,
}

impl Source {
    /// Reads until an event waits, or to the present end.
    async fn fill(&mut self, selection: &Selection<'_>) -> anyhow::Result<()> {
        while self.waiting.is_empty() && !self.is_at_end {
            let waiting = &mut self.waiting;
            let read = self.scan.read(PAGE, |message| waiting.extend(selection.event(message))).await;
            self.is_at_end = read.with_context(|| format!("{} cannot be read on", self.topic))?;
        }
        Ok(())
    }
}

/// Prints what there is, the topics merged by the time of their next events.
async fn merged(
    sources: &mut [Source],
    selection: &Selection<'_>,
    printer: &RefCell<Printer<'_>>,
) -> anyhow::Result<()> {
    while !printer.borrow().is_full() {
        try_join_all(sources.iter_mut().map(|source| source.fill(selection))).await?;
        let next = sources.iter_mut().filter(|source| !source.waiting.is_empty());
        let next = next.min_by_key(|source| source.waiting.front().map(Event::timestamp_ms));
        let Some(event) = next.and_then(|source| source.waiting.pop_front()) else { break };
        printer.borrow_mut().print(&event);
    }
    Ok(())
}

/// Prints what comes, as it comes.
async fn follow(sources: &mut [Source], selection: &Selection<'_>, printer: &RefCell<Printer<'_>>) {
    let print = |message: &Scanned<'_>| {
        let event = if printer.borrow().is_full() { None } else { selection.event(message) };
        event.iter().for_each(|event| printer.borrow_mut().print(event));
    };
    while !printer.borrow().is_full() {
        let reads = sources.iter_mut().map(|source| source.scan.read_on(FOLLOW_INTERVAL, &print));
        if let Some(error) = join_all(reads).await.into_iter().find_map(Result::err) {
            // A broker that went away comes back by itself.
            note(format_args!("{error}; waiting …"));
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
}

/// Which messages are shown.
struct Selection<'a> {
    decoder: Decoder,
    types: &'a [String],
    key: Option<&'a [u8]>,
    order: Option<String>,
}

impl<'a> Selection<'a> {
    fn new(args: &'a TailArgs) -> anyhow::Result<Self> {
        Ok(Self {
            decoder: Decoder::new()?,
            types: &args.types,
            key: args.key.as_deref().map(str::as_bytes),
            order: args.order.map(|order| order.to_string()),
        })
    }

    /// The message as an event, if it is one of those that are shown.
    fn event(&self, message: &Scanned<'_>) -> Option<Event> {
        if !self.types.is_empty() && !self.types.iter().any(|one| one == message.event_type) {
            return None;
        }
        let received = message.received();
        if self.key.is_some_and(|key| key != received.key) {
            return None;
        }
        match &self.order {
            None => Some(self.decoder.decode(received, message.timestamp_ms)),
            Some(order) if received.key == order.as_bytes() => {
                Some(self.decoder.decode(received, message.timestamp_ms))
            }
            // The id stands in the encoded message as it is written: few others are decoded in vain.
            Some(order) if received.payload.windows(order.len()).any(|part| part == order.as_bytes()) => {
                Some(self.decoder.decode(received, message.timestamp_ms)).filter(|event| event.names_order(order))
            }
            Some(_) => None,
        }
    }
}

struct Printer<'a> {
    args: &'a TailArgs,
    printed: u64,
}

impl Printer<'_> {
    fn is_full(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.printed >= limit)
    }

    fn print(&mut self, event: &Event) {
        self.printed += 1;
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
