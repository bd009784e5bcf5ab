//! `openorder rebuild analytics`.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use openorder_proto::analytics::v1::{
    CancelRebuildRequest, GetRebuildRequest, Rebuild, RebuildState, StartRebuildRequest,
    analytics_service_client::AnalyticsServiceClient,
};
use openorder_rpc::status::is_unavailable;
use tonic::Status;
use uuid::Uuid;

use crate::gateway_client::{GatewayClient, failed};
use crate::json;
use crate::output::{self, line, note};
use crate::settings_args::SettingsArgs;
use crate::through::Through;

const HELP: &str = "\
Examples:
  openorder rebuild analytics --reason 'Redis was moved'
  openorder rebuild analytics --from-events --reason 'its database was restored'
  openorder rebuild analytics --cancel 0197c2f0-…

Without --from-events the ranking in Redis is written anew from the sums in PostgreSQL. With it, all orders are counted
first, from the events in the order service's log, beside the sums that are read meanwhile; then the new ones count, and
every event that came meanwhile is in them once. The log has to go back to the first order: one that is pruned
(order.database.event_log_retention_days) is refused with EVENTS_PRUNED.

Interrupted, the rebuild goes on by itself; the same command with --request-id follows it again.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

/// How often it is looked how far a rebuild is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often in a row nobody may answer, before it is given up to look.
const OUT_OF_SIGHT_MAX: u32 = 120;

/// Arguments of `openorder rebuild analytics`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct AnalyticsArgs {
    /// Count all orders anew, from the events in the order service's log.
    #[arg(long)]
    pub from_events: bool,
    /// Why: it is kept with the rebuild.
    #[arg(long, value_name = "TEXT", required_unless_present = "cancel")]
    pub reason: Option<String>,
    /// Go on following a rebuild that was asked for before; all else must be given as then [default: a new one].
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Call a rebuild off, by its id.
    #[arg(long, value_name = "REBUILD_ID", conflicts_with_all = ["from_events", "reason", "request_id"])]
    pub cancel: Option<String>,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

type Client = AnalyticsServiceClient<GatewayClient>;

pub(super) async fn run(settings: &SettingsArgs, args: &AnalyticsArgs) -> anyhow::Result<()> {
    let mut client = AnalyticsServiceClient::new(args.through.gateway_client(settings).await?);
    if let Some(rebuild_id) = &args.cancel {
        let request_id = format!("cancel-{}", Uuid::now_v7());
        let request = CancelRebuildRequest { request_id, rebuild_id: rebuild_id.clone() };
        let answer = client.cancel_rebuild(request).await;
        let answer = answer.map_err(|status| failed("the rebuild cannot be called off", &status))?.into_inner();
        return told(args, &answer.rebuild.unwrap_or_default());
    }
    let request_id = args.request_id.clone().unwrap_or_else(|| format!("rebuild-{}", Uuid::now_v7()));
    let request = StartRebuildRequest {
        request_id: request_id.clone(),
        from_events: args.from_events,
        reason: args.reason.clone().unwrap_or_default(),
    };
    let answer = client.start_rebuild(request).await;
    let begun = answer.map_err(|status| failed("the rebuild cannot begin", &status))?.into_inner();
    let begun = begun.rebuild.unwrap_or_default();
    note(format_args!("request id {request_id}, rebuild {}", begun.rebuild_id));
    let ended = follow(&mut client, &begun.rebuild_id, &request_id).await?;
    told(args, &ended)?;
    match ended.state() {
        RebuildState::Done => Ok(()),
        RebuildState::Failed => bail!("the rebuild failed: {}{}", ended.failure_reason, advice(&ended.failure_reason)),
        _ => bail!("the rebuild was called off"),
    }
}

/// Looks how far it is, until it comes to its end.
async fn follow(client: &mut Client, rebuild_id: &str, request_id: &str) -> anyhow::Result<Rebuild> {
    let mut out_of_sight = 0;
    loop {
        match client.get_rebuild(GetRebuildRequest { rebuild_id: rebuild_id.to_owned() }).await {
            Ok(answer) => {
                out_of_sight = 0;
                let rebuild = answer.into_inner().rebuild.unwrap_or_default();
                if matches!(rebuild.state(), RebuildState::Done | RebuildState::Failed | RebuildState::Cancelled) {
                    output::progress_ends();
                    return Ok(rebuild);
                }
                output::progress(progress(&rebuild));
            }
            Err(status) if is_unavailable(&status) && out_of_sight < OUT_OF_SIGHT_MAX => out_of_sight += 1,
            Err(status) => {
                output::progress_ends();
                return Err(lost(&status, request_id));
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn lost(status: &Status, request_id: &str) -> anyhow::Error {
    let failure = failed("the rebuild is out of sight", status);
    anyhow::anyhow!("{failure}. It goes on; the same command with --request-id {request_id} follows it again")
}

fn progress(rebuild: &Rebuild) -> String {
    let waits = match rebuild.waiting_for.is_empty() {
        true => String::new(),
        false => format!("; it waits: {}", rebuild.waiting_for),
    };
    match rebuild.state() {
        RebuildState::Counting => {
            format!("{} events read, up to position {}{waits}", rebuild.events_read, rebuild.log_position)
        }
        _ => format!("{} products ranked{waits}", rebuild.products_ranked),
    }
}

fn told(args: &AnalyticsArgs, rebuild: &Rebuild) -> anyhow::Result<()> {
    if args.through.is_json() {
        return output::json(&json::of(rebuild)?);
    }
    let counted = match rebuild.from_events {
        true => format!("{} events counted, ", rebuild.events_read - rebuild.events_unreadable),
        false => String::new(),
    };
    let state = rebuild.state().as_str_name().trim_start_matches("REBUILD_STATE_");
    line(format_args!("{state}: {counted}{} products ranked", rebuild.products_ranked));
    if rebuild.events_unreadable > 0 {
        note(format_args!(
            "{} events cannot be read and were left out: openorder logs analytics",
            rebuild.events_unreadable
        ));
    }
    Ok(())
}

fn advice(failure_reason: &str) -> &'static str {
    match failure_reason {
        "EVENTS_PRUNED" => {
            ". The log of the order service no longer goes back to the first order: sums stay as they are"
        }
        _ => ". `openorder logs analytics` says more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_what_is_done_and_what_it_waits_for() {
        let counting =
            Rebuild { state: RebuildState::Counting.into(), events_read: 7, log_position: 9, ..Default::default() };
        assert_eq!(progress(&counting), "7 events read, up to position 9");
        let ranking = Rebuild {
            state: RebuildState::Ranking.into(),
            products_ranked: 3,
            waiting_for: "Redis does not answer".to_owned(),
            ..Default::default()
        };
        assert_eq!(progress(&ranking), "3 products ranked; it waits: Redis does not answer");
    }
}
