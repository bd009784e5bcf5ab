//! `openorder audit`: who did what, when, why, and how it ended.

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use openorder_proto::operations::v1::{AuditEntry, AuditState, ListAuditEntriesRequest};
use serde_json::{Value, json};

use super::{PAGE_SIZE, operations_client};
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
  openorder audit
  openorder audit --since 1d --by anna
  openorder audit --state unfinished                     begun, and its process ended first
  openorder audit --details --request-id replay-0197…    what was asked for, and what was done
  openorder audit --output json | jq '.entries[] | {caller, reason, outcome}'

An entry is written before an act begins and completed when it ended; nothing of it is ever changed. Several entries
with one request id are one act that was taken up again. Times are UTC.

Exit codes: 0 done (also when there are none), 1 failed, 2 wrong arguments.";

/// What became of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// At work.
    Started,
    /// Done.
    Succeeded,
    /// Refused; nothing was changed.
    Refused,
    /// It failed on its way.
    Failed,
    /// Begun, and its process ended first.
    Unfinished,
}

impl State {
    fn to_proto(self) -> AuditState {
        match self {
            Self::Started => AuditState::Started,
            Self::Succeeded => AuditState::Succeeded,
            Self::Refused => AuditState::Refused,
            Self::Failed => AuditState::Failed,
            Self::Unfinished => AuditState::Unfinished,
        }
    }
}

/// Arguments of `openorder audit`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct AuditArgs {
    /// Only acts of this caller.
    #[arg(long, value_name = "SUBJECT")]
    pub by: Option<String>,
    /// Only acts by this method, such as DiscardDeadLetters; may be given several times.
    #[arg(long, value_name = "METHOD")]
    pub method: Vec<String>,
    /// Only acts of this request id.
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Only acts in this state.
    #[arg(long, value_enum)]
    pub state: Option<State>,
    /// Only acts that began since: 90s, 15m, 2h, 3d ago, or a time such as 2026-05-17T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub since: Option<DateTime<Utc>>,
    /// Only acts that began before: as --since.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub until: Option<DateTime<Utc>>,
    /// Show each with what was asked for and what was done.
    #[arg(long)]
    pub details: bool,
    /// At most this many entries, the newest first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &AuditArgs) -> anyhow::Result<()> {
    block_on(Box::pin(audit(settings, args)))?
}

async fn audit(settings: &SettingsArgs, args: &AuditArgs) -> anyhow::Result<()> {
    let mut client = operations_client(&args.through, settings).await?;
    let limit = args.limit as usize;
    let (mut entries, mut page_token): (Vec<AuditEntry>, _) = (Vec::new(), String::new());
    let more = loop {
        let request = ListAuditEntriesRequest {
            caller: args.by.clone().unwrap_or_default(),
            methods: args.method.clone(),
            request_id: args.request_id.clone().unwrap_or_default(),
            start_time_from: time::to_proto(args.since),
            start_time_until: time::to_proto(args.until),
            state: args.state.map_or(AuditState::Unspecified, State::to_proto).into(),
            page_size: PAGE_SIZE.min(i32::try_from(limit - entries.len()).unwrap_or(PAGE_SIZE)),
            page_token,
        };
        let answer = client.list_audit_entries(request).await;
        let page = answer.map_err(|status| failed("the audit trail cannot be read", &status))?.into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() || entries.len() >= limit {
            break !page_token.is_empty();
        }
    };
    if args.through.is_json() {
        let entries = entries.iter().map(document).collect::<anyhow::Result<Vec<Value>>>()?;
        return output::json(&json!({ "entries": entries, "more": more }));
    }
    match (entries.is_empty(), args.details) {
        (true, _) => line("no acts"),
        (false, true) => entries.iter().for_each(show),
        (false, false) => {
            let headings = ["BEGAN", "WHO", "WHAT", "STATE", "WHY", "REQUEST ID"];
            table::print(&headings, entries.iter().map(row).collect());
        }
    }
    if more {
        note(format_args!("\nthere are more: --limit {}", args.limit.saturating_mul(2)));
    }
    Ok(())
}

/// An entry with what it holds as JSON, not as text.
fn document(entry: &AuditEntry) -> anyhow::Result<Value> {
    let mut document = json::of(entry)?;
    if let Some(fields) = document.as_object_mut() {
        fields.remove("arguments_json");
        fields.remove("outcome_json");
        fields.insert("arguments".to_owned(), json::embedded(&entry.arguments_json));
        fields.insert("outcome".to_owned(), json::embedded(&entry.outcome_json));
        fields.insert("state".to_owned(), json!(state(entry)));
    }
    Ok(document)
}

fn state(entry: &AuditEntry) -> String {
    let name = entry.state().as_str_name();
    name.strip_prefix("AUDIT_STATE_").unwrap_or(name).to_lowercase()
}

fn row(entry: &AuditEntry) -> Vec<String> {
    vec![
        time::shown(entry.start_time.as_ref()),
        entry.caller.clone(),
        entry.method.clone(),
        state(entry),
        table::cut(&entry.reason, 60),
        entry.request_id.clone(),
    ]
}

fn show(entry: &AuditEntry) {
    table::facts(vec![
        ("Entry", entry.audit_entry_id.clone()),
        ("What", entry.method.clone()),
        ("Who", entry.caller.clone()),
        ("Why", entry.reason.clone()),
        ("Request id", entry.request_id.clone()),
        ("Began", time::in_full(entry.start_time.as_ref())),
        ("Ended", time::in_full(entry.end_time.as_ref())),
        ("State", state(entry)),
        ("Asked for", entry.arguments_json.clone()),
        ("Done", entry.outcome_json.clone()),
        ("Trace", entry.trace_id.clone()),
    ]);
    line("");
}
