//! `openorder parked`: messages that are tried again by themselves.

use clap::Args;
use openorder_proto::operations::v1::{ListParkedMessagesRequest, ParkedMessage};
use serde_json::json;

use super::{KEY_SHOWN_MAX, PAGE_SIZE, note_unreachable, operations_client};
use crate::block_on::block_on;
use crate::gateway_client::failed;
use crate::json;
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;
use crate::time;

const HELP: &str = "\
Examples:
  openorder parked
  openorder parked --group payment --output json
  openorder parked --key 0197c2f0-…                      what holds this order up, and what waits behind it

A message that failed is tried again with growing pauses; later messages of its key wait behind it, in order. When its
attempts are used up it becomes a dead letter (`openorder dlq list`). Times are UTC.

Exit codes: 0 done (also when there are none), 1 failed, 2 wrong arguments.";

/// Arguments of `openorder parked`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ParkedArgs {
    /// Only of this consumer group, such as inventory; may be given several times.
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// Only from this topic, such as order.lifecycle.v1.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Only of this key, such as an order id.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// At most this many messages.
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
pub fn run(settings: &SettingsArgs, args: &ParkedArgs) -> anyhow::Result<()> {
    block_on(Box::pin(parked(settings, args)))?
}

async fn parked(settings: &SettingsArgs, args: &ParkedArgs) -> anyhow::Result<()> {
    let mut client = operations_client(&args.through, settings).await?;
    let limit = args.limit as usize;
    let (mut messages, mut page_token): (Vec<ParkedMessage>, _) = (Vec::new(), String::new());
    let (more, unreachable) = loop {
        let request = ListParkedMessagesRequest {
            groups: args.group.clone(),
            topic: args.topic.clone().unwrap_or_default(),
            key: args.key.clone().unwrap_or_default(),
            page_size: PAGE_SIZE.min(i32::try_from(limit - messages.len()).unwrap_or(PAGE_SIZE)),
            page_token,
        };
        let answer = client.list_parked_messages(request).await;
        let page = answer.map_err(|status| failed("parked messages cannot be listed", &status))?.into_inner();
        messages.extend(page.parked_messages);
        page_token = page.next_page_token;
        if page_token.is_empty() || messages.len() >= limit {
            break (!page_token.is_empty(), page.unreachable);
        }
    };
    if args.through.is_json() {
        let messages = json::list(&messages)?;
        let document = json!({ "parked_messages": messages, "more": more, "unreachable": json::list(&unreachable)? });
        return output::json(&document);
    }
    note_unreachable(&unreachable);
    if messages.is_empty() {
        output::line("no parked messages");
        return Ok(());
    }
    table::print(&["ID", "PARKED", "TYPE", "KEY", "TRIES", "NEXT", "WHY"], messages.iter().map(row).collect());
    if more {
        note(format_args!("\nthere are more: --limit {}", args.limit.saturating_mul(2)));
    }
    Ok(())
}

fn row(message: &ParkedMessage) -> Vec<String> {
    let why = match (message.behind, message.reason.is_empty()) {
        (true, _) => "waits behind an earlier message of its key".to_owned(),
        (false, true) => "due".to_owned(),
        (false, false) => table::cut(&format!("{}: {}", message.reason, message.detail), 80),
    };
    vec![
        message.parked_message_id.clone(),
        time::shown(message.parked_time.as_ref()),
        table::or_dash(&message.event_type),
        table::cut(&table::or_dash(&message.key), KEY_SHOWN_MAX),
        message.attempts.to_string(),
        time::shown(message.next_attempt_time.as_ref()),
        why,
    ]
}
