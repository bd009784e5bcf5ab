//! `openorder replay`: events out of one service's log, to one consumer group.

use chrono::{DateTime, Utc};
use clap::Args;
use openorder_proto::operations::v1::{EventFilter, ReplayEventsRequest, ReplayEventsResponse, ReplayPhase};
use serde_json::json;

use super::act::{self, ActArgs};
use super::{Client, count, operations_client};
use crate::block_on::block_on;
use crate::json;
use crate::output::{self, line, note};
use crate::settings_args::SettingsArgs;
use crate::through::Through;
use crate::time;

const HELP: &str = "\
Examples:
  openorder replay --from order --to notification --since 2h --dry-run
  openorder replay --from order --to notification --since 2h --reason 'its database was restored'
  openorder replay --from order --to payment --aggregate 0197c2f0-… --reason 'payment missed the order'

The events are read from the service's own log and put before the one group, and no other. The group drops what it has
applied before, so only what it missed has an effect. They are handled as parked messages are: in order, due at once
(`openorder parked --group …`). An event that is still on its way through Kafka may be overtaken: replay what the
group's lag has passed (`openorder lag`).

Interrupted, it stops; the same command with --request-id goes on where it stood.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

/// Arguments of `openorder replay`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ReplayArgs {
    /// The service whose event log is read, such as order.
    #[arg(long, value_name = "SERVICE")]
    pub from: String,
    /// The one consumer group that gets the events, such as notification.
    #[arg(long, value_name = "GROUP")]
    pub to: String,
    /// Only events since: 90s, 15m, 2h, 3d ago, or a time such as 2026-05-17T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub since: Option<DateTime<Utc>>,
    /// Only events before: as --since.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub until: Option<DateTime<Utc>>,
    /// Only events of this aggregate, such as an order id.
    #[arg(long, value_name = "ID")]
    pub aggregate: Option<String>,
    /// Only events of this type, such as order.lifecycle.paid; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Vec<String>,
    /// Only events of this topic, such as order.lifecycle.v1; may be given several times.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// Events a second.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub rate: i32,
    /// How it is done.
    #[command(flatten)]
    pub act: ActArgs,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &ReplayArgs) -> anyhow::Result<()> {
    block_on(Box::pin(replay(settings, args)))?
}

async fn replay(settings: &SettingsArgs, args: &ReplayArgs) -> anyhow::Result<()> {
    let client = operations_client(&args.through, settings).await?;
    if args.act.dry_run || args.act.request_id.is_none() {
        let counted = watch(&client, request(args, true, ""), |_| {}).await?;
        let events = count(counted.total, "event", "events");
        if args.act.dry_run {
            return print_count(args, &counted, &events);
        }
        if counted.total > 0 {
            args.act.confirm(&format!("Put {events} of {} before {}?", args.from, args.to))?;
        }
    }
    let request_id = args.act.request_id("events");
    note(format_args!("request id {request_id}"));
    let ended = watch(&client, request(args, false, &request_id), print_progress).await?;
    output::progress_ends();
    if args.through.is_json() {
        let mut document = json::of(&ended)?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("request_id".to_owned(), json!(request_id));
        }
        return output::json(&document);
    }
    line(format_args!(
        "{} read, {} put before {}, {} known there already",
        ended.read, ended.delivered, args.to, ended.known
    ));
    if ended.delivered > 0 {
        note(format_args!("\nnext: openorder parked --group {}     what of it is still to be handled", args.to));
    }
    note(format_args!("audit entry {}", ended.audit_entry_id));
    Ok(())
}

fn request(args: &ReplayArgs, dry_run: bool, request_id: &str) -> ReplayEventsRequest {
    ReplayEventsRequest {
        request_id: request_id.to_owned(),
        source: args.from.clone(),
        filter: Some(EventFilter {
            event_time_from: time::to_proto(args.since),
            event_time_until: time::to_proto(args.until),
            aggregate_id: args.aggregate.clone().unwrap_or_default(),
            event_types: args.event_type.clone(),
            topics: args.topic.clone(),
        }),
        target_group: args.to.clone(),
        reason: args.act.reason(),
        rate_per_second: args.rate,
        dry_run,
    }
}

async fn watch(
    client: &Client,
    request: ReplayEventsRequest,
    each: impl FnMut(&ReplayEventsResponse),
) -> anyhow::Result<ReplayEventsResponse> {
    let request_id = request.request_id.clone();
    let call = || {
        let (mut client, request) = (client.clone(), act::long(request.clone()));
        async move { client.replay_events(request).await.map(tonic::Response::into_inner) }
    };
    Ok(act::follow(&request_id, call, each).await?.unwrap_or_default())
}

fn print_progress(answer: &ReplayEventsResponse) {
    if answer.phase() != ReplayPhase::Done {
        output::progress(format_args!(
            "{} of {} read, {} put before the group, {} known there already",
            answer.read, answer.total, answer.delivered, answer.known
        ));
    }
}

fn print_count(args: &ReplayArgs, counted: &ReplayEventsResponse, events: &str) -> anyhow::Result<()> {
    if args.through.is_json() {
        return output::json(&json!({ "dry_run": true, "total": counted.total }));
    }
    line(format_args!("{events} of {} would be put before {}", args.from, args.to));
    note("a dry run: nothing was changed; what the group has applied already has no effect");
    Ok(())
}
