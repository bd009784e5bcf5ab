//! `openorder rebuild history`.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use openorder_proto::history::v1::history_service_client::HistoryServiceClient;
use openorder_proto::history::v1::{
    CancelRebuildRequest, GetRebuildRequest, Rebuild, RebuildState, StartRebuildRequest,
};
use uuid::Uuid;

use crate::gateway_client::{GatewayClient, failed};
use crate::json;
use crate::output::{self, line, note};
use crate::settings_args::SettingsArgs;
use crate::through::Through;
use crate::time;

/// How often it is looked at how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

const HELP: &str = "\
Examples:
  openorder rebuild history --reason 'its database was restored'
  openorder rebuild history --status --output json
  openorder rebuild history --cancel 0197c2f0-…

The documents are built beside those that are in use, from the event logs of the services, while orders flow and are
looked up. At the end the new ones come into use at once. The history service does it: it goes on when this command is
interrupted, and after a restart from where it was; the same command with --request-id, or --status, looks at it again.

What a pruned log does not have any more is taken over from the documents that are in use.

Exit codes: 0 done, 1 failed, refused or called off, 2 wrong arguments.";

/// Arguments of `openorder rebuild history`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct HistoryArgs {
    /// Why: it is kept with the rebuild.
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["status", "cancel"])]
    pub reason: Option<String>,
    /// Only show how far the latest rebuild is.
    #[arg(long, conflicts_with_all = ["cancel", "request_id", "reason"])]
    pub status: bool,
    /// Call a rebuild off, by its id: the old documents stay in use.
    #[arg(long, value_name = "REBUILD_ID", conflicts_with_all = ["reason", "request_id"])]
    pub cancel: Option<String>,
    /// Look again at the rebuild that was asked for under this id, or ask for it if it was not; --reason as then
    /// [default: a new one].
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

type Client = HistoryServiceClient<GatewayClient>;

pub(super) async fn run(settings: &SettingsArgs, args: &HistoryArgs) -> anyhow::Result<bool> {
    let client = HistoryServiceClient::new(args.through.gateway_client(settings).await?);
    if args.status {
        let latest = look(&client, "").await?;
        show(args, &latest)?;
        return Ok(latest.state() != RebuildState::Failed);
    }
    if let Some(rebuild_id) = &args.cancel {
        let ended = follow(&client, cancel(&client, rebuild_id).await?).await?;
        show(args, &ended)?;
        return Ok(ended.state() == RebuildState::Cancelled);
    }
    let request_id = args.request_id.clone().unwrap_or_else(|| format!("rebuild-{}", Uuid::now_v7()));
    note(format_args!("request id {request_id}"));
    let ended = follow(&client, begin(&client, args, request_id).await?).await?;
    show(args, &ended)?;
    Ok(ended.state() == RebuildState::Completed)
}

async fn begin(client: &Client, args: &HistoryArgs, request_id: String) -> anyhow::Result<Rebuild> {
    let reason = args.reason.clone().unwrap_or_default();
    let answer = client.clone().start_rebuild(StartRebuildRequest { request_id, reason }).await;
    let answer = answer.map_err(|status| failed("the rebuild cannot begin", &status))?.into_inner();
    answer.rebuild.context("StartRebuild answered without a rebuild")
}

async fn cancel(client: &Client, rebuild_id: &str) -> anyhow::Result<Rebuild> {
    let (request_id, rebuild_id) = (format!("cancel-{}", Uuid::now_v7()), rebuild_id.to_owned());
    let answer = client.clone().cancel_rebuild(CancelRebuildRequest { request_id, rebuild_id }).await;
    let answer = answer.map_err(|status| failed("the rebuild cannot be called off", &status))?.into_inner();
    answer.rebuild.context("CancelRebuild answered without a rebuild")
}

