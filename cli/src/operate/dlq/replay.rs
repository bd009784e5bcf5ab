//! `openorder dlq replay`.

use clap::Args;
use openorder_proto::operations::v1::{
    DeadLetterFilter, ReplayDeadLettersRequest, ReplayDeadLettersResponse, ReplayGroupProgress, ReplayPhase,
};
use serde_json::json;

use super::set::SetArgs;
use crate::json;
use crate::operate::act::{self, ActArgs};
use crate::operate::{Client, count, operations_client};
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;

const HELP: &str = "\
Examples:
  openorder dlq replay inventory/42 --reason 'mended in 1.4.2'
  openorder dlq replay --group payment --error UNIQUE_VIOLATION --dry-run
  openorder dlq replay --group payment --rate 10 --reason 'provider is back' --yes
  openorder dlq replay --all --reason 'database restored' --request-id restore-1

The set is frozen when the replay begins: what dies later is not part of it. A letter is in one replay at a time, so
nothing is replayed twice. Letters of one key are handled in their order, and the messages behind them follow. The
groups do the work themselves: it goes on when this command is interrupted. The same command with --request-id watches
it again; `openorder dlq cancel` stops it.

Exit codes: 0 all were handled, 1 some died again or were left out, or the replay was refused or failed, 2 wrong
arguments.";

/// Arguments of `openorder dlq replay`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ReplayArgs {
    /// Which ones.
    #[command(flatten)]
    pub set: SetArgs,
    /// Letters that a group gets back a second.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub rate: i32,
    /// How it is done.
    #[command(flatten)]
    pub act: ActArgs,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

pub(super) async fn run(settings: &SettingsArgs, args: &ReplayArgs) -> anyhow::Result<bool> {
    let (dead_letter_ids, filter) = args.set.chosen()?;
    let client = operations_client(&args.through, settings).await?;
    let asked = |dry_run, request_id: &str| request(args, &dead_letter_ids, filter.as_ref(), dry_run, request_id);
    // A replay that is taken up again has its set already.
    if args.act.dry_run || args.act.request_id.is_none() {
        let counted = watch(&client, asked(true, ""), |_| {}).await?;
        if args.act.dry_run {
            return print_count(args, &counted).map(|()| true);
        }
        let (total, behind) = (sum(&counted, |group| group.total), sum(&counted, |group| group.waiting_behind));
        if total > 0 {
            args.act.confirm(&format!(
                "Replay {} of {} ({} behind)?",
                count(total, "dead letter", "dead letters"),
                groups(&counted),
                count(behind, "message waits", "messages wait"),
            ))?;
        }
    }
    let request_id = args.act.request_id("replay");
    note(format_args!("request id {request_id}"));
    let ended = watch(&client, asked(false, &request_id), print_progress).await?;
    output::progress_ends();
    print_end(args, &request_id, &ended)
}

fn request(
    args: &ReplayArgs,
    ids: &[String],
    filter: Option<&DeadLetterFilter>,
    dry_run: bool,
    request_id: &str,
) -> ReplayDeadLettersRequest {
    ReplayDeadLettersRequest {
        request_id: request_id.to_owned(),
        dead_letter_ids: ids.to_vec(),
        filter: filter.cloned(),
        reason: args.act.reason(),
        rate_per_second: args.rate,
        dry_run,
    }
}

async fn watch(
    client: &Client,
    request: ReplayDeadLettersRequest,
    each: impl FnMut(&ReplayDeadLettersResponse),
) -> anyhow::Result<ReplayDeadLettersResponse> {
    let request_id = request.request_id.clone();
    let call = || {
        let (mut client, request) = (client.clone(), act::long(request.clone()));
        async move { client.replay_dead_letters(request).await.map(tonic::Response::into_inner) }
    };
    Ok(act::follow(&request_id, call, each).await?.unwrap_or_default())
}

fn sum(answer: &ReplayDeadLettersResponse, of: impl Fn(&ReplayGroupProgress) -> i64) -> i64 {
    answer.groups.iter().map(of).sum()
}

fn groups(answer: &ReplayDeadLettersResponse) -> String {
    let names = answer.groups.iter().filter(|group| group.total > 0).map(|group| group.group.as_str());
    names.collect::<Vec<_>>().join(", ")
}

fn print_progress(answer: &ReplayDeadLettersResponse) {
    let phase = match answer.phase() {
        ReplayPhase::Frozen => "the set is frozen",
        ReplayPhase::Running => "giving back",
        ReplayPhase::Settling => "waiting for the last",
        _ => return,
    };
    output::progress(format_args!(
        "{phase}: {} of {} given back, {} handled, {} died again",
        sum(answer, |group| group.released),
        sum(answer, |group| group.total),
        sum(answer, |group| group.succeeded),
        sum(answer, |group| group.failed),
    ));
}

fn print_count(args: &ReplayArgs, counted: &ReplayDeadLettersResponse) -> anyhow::Result<()> {
    if args.through.is_json() {
        return output::json(&json!({ "dry_run": true, "groups": json::list(&counted.groups)? }));
    }
    if counted.groups.is_empty() {
        output::line("no dead letter fits; nothing would be replayed");
        return Ok(());
    }
    let row = |group: &ReplayGroupProgress| {
        let numbers = [group.total, group.waiting_behind, group.in_other_replays].map(|number| number.to_string());
        std::iter::once(group.group.clone()).chain(numbers).collect()
    };
    let headings = ["GROUP", "WOULD BE REPLAYED", "WAIT BEHIND THEM", "IN ANOTHER REPLAY"];
    table::print(&headings, counted.groups.iter().map(row).collect());
    note(format_args!(
        "\na dry run: nothing was changed\nnext: openorder dlq replay {} --reason '…'",
        args.set.typed()
    ));
    Ok(())
}

fn print_end(args: &ReplayArgs, request_id: &str, ended: &ReplayDeadLettersResponse) -> anyhow::Result<bool> {
    let (failed, left_out) = (sum(ended, |group| group.failed), sum(ended, |group| group.left_out));
    if args.through.is_json() {
        output::json(&json!({
            "request_id": request_id,
            "audit_entry_id": ended.audit_entry_id,
            "groups": json::list(&ended.groups)?,
        }))?;
    } else {
        let row = |group: &ReplayGroupProgress| {
            let numbers = [group.total, group.succeeded, group.failed, group.left_out].map(|number| number.to_string());
            std::iter::once(group.group.clone()).chain(numbers).collect()
        };
        let headings = ["GROUP", "REPLAYED", "HANDLED", "DIED AGAIN", "LEFT OUT"];
        table::print(&headings, ended.groups.iter().map(row).collect());
        if failed > 0 {
            note("\nnext: openorder dlq list --by-cause       why they died again");
        }
        note(format_args!("audit entry {}", ended.audit_entry_id));
    }
    Ok(failed == 0 && left_out == 0)
}
