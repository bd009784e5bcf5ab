//! `openorder dlq list`.

use clap::Args;
use openorder_proto::operations::v1::{DeadLetter, DeadLetterCause, ListDeadLettersRequest};
use serde_json::json;

use super::set::FilterArgs;
use crate::gateway_client::failed;
use crate::json;
use crate::operate::{Client, KEY_SHOWN_MAX, PAGE_SIZE, count, note_unreachable, operations_client};
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;
use crate::time;

const HELP: &str = "\
Examples:
  openorder dlq list --by-cause                            what is wrong, most frequent first
  openorder dlq list --group payment --error MALFORMED
  openorder dlq list --since 1h --output json | jq -r '.dead_letters[].dead_letter_id'

Letters of one group are listed in the order they were parked in, which is the order of their keys. BEHIND is how many
later messages of the key wait for the letter. Times are UTC.

Exit codes: 0 done (also when there are none), 1 failed, 2 wrong arguments.";

/// Arguments of `openorder dlq list`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ListArgs {
    /// Conditions.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Count them by group, topic, type and reason, with the first and last time and one of them.
    #[arg(long)]
    pub by_cause: bool,
    /// At most this many letters.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

pub(super) async fn run(settings: &SettingsArgs, args: &ListArgs) -> anyhow::Result<()> {
    let mut client = operations_client(&args.through, settings).await?;
    if args.by_cause { by_cause(&mut client, args).await } else { letters(&mut client, args).await }
}

async fn letters(client: &mut Client, args: &ListArgs) -> anyhow::Result<()> {
    let limit = args.limit as usize;
    let (mut letters, mut page_token): (Vec<DeadLetter>, _) = (Vec::new(), String::new());
    let (more, unreachable) = loop {
        let page_size = PAGE_SIZE.min(i32::try_from(limit - letters.len()).unwrap_or(PAGE_SIZE));
        let filter = Some(args.filter.to_proto());
        let request = ListDeadLettersRequest { filter, page_size, page_token, group_by_cause: false };
        let answer = client.list_dead_letters(request).await;
        let page = answer.map_err(|status| failed("dead letters cannot be listed", &status))?.into_inner();
        letters.extend(page.dead_letters);
        page_token = page.next_page_token;
        if page_token.is_empty() || letters.len() >= limit {
            break (!page_token.is_empty(), page.unreachable);
        }
    };
    if args.through.is_json() {
        let document = json!({
            "dead_letters": json::list(&letters)?, "more": more, "unreachable": json::list(&unreachable)?,
        });
        return output::json(&document);
    }
    note_unreachable(&unreachable);
    if letters.is_empty() {
        output::line("no dead letters");
        return Ok(());
    }
    table::print(&["ID", "DIED", "TYPE", "KEY", "REASON", "TRIES", "BEHIND", ""], letters.iter().map(row).collect());
    if more {
        note(format_args!("\nthere are more: --limit {}", args.limit.saturating_mul(2)));
    }
    if let Some(first) = letters.first() {
        note(format_args!("\nnext: openorder dlq show {}", first.dead_letter_id));
    }
    Ok(())
}

fn row(letter: &DeadLetter) -> Vec<String> {
    vec![
        letter.dead_letter_id.clone(),
        time::shown(letter.dead_time.as_ref()),
        table::or_dash(&letter.event_type),
        table::cut(&table::or_dash(&letter.key), KEY_SHOWN_MAX),
        letter.reason.clone(),
        letter.attempts.to_string(),
        letter.waiting_behind.to_string(),
        if letter.replay_job_id.is_empty() { String::new() } else { "in replay".to_owned() },
    ]
}

async fn by_cause(client: &mut Client, args: &ListArgs) -> anyhow::Result<()> {
    let filter = Some(args.filter.to_proto());
    let request = ListDeadLettersRequest { filter, group_by_cause: true, ..Default::default() };
    let answer = client.list_dead_letters(request).await;
    let answer = answer.map_err(|status| failed("dead letters cannot be counted", &status))?.into_inner();
    if args.through.is_json() {
        let document =
            json!({ "causes": json::list(&answer.causes)?, "unreachable": json::list(&answer.unreachable)? });
        return output::json(&document);
    }
    note_unreachable(&answer.unreachable);
    if answer.causes.is_empty() {
        output::line("no dead letters");
        return Ok(());
    }
    let headings = ["COUNT", "KEYS", "GROUP", "TYPE", "REASON", "FIRST", "LAST", "SAMPLE"];
    table::print(&headings, answer.causes.iter().map(cause_row).collect());
    if let Some(first) = answer.causes.first() {
        output::line(format_args!("\n{}: {}", first.sample_dead_letter_id, table::cut(&first.detail, 100)));
        note(format_args!(
            "\nnext: openorder dlq show {}\n      openorder dlq replay --group {} --error {} --dry-run",
            first.sample_dead_letter_id, first.group, first.reason
        ));
    }
    let all: i64 = answer.causes.iter().map(|cause| cause.count).sum();
    note(format_args!("{} in all", count(all, "dead letter", "dead letters")));
    Ok(())
}

fn cause_row(cause: &DeadLetterCause) -> Vec<String> {
    vec![
        cause.count.to_string(),
        cause.keys.to_string(),
        cause.group.clone(),
        if cause.event_type.is_empty() { format!("? on {}", cause.topic) } else { cause.event_type.clone() },
        cause.reason.clone(),
        time::shown(cause.first_dead_time.as_ref()),
        time::shown(cause.last_dead_time.as_ref()),
        table::or_dash(&cause.sample_dead_letter_id),
    ]
}
