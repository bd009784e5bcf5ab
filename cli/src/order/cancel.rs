//! `openorder order cancel`.

use anyhow::Context;
use clap::Args;
use openorder_proto::order::v1::CancelOrderRequest;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use uuid::Uuid;

use super::{failed, view};
use crate::json;
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::through::Through;

const HELP: &str = "\
Examples:
  openorder order cancel 01a2b3c4-5d6e-7f80-9123-456789abcdef --reason 'ordered twice'
  openorder order cancel 01a2b3c4-5d6e-7f80-9123-456789abcdef --reason 'ordered twice' --output json | jq -r .status

An order can be cancelled until it is shipped. It is CANCELLED once this answers; stock and money that it holds are given
back after that: `openorder order get ID --timeline` shows what was. A request id that was used before returns the first
answer again.

Exit codes: 0 the order is cancelled, 1 it was refused or failed, 2 wrong arguments.";

/// Arguments of `openorder order cancel`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct CancelArgs {
    /// Id of the order, a UUID.
    #[arg(value_name = "ORDER_ID")]
    pub order_id: String,
    /// Why, at most 500 characters: it stands in the order and in its history, where the customer reads it.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Request id, to repeat a cancellation whose answer was lost [default: a new one].
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command.
pub(super) async fn run(settings: &SettingsArgs, args: &CancelArgs) -> anyhow::Result<()> {
    let mut client = OrderServiceClient::new(args.through.gateway_client(settings).await?);
    let request = CancelOrderRequest {
        request_id: args.request_id.clone().unwrap_or_else(|| format!("cancel-{}", Uuid::now_v7())),
        order_id: args.order_id.clone(),
        reason: args.reason.clone(),
    };
    let answer = client.cancel_order(request).await;
    let answer = answer.map_err(|status| failed("the order was not cancelled", &status))?.into_inner();
    let order = answer.order.context("CancelOrder answered without an order")?;
    if args.through.is_json() {
        return output::json(&json::of(&order)?);
    }
    view::print(&order);
    note(format_args!("\nnext: openorder order get {} --timeline", order.order_id));
    Ok(())
}
