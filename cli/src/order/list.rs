//! `openorder order list`.

use chrono::{DateTime, Utc};
use clap::Args;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{ListOrdersRequest, Order};
use serde_json::json;

use super::{Status, failed, view};
use crate::json;
use crate::output::{self, line, note};
use crate::settings_args::SettingsArgs;
use crate::show::money;
use crate::table;
use crate::through::Through;
use crate::time;

/// Orders of one call at most.
const PAGE_SIZE: usize = 500;

const HELP: &str = "\
Examples:
  openorder order list
  openorder order list --customer anna --status pending,confirmed
  openorder order list --since 2h --limit 1000 --output json | jq '.orders[] | select(.status_reason != \"\")'

The newest orders come first. When there are more, `next_page_token` of the JSON document begins the next list.

Exit codes: 0 done (also when there are none), 1 failed, 2 wrong arguments.";

/// Arguments of `openorder order list`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ListArgs {
    /// Only orders of this user.
    #[arg(long, value_name = "USER")]
    pub customer: Option<String>,
    /// Only orders in these statuses, with commas between several.
    #[arg(long, value_enum, ignore_case = true, value_name = "STATUS", value_delimiter = ',')]
    pub status: Vec<Status>,
    /// Only orders made since: 90s, 15m, 2h, 3d ago, or a time such as 2026-05-17T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub since: Option<DateTime<Utc>>,
    /// Only orders made before: as --since.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub before: Option<DateTime<Utc>>,
    /// At most this many orders, the newest first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Go on where an earlier list ended: its next_page_token, with the same conditions.
    #[arg(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command.
pub(super) async fn run(settings: &SettingsArgs, args: &ListArgs) -> anyhow::Result<()> {
    let mut client = OrderServiceClient::new(args.through.gateway_client(settings).await?);
    let limit = args.limit as usize;
    let (mut orders, mut page_token): (Vec<Order>, _) = (Vec::new(), args.page_token.clone().unwrap_or_default());
    loop {
        let request = ListOrdersRequest {
            customer_id: args.customer.clone().unwrap_or_default(),
            statuses: args.status.iter().map(|status| status.to_proto().into()).collect(),
            create_time_from: time::to_proto(args.since),
            create_time_until: time::to_proto(args.before),
            page_size: i32::try_from(PAGE_SIZE.min(limit - orders.len())).unwrap_or_default(),
            page_token,
        };
        let answer = client.list_orders(request).await;
        let page = answer.map_err(|status| failed("the orders cannot be listed", &status))?.into_inner();
        orders.extend(page.orders);
        page_token = page.next_page_token;
        if page_token.is_empty() || orders.len() >= limit {
            break;
        }
    }
    let more = !page_token.is_empty();
    if args.through.is_json() {
        let document = json!({ "orders": json::list(&orders)?, "more": more, "next_page_token": page_token });
        return output::json(&document);
    }
    if orders.is_empty() {
        line("no orders");
    }
    table::print(&["ORDER", "STATUS", "CUSTOMER", "TOTAL", "MADE"], orders.iter().map(row).collect());
    if more {
        note(format_args!("\nthere are more: --limit {}, or --page-token {page_token}", args.limit.saturating_mul(2)));
    }
    Ok(())
}

fn row(order: &Order) -> Vec<String> {
    vec![
        order.order_id.clone(),
        view::status(order),
        order.customer_id.clone(),
        money(order.total.as_ref()),
        time::shown(order.create_time.as_ref()),
    ]
}
