//! `openorder order create`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use openorder_proto::google::r#type::Money;
use openorder_proto::order::v1::order_service_client::OrderServiceClient;
use openorder_proto::order::v1::{CreateOrderRequest, Order, OrderStatus, PaymentMode, RequestedLine, ReservationMode};
use openorder_proto::reasons::Word;
use uuid::Uuid;

use super::follow::{Watch, is_final};
use super::{Status, failed, view};
use crate::gateway_client::GatewayClient;
use crate::json;
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::show::parse_money;
use crate::through::Through;
use crate::time::duration;

const HELP: &str = "\
Examples:
  openorder order create --customer anna --line chair=2
  openorder order create --customer anna --email anna@example.com --line chair=2 --line desk --watch
  openorder order create --customer anna --line chair=2 --expect-total '38.00 EUR'
  openorder order create --customer anna --line chair=2 --reserve immediate
  openorder order create --customer anna --line chair=2 --pay manual --until confirmed
  openorder order create --customer anna --line chair=2 --output json | jq -r .order_id

The order is durable once this answers. With --watch or --until it then waits for what becomes of the order. A request id
that was used before returns the order that it made, and makes no other one.

Exit codes: 0 the order was made (and came to the status that was asked for), 1 it was refused, or ended elsewhere, or the
time was over, 2 wrong arguments.";

/// Arguments of `openorder order create`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct CreateArgs {
    /// User id of who buys, and whose wallet pays.
    #[arg(long, value_name = "USER")]
    pub customer: String,
    /// Where mail about the order goes; without it no mail is sent.
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// A product and how many pieces of it, `chair=2`; `chair` is one piece. Once for each product.
    #[arg(long = "line", value_name = "SKU=PIECES", required = true, value_parser = requested_line)]
    pub lines: Vec<RequestedLine>,
    /// When the stock is held: after the answer, or before it, so that OUT_OF_STOCK is answered at once.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub reserve: Reserve,
    /// Who starts the payment: the order itself once its stock is held, or somebody by hand, with `openorder order pay`.
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub pay: Pay,
    /// Request id, new for each order that is wanted [default: a new one].
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// What the lines have to cost together, such as '38.00 EUR': at any other total no order is made.
    #[arg(long, value_name = "AMOUNT", value_parser = parse_money)]
    pub expect_total: Option<Money>,
    /// Wait until the order is PREPARING, which is as far as it goes by itself, or has ended; as --until preparing.
    #[arg(long, conflicts_with = "until")]
    pub watch: bool,
    /// Wait until the order has come to this status, or to a final one.
    #[arg(long, value_enum, ignore_case = true, value_name = "STATUS")]
    pub until: Option<Status>,
    /// How long to wait with --watch or --until.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// When the stock of an order is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Reserve {
    /// After CreateOrder answered.
    #[default]
    Deferred,
    /// Before CreateOrder answers.
    Immediate,
}

/// Who starts the payment of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Pay {
    /// The order itself, once its stock is held.
    #[default]
    Automatic,
    /// Somebody by hand, until the order's payment deadline.
    Manual,
}

/// Reads `chair=2`, or `chair` for one piece.
pub(super) fn requested_line(text: &str) -> Result<RequestedLine, String> {
    let (sku, pieces) = text.split_once('=').unwrap_or((text, "1"));
    let quantity = pieces.parse().ok().filter(|pieces| *pieces > 0);
    let quantity = quantity.ok_or_else(|| "must be a SKU and a number of pieces, such as chair=2".to_owned())?;
    Ok(RequestedLine { sku: sku.to_owned(), quantity })
}

