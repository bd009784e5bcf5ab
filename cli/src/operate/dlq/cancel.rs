//! `openorder dlq cancel`.

use clap::Args;
use openorder_proto::operations::v1::{CancelReplayRequest, ReplayGroupProgress};

use crate::gateway_client::failed;
use crate::json;
use crate::operate::operations_client;
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;

const HELP: &str = "\
Examples:
  openorder dlq cancel replay-0197… --reason 'the mend was none'

What was given back by then is still handled; the rest stays dead and can be replayed or discarded anew.

Exit codes: 0 done (also when the replay had ended), 1 no such replay or failed, 2 wrong arguments.";

/// Arguments of `openorder dlq cancel`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct CancelArgs {
    /// Request id of the replay; `openorder audit` shows it.
    #[arg(value_name = "REQUEST_ID")]
    pub request_id: String,
    /// Why: it stands in the audit trail.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

pub(super) async fn run(settings: &SettingsArgs, args: &CancelArgs) -> anyhow::Result<()> {
    let mut client = operations_client(&args.through, settings).await?;
    let request = CancelReplayRequest { request_id: args.request_id.clone(), reason: args.reason.clone() };
    let answer = client.cancel_replay(request).await;
    let answer = answer.map_err(|status| failed("the replay cannot be stopped", &status))?.into_inner();
    if args.through.is_json() {
        return output::json(&json::of(&answer)?);
    }
    let row = |group: &ReplayGroupProgress| {
        let numbers = [group.total, group.released, group.left_out].map(|number| number.to_string());
        std::iter::once(group.group.clone()).chain(numbers).collect()
    };
    table::print(&["GROUP", "IN THE SET", "GIVEN BACK", "LEFT OUT"], answer.groups.iter().map(row).collect());
    note(format_args!("audit entry {}", answer.audit_entry_id));
    Ok(())
}
