//! `openorder order modify`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use openorder_proto::google::r#type::Money;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{GetOrderRequest, ModifyOrderRequest, Order, OrderModificationState, RequestedLine};
use uuid::Uuid;

use super::create::requested_line;
use super::{failed, view};
use crate::gateway_client::GatewayClient;
use crate::json;
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::show::parse_money;
use crate::through::Through;
use crate::time::duration;

/// Pause between two looks at an order whose modification is not decided.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const HELP: &str = "\
Examples:
  openorder order modify 01a2b3c4-5d6e-7f80-9123-456789abcdef --line chair=3 --line desk
  openorder order modify 01a2b3c4-5d6e-7f80-9123-456789abcdef --line chair=3 --expected-version 2
  openorder order modify 01a2b3c4-5d6e-7f80-9123-456789abcdef --line chair=3 --output json | jq -r .modification.state

The lines take the place of the order's, all or none, once there is stock for all of them; the command waits for that. An
order can be changed while it is PENDING, and, made with --pay manual, while it is CONFIRMED and not paid. Without
--expected-version the order is changed as it stands now. A request id that was used before returns the first answer again.

Exit codes: 0 the order has the lines, 1 it was refused, keeps its lines, or the time was over, 2 wrong arguments.";

/// Arguments of `openorder order modify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ModifyArgs {
    /// Id of the order, a UUID.
    #[arg(value_name = "ORDER_ID")]
    pub order_id: String,
    /// A product and how many pieces of it, `chair=2`; `chair` is one piece. Once for each product.
    #[arg(long = "line", value_name = "SKU=PIECES", required = true, value_parser = requested_line)]
    pub lines: Vec<RequestedLine>,
    /// The version of the order that is to be changed: another one is refused [default: as it stands now].
    #[arg(long, value_name = "N")]
    pub expected_version: Option<i64>,
    /// What the new lines have to cost together, such as '38.00 EUR': at any other total nothing is changed.
    #[arg(long, value_name = "AMOUNT", value_parser = parse_money)]
    pub expect_total: Option<Money>,
    /// Request id, to repeat a modification whose answer was lost [default: a new one].
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// How long to wait until it is decided.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command; whether the order has the lines.
pub(super) async fn run(settings: &SettingsArgs, args: &ModifyArgs) -> anyhow::Result<bool> {
    let mut client = OrderServiceClient::new(args.through.gateway_client(settings).await?);
    let expected_version = match args.expected_version {
        Some(version) => version,
        None => get(&mut client, &args.order_id).await?.version,
    };
    let request = ModifyOrderRequest {
        request_id: args.request_id.clone().unwrap_or_else(|| format!("modify-{}", Uuid::now_v7())),
        order_id: args.order_id.clone(),
        expected_version,
        lines: args.lines.clone(),
        expected_total: args.expect_total.clone(),
    };
    let answer = client.modify_order(request).await;
    let answer = answer.map_err(|status| failed("the order was not changed", &status))?.into_inner();
    let asked = answer.order.context("ModifyOrder answered without an order")?;
    let order_version = asked.modification.as_ref().map_or(0, |modification| modification.order_version);
    let order = decided(&mut client, asked, args.timeout).await?;
    match args.through.is_json() {
        true => output::json(&json::of(&order)?)?,
        false => view::print(&order),
    }
    let modification = order.modification.as_ref().filter(|one| one.order_version == order_version);
    match modification.map(|one| one.state()) {
        Some(OrderModificationState::Accepted) => Ok(true),
        Some(OrderModificationState::Rejected) => {
            let reason = modification.map_or("", |one| one.reason.as_str());
            note(format_args!("\nthe order keeps its lines: {reason}"));
            Ok(false)
        }
        Some(_) => bail!(
            "it is not decided after {:?}: `openorder order get {}` shows it, `openorder health` says what the system \
             waits for",
            args.timeout,
            order.order_id,
        ),
        None => bail!("the order was changed again: `openorder order get {} --timeline` shows how", order.order_id),
    }
}

/// The order once its modification is decided, or as it stands when the time is over.
async fn decided(
    client: &mut OrderServiceClient<GatewayClient>,
    mut order: Order,
    timeout: Duration,
) -> anyhow::Result<Order> {
    let deadline = Instant::now() + timeout;
    let is_under_way =
        |order: &Order| order.modification.as_ref().is_some_and(|one| one.state() == OrderModificationState::Requested);
    while is_under_way(&order) && Instant::now() < deadline {
        tokio::time::sleep(LOOK_AGAIN).await;
        order = get(client, &order.order_id).await?;
    }
    Ok(order)
}

async fn get(client: &mut OrderServiceClient<GatewayClient>, order_id: &str) -> anyhow::Result<Order> {
    let answer = client.get_order(GetOrderRequest { order_id: order_id.to_owned() }).await;
    let answer = answer.map_err(|status| failed("the order cannot be looked at", &status))?;
    answer.into_inner().order.context("GetOrder answered without an order")
}