impl CreateArgs {
    fn request(&self, request_id: &str) -> CreateOrderRequest {
        let reservation_mode = match self.reserve {
            Reserve::Deferred => ReservationMode::Deferred,
            Reserve::Immediate => ReservationMode::Immediate,
        };
        let payment_mode = match self.pay {
            Pay::Automatic => PaymentMode::Automatic,
            Pay::Manual => PaymentMode::Manual,
        };
        CreateOrderRequest {
            request_id: request_id.to_owned(),
            customer_id: self.customer.clone(),
            customer_email: self.email.clone().unwrap_or_default(),
            lines: self.lines.clone(),
            reservation_mode: reservation_mode.into(),
            payment_mode: payment_mode.into(),
            expected_total: self.expect_total.clone(),
            ..Default::default()
        }
    }

    /// The status that is waited for, if any is.
    fn until(&self) -> Option<OrderStatus> {
        let watched = self.watch.then_some(Status::Preparing);
        self.until.or(watched).map(Status::to_proto)
    }
}

/// Runs the command; whether the order was made and came to where it was wanted.
pub(super) async fn run(settings: &SettingsArgs, args: &CreateArgs) -> anyhow::Result<bool> {
    let mut client = OrderServiceClient::new(args.through.gateway_client(settings).await?);
    let request_id = args.request_id.clone().unwrap_or_else(|| format!("order-{}", Uuid::now_v7()));
    let made = client.create_order(args.request(&request_id)).await;
    let made = made.map_err(|status| failed("the order was not made", &status))?.into_inner();
    let order = made.order.context("CreateOrder answered without an order")?;
    let wanted = args.until();
    let order = match wanted {
        Some(until) => watched(&client, order, until, args.timeout).await?,
        None => order,
    };
    match args.through.is_json() {
        true => output::json(&json::of(&order)?)?,
        false => view::print(&order),
    }
    match wanted {
        Some(until) if until != order.status() && !is_past(order.status(), until) => {
            if !is_final(order.status()) {
                bail!(
                    "the order is {} after {:?}, and not {} yet: `openorder order watch {} --until {}` goes on, \
                     `openorder health` says what the system waits for",
                    order.status().word(),
                    args.timeout,
                    until.word(),
                    order.order_id,
                    until.word().to_lowercase(),
                );
            }
            Ok(false)
        }
        Some(_) => Ok(true),
        None => {
            match args.pay {
                Pay::Automatic => {
                    note(format_args!("\nnext: openorder order watch {} --until preparing", order.order_id))
                }
                Pay::Manual => {
                    note(format_args!("\nnext: openorder order pay {}, once it is CONFIRMED", order.order_id))
                }
            }
            Ok(order.status() != OrderStatus::Rejected)
        }
    }
}

/// Whether an order that stands here went through that status: the ends that are no success are not on the way.
pub(super) fn is_past(status: OrderStatus, until: OrderStatus) -> bool {
    !matches!(status, OrderStatus::Cancelled | OrderStatus::Rejected) && status as i32 >= until as i32
}

async fn watched(
    client: &OrderServiceClient<GatewayClient>,
    order: Order,
    until: OrderStatus,
    timeout: Duration,
) -> anyhow::Result<Order> {
    let began = Instant::now();
    let watch = Watch { until, deadline: began + timeout };
    let each = |order: &Order| {
        note(format_args!("{:>8.1} ms  {}", began.elapsed().as_secs_f64() * 1_000.0, view::status(order)));
    };
    watch.follow(client, order, each).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_sku_and_a_number_of_pieces() {
        let line = |text| requested_line(text).map(|line| (line.sku, line.quantity));
        assert_eq!(line("chair=2"), Ok(("chair".to_owned(), 2)));
        assert_eq!(line("chair"), Ok(("chair".to_owned(), 1)));
        for bad in ["chair=", "chair=0", "chair=-1", "chair=two", "chair=99999999999"] {
            assert!(line(bad).unwrap_err().contains("chair=2"), "{bad}");
        }
    }

    #[test]
    fn an_order_that_was_called_off_went_nowhere() {
        assert!(is_past(OrderStatus::Preparing, OrderStatus::Paid));
        assert!(!is_past(OrderStatus::Cancelled, OrderStatus::Paid));
        assert!(!is_past(OrderStatus::Pending, OrderStatus::Paid));
    }
}