async fn look(client: &Client, rebuild_id: &str) -> anyhow::Result<Rebuild> {
    let answer = client.clone().get_rebuild(GetRebuildRequest { rebuild_id: rebuild_id.to_owned() }).await;
    let answer = answer.map_err(|status| failed("the rebuild cannot be looked at", &status))?.into_inner();
    answer.rebuild.context("GetRebuild answered without a rebuild")
}

/// Looks until it is at its end. Calls are repeated while the system is away.
async fn follow(client: &Client, mut rebuild: Rebuild) -> anyhow::Result<Rebuild> {
    let mut said = String::new();
    while !is_final(rebuild.state()) {
        let progress = progress(&rebuild);
        if progress != said {
            output::progress(&progress);
            said = progress;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        rebuild = look(client, &rebuild.rebuild_id).await.inspect_err(|_| output::progress_ends())?;
    }
    output::progress_ends();
    Ok(rebuild)
}

const fn is_final(state: RebuildState) -> bool {
    matches!(state, RebuildState::Completed | RebuildState::Cancelled | RebuildState::Failed)
}

/// Such as `READING: order 1200 of 4000, payment 0 of 500; waits: …`.
fn progress(rebuild: &Rebuild) -> String {
    let sources: Vec<String> = rebuild
        .sources
        .iter()
        .map(|source| {
            let mut text = format!("{} {} of {}", source.service, source.events_read, source.events_total);
            if source.is_read {
                text.push_str(" (read)");
            }
            text
        })
        .collect();
    let mut text = format!("{}: {}", word(rebuild.state()), sources.join(", "));
    if rebuild.taken_over_count > 0 {
        text.push_str(&format!("; {} documents of before the logs", rebuild.taken_over_count));
    }
    if !rebuild.detail.is_empty() {
        text.push_str(&format!("; waits: {}", rebuild.detail));
    }
    text
}

fn word(state: RebuildState) -> &'static str {
    state.as_str_name().strip_prefix("REBUILD_STATE_").unwrap_or_default()
}

fn show(args: &HistoryArgs, rebuild: &Rebuild) -> anyhow::Result<()> {
    if args.through.is_json() {
        return output::json(&json::of(rebuild)?);
    }
    line(format_args!("rebuild {} {}", rebuild.rebuild_id, word(rebuild.state())));
    line(format_args!(
        "  asked for {} by {}: {}",
        time::in_full(rebuild.create_time.as_ref()),
        rebuild.requested_by,
        rebuild.reason
    ));
    for source in &rebuild.sources {
        let mut text = format!("  {}: {} events read", source.service, source.events_read);
        if source.events_skipped > 0 {
            text.push_str(&format!(", {} of no use (openorder logs history says which)", source.events_skipped));
        }
        if let Some(kept_from) = &source.kept_from_time {
            text.push_str(&format!(", those since {}: older ones are pruned", time::in_full(Some(kept_from))));
        }
        line(text);
    }
    if rebuild.taken_over_count > 0 {
        line(format_args!("  {} documents of orders from before that are as they were", rebuild.taken_over_count));
    }
    if !rebuild.detail.is_empty() {
        line(format_args!("  {}", rebuild.detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use openorder_proto::history::v1::RebuildSource;

    use super::*;

    #[test]
    fn progress_says_how_far_each_log_is_and_what_it_waits_for() {
        let source = |service: &str, events_read, is_read| RebuildSource {
            service: service.to_owned(),
            events_total: 40,
            events_read,
            is_read,
            ..RebuildSource::default()
        };
        let rebuild = Rebuild {
            state: RebuildState::Reading.into(),
            sources: vec![source("order", 41, true), source("payment", 7, false)],
            detail: "payment is unavailable".to_owned(),
            ..Rebuild::default()
        };
        let expected = "READING: order 41 of 40 (read), payment 7 of 40; waits: payment is unavailable";
        assert_eq!(progress(&rebuild), expected);
        assert!(is_final(RebuildState::Cancelled) && !is_final(RebuildState::Cleaning));
    }
}
