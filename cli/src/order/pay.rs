//! `openorder order pay`.

use anyhow::Context;
use clap::Args;
use openorder_proto::payment::v1::payment_service_client::PaymentServiceClient;
use openorder_proto::payment::v1::{Payment, ProcessPaymentRequest};
use openorder_proto::reasons::Word;
use uuid::Uuid;

use super::failed;
use crate::json;
use crate::output::{self, note};
use crate::settings_args::SettingsArgs;
use crate::show::money;
use crate::table;
use crate::through::Through;
use crate::time;

const HELP: &str = "\
Examples:
  openorder order pay 01a2b3c4-5d6e-7f80-9123-456789abcdef
  openorder order pay 01a2b3c4-5d6e-7f80-9123-456789abcdef --output json | jq -r .state

For an order that was made with --pay manual and is CONFIRMED: its total is taken from its customer's wallet. The order is
PAID a moment later. When there is too little in the wallet, nothing is decided by that: the order can be paid until its
payment deadline. A request id that was used before returns the first answer again.

Exit codes: 0 the money was taken, 1 it was refused or failed, 2 wrong arguments.";

/// Arguments of `openorder order pay`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct PayArgs {
    /// Id of the order, a UUID.
    #[arg(value_name = "ORDER_ID")]
    pub order_id: String,
    /// Request id, to repeat a payment whose answer was lost [default: a new one].
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Runs the command.
pub(super) async fn run(settings: &SettingsArgs, args: &PayArgs) -> anyhow::Result<()> {
    let mut client = PaymentServiceClient::new(args.through.gateway_client(settings).await?);
    let request = ProcessPaymentRequest {
        request_id: args.request_id.clone().unwrap_or_else(|| format!("pay-{}", Uuid::now_v7())),
        order_id: args.order_id.clone(),
    };
    let answer = client.process_payment(request).await;
    let answer = answer.map_err(|status| failed("the order was not paid", &status))?.into_inner();
    let payment = answer.payment.context("ProcessPayment answered without a payment")?;
    if args.through.is_json() {
        return output::json(&json::of(&payment)?);
    }
    print(&payment);
    note(format_args!("\nnext: openorder order watch {} --until preparing", payment.order_id));
    Ok(())
}

fn print(payment: &Payment) {
    table::facts(vec![
        ("payment", payment.payment_id.clone()),
        ("state", payment.state().word().to_owned()),
        ("order", payment.order_id.clone()),
        ("paid by", payment.user_id.clone()),
        ("amount", money(payment.amount.as_ref())),
        ("paid at", time::in_full(payment.create_time.as_ref())),
    ]);
}
