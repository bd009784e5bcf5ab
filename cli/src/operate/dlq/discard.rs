//! `openorder dlq discard`.

use std::time::Duration;

use clap::Args;
use openorder_proto::operations::v1::{DiscardDeadLettersRequest, DiscardDeadLettersResponse, DiscardGroupResult};
use serde_json::json;
use tonic::Request;

use super::set::SetArgs;
use crate::json;
use crate::operate::act::{ActArgs, not_seen_to_end};
use crate::operate::{Client, count, operations_client};
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;

const HELP: &str = "\
Examples:
  openorder dlq discard inventory/42 --reason 'made by a test'
  openorder dlq discard --group notification --error MALFORMED --dry-run
  openorder dlq discard --topic order.lifecycle.v1 --until 30d --reason 'too old to matter' --yes

A discarded letter never has an effect. The messages behind it go on, as if it had been handled. It is kept in the
service's history with who discarded it, when and why, and in the audit trail (`openorder audit`).

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

/// How long it may take; a large set takes its time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `openorder dlq discard`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct DiscardArgs {
    /// Which ones.
    #[command(flatten)]
    pub set: SetArgs,
    /// How it is done.
    #[command(flatten)]
    pub act: ActArgs,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

pub(super) async fn run(settings: &SettingsArgs, args: &DiscardArgs) -> anyhow::Result<()> {
    let (dead_letter_ids, filter) = args.set.chosen()?;
    let mut client = operations_client(&args.through, settings).await?;
    let mut request = DiscardDeadLettersRequest {
        request_id: String::new(),
        dead_letter_ids,
        filter,
        reason: args.act.reason(),
        dry_run: true,
    };
    if args.act.dry_run || args.act.request_id.is_none() {
        let counted = call(&mut client, &request).await?;
        if args.act.dry_run {
            return print(args, "WOULD BE DISCARDED", &counted);
        }
        let all: i64 = counted.groups.iter().map(|group| group.discarded).sum();
        let groups: Vec<&str> = counted.groups.iter().map(|group| group.group.as_str()).collect();
        if all > 0 {
            args.act.confirm(&format!(
                "Discard {} of {} for good?",
                count(all, "dead letter", "dead letters"),
                groups.join(", ")
            ))?;
        }
    }
    request.request_id = args.act.request_id("discard");
    request.dry_run = false;
    note(format_args!("request id {}", request.request_id));
    let done = call(&mut client, &request).await?;
    print(args, "DISCARDED", &done)
}

async fn call(client: &mut Client, message: &DiscardDeadLettersRequest) -> anyhow::Result<DiscardDeadLettersResponse> {
    let mut request = Request::new(message.clone());
    request.set_timeout(TIMEOUT);
    let answer = client.discard_dead_letters(request).await;
    let failed = |status| not_seen_to_end("the dead letters cannot be discarded", &message.request_id, &status);
    Ok(answer.map_err(failed)?.into_inner())
}

fn print(args: &DiscardArgs, heading: &str, answer: &DiscardDeadLettersResponse) -> anyhow::Result<()> {
    if args.through.is_json() {
        return output::json(&json!({
            "dry_run": args.act.dry_run,
            "audit_entry_id": answer.audit_entry_id,
            "groups": json::list(&answer.groups)?,
        }));
    }
    if answer.groups.is_empty() {
        output::line("no dead letter fits; nothing would be discarded");
        return Ok(());
    }
    let row = |group: &DiscardGroupResult| {
        vec![group.group.clone(), group.discarded.to_string(), group.in_replay.to_string()]
    };
    table::print(&["GROUP", heading, "IN A REPLAY"], answer.groups.iter().map(row).collect());
    match args.act.dry_run {
        true => note(format_args!(
            "\na dry run: nothing was changed\nnext: openorder dlq discard {} --reason '…'",
            args.set.typed()
        )),
        false => note(format_args!("audit entry {}", answer.audit_entry_id)),
    }
    Ok(())
}
