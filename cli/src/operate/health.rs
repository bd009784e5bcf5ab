//! `openorder health`: every role at a glance.

use clap::Args;
use openorder_proto::operations::v1::{GetPipelineHealthRequest, GetPipelineHealthResponse, RoleHealth};

use super::{count, operations_client};
use crate::block_on::block_on;
use crate::gateway_client::failed;
use crate::json;
use crate::output::{self, line, note};
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;
use crate::time;

const HELP: &str = "\
Examples:
  openorder health
  openorder health --output json | jq '.roles[] | select(.concerns != [])'
  until openorder health > /dev/null; do sleep 5; done

UNPUBLISHED are events that are committed and not yet in Kafka, with the age of the oldest. PARKED messages are tried
again by themselves; DEAD ones wait for an operator. LAG is what the group has not read. SAGAS are orders under way.

Exit codes: 0 nothing to look at, 1 something to look at, or failed, 2 wrong arguments.";

/// Arguments of `openorder health`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct HealthArgs {
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command; whether there is nothing to look at.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &HealthArgs) -> anyhow::Result<bool> {
    block_on(Box::pin(health(settings, args)))?
}

async fn health(settings: &SettingsArgs, args: &HealthArgs) -> anyhow::Result<bool> {
    let mut client = operations_client(&args.through, settings).await?;
    let answer = client.get_pipeline_health(GetPipelineHealthRequest {}).await;
    let answer = answer.map_err(|status| failed("the health cannot be shown", &status))?.into_inner();
    match args.through.is_json() {
        true => output::json(&json::of(&answer)?)?,
        false => show(&answer),
    }
    Ok(answer.healthy)
}

fn show(health: &GetPipelineHealthResponse) {
    let headings = ["ROLE", "STATE", "UNPUBLISHED", "PARKED", "DEAD", "LAG", "SAGAS"];
    table::print(&headings, health.roles.iter().map(row).collect());
    line("");
    if health.healthy {
        line("nothing to look at");
        return;
    }
    for role in &health.roles {
        for concern in &role.concerns {
            line(format_args!("{}: {} ({})", role.role, concern.detail, concern.reason));
            if let Some(next) = next(&concern.reason, &role.role) {
                note(format_args!("  next: {next}"));
            }
        }
    }
    if !health.lag_error.is_empty() {
        line(format_args!("the lag is not known: {}", health.lag_error));
    }
    if health.unfinished_acts > 0 {
        let acts = count(health.unfinished_acts, "act of an operator is", "acts of operators are");
        line(format_args!("{acts} unfinished"));
        note("  next: openorder audit --state unfinished");
    }
}

fn row(role: &RoleHealth) -> Vec<String> {
    let word = match (role.reachable, role.concerns.is_empty()) {
        (false, _) => "unreachable",
        (true, true) => "ok",
        (true, false) => "look",
    };
    let mut cells = vec![role.role.clone(), word.to_owned()];
    let Some(state) = &role.state else {
        cells.extend(["-", "-", "-"].map(str::to_owned));
        cells.push(known(role.lag));
        return cells;
    };
    let oldest = state.oldest_unpublished_time.as_ref();
    let unpublished = match state.unpublished_events {
        events @ ..=0 => known(events),
        events => format!("{events} ({})", time::age(oldest)),
    };
    let sagas = state.sagas.iter().filter(|saga| saga.count > 0).map(|saga| format!("{} {}", saga.count, saga.step));
    cells.extend([
        unpublished,
        known(state.parked_messages),
        known(state.dead_letters),
        known(role.lag),
        sagas.collect::<Vec<_>>().join(", "),
    ]);
    cells
}

/// A number, or that nobody knows it.
fn known(number: i64) -> String {
    if number < 0 { "?".to_owned() } else { number.to_string() }
}

/// What to type next.
fn next(reason: &str, role: &str) -> Option<String> {
    match reason {
        "DEAD_LETTERS" => Some(format!("openorder dlq list --by-cause --group {role}")),
        "CONSUMER_BEHIND" | "NO_MEMBERS" => Some(format!("openorder lag --partitions --group {role}")),
        "PUBLISHING_STALLED" | "NOT_READY" | "DEGRADED" | "UNREACHABLE" => Some(format!("openorder logs {role}")),
        _ => None,
    }
}
