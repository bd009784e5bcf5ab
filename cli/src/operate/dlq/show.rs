//! `openorder dlq show`.

use clap::Args;
use openorder_proto::operations::v1::{DeadLetter, GetDeadLetterRequest, GetDeadLetterResponse};

use crate::gateway_client::failed;
use crate::json;
use crate::operate::{count, operations_client};
use crate::output::{self, line, note};
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;
use crate::time;

const HELP: &str = "\
Examples:
  openorder dlq show inventory/42
  openorder dlq show inventory/42 --output json | jq .payload_json

The value may hold personal data, such as a mail address.

Exit codes: 0 done, 1 no such dead letter or failed, 2 wrong arguments.";

/// Bytes of a value that cannot be decoded, as shown.
const RAW_SHOWN_MAX: usize = 64;

/// Arguments of `openorder dlq show`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ShowArgs {
    /// The dead letter, such as inventory/42.
    #[arg(value_name = "ID")]
    pub id: String,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

pub(super) async fn run(settings: &SettingsArgs, args: &ShowArgs) -> anyhow::Result<()> {
    let mut client = operations_client(&args.through, settings).await?;
    let answer = client.get_dead_letter(GetDeadLetterRequest { dead_letter_id: args.id.clone() }).await;
    let found = answer.map_err(|status| failed("the dead letter cannot be shown", &status))?.into_inner();
    if args.through.is_json() {
        let mut document = json::of(&found)?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("payload_json".to_owned(), json::embedded(&found.payload_json));
        }
        return output::json(&document);
    }
    show(&found);
    Ok(())
}

fn show(found: &GetDeadLetterResponse) {
    let letter = found.dead_letter.clone().unwrap_or_default();
    facts(&letter);
    line("\nAttempts");
    let attempts = found.attempts.iter().map(|attempt| {
        vec![
            format!("  {}", attempt.number),
            time::shown(attempt.attempt_time.as_ref()),
            attempt.reason.clone(),
            table::cut(&attempt.detail, 120),
        ]
    });
    output::columns(&attempts.collect::<Vec<_>>()).iter().for_each(line);
    line("\nHeaders");
    let headers = found.headers.iter().map(|header| vec![format!("  {}", header.name), table::cut(&header.value, 120)]);
    output::columns(&headers.collect::<Vec<_>>()).iter().for_each(line);
    line(format_args!("\nValue, {} bytes, {}", found.payload.len(), table::or_dash(&found.payload_message)));
    if found.payload_error.is_empty() {
        let json = serde_json::to_string_pretty(&json::embedded(&found.payload_json)).unwrap_or_default();
        json.lines().for_each(|text| line(format_args!("  {text}")));
    } else {
        line(format_args!("  cannot be decoded: {}", table::cut(&found.payload_error, 200)));
        line(format_args!("  {}", hexadecimal(&found.payload)));
    }
    next(&letter);
}

fn facts(letter: &DeadLetter) {
    let behind = count(letter.waiting_behind, "later message waits behind it", "later messages wait behind it");
    table::facts(vec![
        ("Dead letter", letter.dead_letter_id.clone()),
        ("Type", table::or_dash(&letter.event_type)),
        ("From", format!("{}, partition {}, offset {}", letter.topic, letter.partition, letter.offset)),
        ("Key", format!("{}; {behind}", table::cut(&table::or_dash(&letter.key), 100))),
        ("Event", letter.event_id.clone()),
        ("Recorded", time::in_full(letter.record_time.as_ref())),
        ("Failed first", time::in_full(letter.parked_time.as_ref())),
        ("Died", time::in_full(letter.dead_time.as_ref())),
        ("Reason", format!("{} ({}), after {}", letter.reason, letter.failure_class, tries(letter.attempts))),
        ("Detail", table::cut(&letter.detail, 300)),
        ("Trace", if letter.trace_url.is_empty() { letter.trace_id.clone() } else { letter.trace_url.clone() }),
        ("Replay", letter.replay_job_id.clone()),
    ]);
}

fn tries(attempts: i32) -> String {
    count(attempts.into(), "attempt", "attempts")
}

fn next(letter: &DeadLetter) {
    let id = &letter.dead_letter_id;
    note(format_args!(
        "\nnext: openorder dlq replay {id} --reason '…'     once what was wrong is mended\n      \
         openorder dlq discard {id} --reason '…'    if it is never to have an effect"
    ));
}

fn hexadecimal(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(RAW_SHOWN_MAX).map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > RAW_SHOWN_MAX { " …" } else { "" };
    format!("{}{more}", shown.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values_are_shown_from_their_beginning() {
        assert_eq!(hexadecimal(&[0, 255]), "00 ff");
        assert!(hexadecimal(&[7; RAW_SHOWN_MAX + 1]).ends_with("07 …"));
    }
}
