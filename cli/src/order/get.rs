//! `openorder order get`.

use anyhow::Context;
use clap::Args;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{GetOrderRequest, GetOrderTimelineRequest, OrderTimelineEntry};

use super::{failed, view};
use crate::gateway_client::GatewayClient;
use crate::json;
use crate::output::{self, line};
use crate::settings_args::SettingsArgs;
use crate::show::timeline;
use crate::through::Through;

const HELP: &str = "\
Examples:
  openorder order get 01a2b3c4-5d6e-7f80-9123-456789abcdef
  openorder order get 01a2b3c4-5d6e-7f80-9123-456789abcdef --timeline
  openorder order get 01a2b3c4-5d6e-7f80-9123-456789abcdef --output json | jq -r .status

The trace id finds the order's whole trace in Jaeger.

Exit codes: 0 done, 1 no such order or failed, 2 wrong arguments.";

/// Arguments of `openorder order get`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct GetArgs {
    /// Id of the order, a UUID.
    #[arg(value_name = "ORDER_ID")]
    pub order_id: String,
    /// Show its events as well, each with the time since the first one and its reason.
    #[arg(long)]
    pub timeline: bool,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command.
pub(super) async fn run(settings: &SettingsArgs, args: &GetArgs) -> anyhow::Result<()> {
    let mut client = OrderServiceClient::new(args.through.gateway_client(settings).await?);
    let answer = client.get_order(GetOrderRequest { order_id: args.order_id.clone() }).await;
    let answer = answer.map_err(|status| failed("the order cannot be shown", &status))?;
    let order = answer.into_inner().order.context("GetOrder answered without an order")?;
    let events = match args.timeline {
        true => all_events(&mut client, &args.order_id).await?,
        false => Vec::new(),
    };
    if args.through.is_json() {
        let mut document = json::of(&order)?;
        if let (true, Some(fields)) = (args.timeline, document.as_object_mut()) {
            fields.insert("timeline".to_owned(), json::list(&events)?);
        }
        return output::json(&document);
    }
    view::print(&order);
    if args.timeline {
        line("");
        timeline(&events).iter().for_each(line);
    }
    Ok(())
}

/// The order's events, all pages of them.
async fn all_events(
    client: &mut OrderServiceClient<GatewayClient>,
    order_id: &str,
) -> anyhow::Result<Vec<OrderTimelineEntry>> {
    let mut request = GetOrderTimelineRequest { order_id: order_id.to_owned(), ..Default::default() };
    let mut events = Vec::new();
    loop {
        let answer = client.get_order_timeline(request.clone()).await;
        let page = answer.map_err(|status| failed("the order's events cannot be shown", &status))?.into_inner();
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return Ok(events);
        }
        request.page_token = page.next_page_token;
    }
}
