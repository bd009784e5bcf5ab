//! `openorder order watch`.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{GetOrderRequest, Order, OrderStatus};
use openorder_proto::reasons::Word;

use super::create::is_past;
use super::follow::{Watch, is_final};
use super::{Status, failed, view};
use crate::json;
use crate::output::{self, line, note};
use crate::settings_args::SettingsArgs;
use crate::through::Through;
use crate::time::{self, duration};

const HELP: &str = "\
Examples:
  openorder order watch 01a2b3c4-5d6e-7f80-9123-456789abcdef --until preparing
  openorder order watch 01a2b3c4-5d6e-7f80-9123-456789abcdef --output json | jq -r .status

It ends when the order has come to the status of --until or has passed it, or to a final one (DELIVERED, CANCELLED,
REJECTED). With --output json each line is a JSON document of its own.

Exit codes: 0 the order came to where it was waited for (without --until: to a final status), 1 it ended elsewhere, or the
time was over, 2 wrong arguments.";

/// Arguments of `openorder order watch`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct WatchArgs {
    /// Id of the order, a UUID.
    #[arg(value_name = "ORDER_ID")]
    pub order_id: String,
    /// The status to wait for [default: a final one].
    #[arg(long, value_enum, ignore_case = true, value_name = "STATUS")]
    pub until: Option<Status>,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command; whether the order came to where it was waited for.
pub(super) async fn run(settings: &SettingsArgs, args: &WatchArgs) -> anyhow::Result<bool> {
    let mut client = OrderServiceClient::new(args.through.gateway_client(settings).await?);
    let answer = client.get_order(GetOrderRequest { order_id: args.order_id.clone() }).await;
    let answer = answer.map_err(|status| failed("the order cannot be watched", &status))?;
    let order = answer.into_inner().order.context("GetOrder answered without an order")?;
    let until = args.until.map_or(OrderStatus::Unspecified, Status::to_proto);
    let watch = Watch { until, deadline: Instant::now() + args.timeout };
    let is_json = args.through.is_json();
    let last = watch.follow(&client, order, |order| show(order, is_json)).await?;
    let status = last.status();
    if !watch.is_over(status) {
        note(format_args!("still {} after {:?}: --timeout waits longer", status.word(), args.timeout));
    }
    Ok(if until == OrderStatus::Unspecified { is_final(status) } else { status == until || is_past(status, until) })
}

fn show(order: &Order, is_json: bool) {
    match is_json {
        // None that occurs: the contract describes its own messages.
        true => drop(json::of(order).and_then(|order| output::json_line(&order))),
        false => line(format_args!("{}  {}", time::in_full(order.update_time.as_ref()), view::status(order))),
    }
}
