//! `openorder lag`: how far consumer groups are behind.

use clap::Args;
use openorder_proto::operations::v1::{GetConsumerLagRequest, GroupLag, PartitionLag};

use super::operations_client;
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
  openorder lag                            every group, a line each
  openorder lag --partitions               every partition
  openorder lag --group inventory --output json | jq '.groups[].lag'

LAG is how many messages the group has not committed. Small numbers are counted one by one; for more than 500 in a
partition it is the distance in offsets, which counts the markers of Kafka's transactions too and is shown with ~.
OLDEST is how long the oldest of them has waited.

Exit codes: 0 done, whatever the lag; 1 Kafka does not answer, or failed; 2 wrong arguments.";

/// Arguments of `openorder lag`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct LagArgs {
    /// Only of this consumer group, such as inventory; may be given several times.
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// A line a partition, with offsets and the member that reads it.
    #[arg(long, short = 'p')]
    pub partitions: bool,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &LagArgs) -> anyhow::Result<()> {
    block_on(Box::pin(lag(settings, args)))?
}

async fn lag(settings: &SettingsArgs, args: &LagArgs) -> anyhow::Result<()> {
    let mut client = operations_client(&args.through, settings).await?;
    let answer = client.get_consumer_lag(GetConsumerLagRequest { groups: args.group.clone() }).await;
    let answer = answer.map_err(|status| failed("the lag cannot be shown", &status))?.into_inner();
    if args.through.is_json() {
        return output::json(&json::of(&answer)?);
    }
    if answer.groups.is_empty() {
        output::line("no consumer group has read anything yet");
        return Ok(());
    }
    if args.partitions {
        let rows = answer.groups.iter().flat_map(|group| group.partitions.iter().map(|one| partition_row(group, one)));
        let headings = ["GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "OLDEST", "MEMBER"];
        table::print(&headings, rows.collect());
    } else {
        table::print(&["GROUP", "STATE", "MEMBERS", "LAG", "OLDEST"], answer.groups.iter().map(group_row).collect());
        if answer.groups.iter().any(|group| group.lag > 0) {
            note("\nnext: openorder lag --partitions");
        }
    }
    Ok(())
}

fn shown(lag: i64, exact: bool) -> String {
    if exact { lag.to_string() } else { format!("~{lag}") }
}

fn group_row(group: &GroupLag) -> Vec<String> {
    let exact = group.partitions.iter().all(|partition| partition.exact);
    vec![
        group.group.clone(),
        group.state.clone(),
        group.members.to_string(),
        shown(group.lag, exact),
        time::age(group.oldest_time.as_ref()),
    ]
}

fn partition_row(group: &GroupLag, partition: &PartitionLag) -> Vec<String> {
    let committed =
        if partition.committed_offset < 0 { "-".to_owned() } else { partition.committed_offset.to_string() };
    vec![
        group.group.clone(),
        partition.topic.clone(),
        partition.partition.to_string(),
        committed,
        partition.end_offset.to_string(),
        shown(partition.lag, partition.exact),
        time::age(partition.oldest_time.as_ref()),
        table::or_dash(&partition.member),
    ]
}
