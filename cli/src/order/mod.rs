//! `openorder order`: orders, made and looked at by hand, through the gateway.
//!
//! - `create.rs`, `get.rs`, `watch.rs`, `list.rs`, `modify.rs`, `pay.rs`, `cancel.rs`: one file a command;
//! - `follow.rs`: watching an order until it has come to a status;
//! - `view.rs`: how an order looks.

mod cancel;
mod create;
pub(crate) mod follow;
mod get;
mod list;
mod modify;
mod pay;
mod view;
mod watch;

use clap::{Args, Subcommand, ValueEnum};
use openorder_proto::order::v1::OrderStatus;
use openorder_rpc::reason_of;

use crate::block_on::block_on;
use crate::gateway_client;
use crate::settings_args::SettingsArgs;

pub use cancel::CancelArgs;
pub use create::CreateArgs;
pub use get::GetArgs;
pub use list::ListArgs;
pub use modify::ModifyArgs;
pub use pay::PayArgs;
pub use watch::WatchArgs;

const HELP: &str = "\
An order goes PENDING, CONFIRMED (stock is held), PAID, PREPARING, SHIPPED, DELIVERED; or it ends as REJECTED or CANCELLED.
PREPARING is where it stays until somebody ships it; one that was made with --pay manual stays CONFIRMED until it is paid.

Examples:
  openorder order create --customer anna --email anna@example.com --line chair=2
  openorder order create --customer anna --line chair=2 --watch
  openorder order watch 01a2b3c4-… --until preparing
  openorder order get 01a2b3c4-… --timeline
  openorder order list --customer anna --since 1h
  openorder order modify 01a2b3c4-… --line chair=3
  openorder order pay 01a2b3c4-…
  openorder order cancel 01a2b3c4-… --reason 'ordered twice'

Exit codes: 0 done, 1 failed, refused, or the order ended elsewhere than asked for, 2 wrong arguments.";

/// Arguments of `openorder order`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct OrderArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: OrderCommand,
}

/// What can be done with orders.
#[derive(Clone, Debug, Subcommand)]
pub enum OrderCommand {
    /// Make one, and with --watch wait for what becomes of it
    Create(CreateArgs),
    /// Show one, with --timeline also its events
    Get(GetArgs),
    /// Follow one: a line each time that its status changes
    Watch(WatchArgs),
    /// List the newest
    List(ListArgs),
    /// Give one other lines that is not paid yet
    Modify(ModifyArgs),
    /// Pay one that was made with --pay manual
    Pay(PayArgs),
    /// Call one off that is not shipped yet
    Cancel(CancelArgs),
}

impl OrderArgs {
    /// Where settings come from.
    #[must_use]
    pub fn settings(&self) -> &SettingsArgs {
        match &self.command {
            OrderCommand::Create(args) => &args.through.settings,
            OrderCommand::Get(args) => &args.through.settings,
            OrderCommand::Watch(args) => &args.through.settings,
            OrderCommand::List(args) => &args.through.settings,
            OrderCommand::Modify(args) => &args.through.settings,
            OrderCommand::Pay(args) => &args.through.settings,
            OrderCommand::Cancel(args) => &args.through.settings,
        }
    }
}

/// Runs the command; whether the order came to where it was wanted.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &OrderArgs) -> anyhow::Result<bool> {
    match &args.command {
        OrderCommand::Create(args) => block_on(Box::pin(create::run(settings, args)))?,
        OrderCommand::Get(args) => block_on(Box::pin(get::run(settings, args)))?.map(|()| true),
        OrderCommand::Watch(args) => block_on(Box::pin(watch::run(settings, args)))?,
        OrderCommand::List(args) => block_on(Box::pin(list::run(settings, args)))?.map(|()| true),
        OrderCommand::Modify(args) => block_on(Box::pin(modify::run(settings, args)))?,
        OrderCommand::Pay(args) => block_on(Box::pin(pay::run(settings, args)))?.map(|()| true),
        OrderCommand::Cancel(args) => block_on(Box::pin(cancel::run(settings, args)))?.map(|()| true),
    }
}

/// A failed call about orders in words, with what to type next where that is known.
fn failed(what: &str, status: &tonic::Status) -> anyhow::Error {
    let error = gateway_client::failed(what, status);
    match reason_of(status).as_deref().and_then(advice) {
        Some(advice) => anyhow::anyhow!("{error}. {advice}"),
        None => error,
    }
}

/// What to type next after a refusal for this reason.
fn advice(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "ORDER_NOT_FOUND" => "`openorder order list` shows the orders that there are",
        "ORDER_NOT_CANCELLABLE" => "`openorder order get ORDER_ID --timeline` shows where it stands",
        "REQUEST_ID_REUSED" => "without --request-id it becomes a request of its own",
        "INSUFFICIENT_BALANCE" | "WALLET_NOT_FOUND" => {
            "once there is enough in the wallet it can be paid, until the payment deadline that `openorder order get ORDER_ID` shows"
        }
        "ORDER_VERSION_MISMATCH" => "`openorder order get ORDER_ID` shows it, and --expected-version takes its version",
        "ORDER_NOT_PAYABLE"
        | "ORDER_ALREADY_PAID"
        | "PAYMENT_NOT_MANUAL"
        | "ORDER_NOT_MODIFIABLE"
        | "MODIFICATION_UNDER_WAY" => "`openorder order get ORDER_ID --timeline` shows where it stands",
        "PRICE_CHANGED" => "--expect-total takes the new total, and without it any total is taken",
        _ => return None,
    })
}

/// A status as it is given on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Status {
    /// Accepted and durable.
    Pending,
    /// The stock is held.
    Confirmed,
    /// The payment was taken.
    Paid,
    /// Being prepared for the carrier.
    Preparing,
    /// Handed to the carrier.
    Shipped,
    /// Final: the customer has it.
    Delivered,
    /// Final: called off.
    Cancelled,
    /// Final: could not be fulfilled.
    Rejected,
}

impl Status {
    fn to_proto(self) -> OrderStatus {
        match self {
            Self::Pending => OrderStatus::Pending,
            Self::Confirmed => OrderStatus::Confirmed,
            Self::Paid => OrderStatus::Paid,
            Self::Preparing => OrderStatus::Preparing,
            Self::Shipped => OrderStatus::Shipped,
            Self::Delivered => OrderStatus::Delivered,
            Self::Cancelled => OrderStatus::Cancelled,
            Self::Rejected => OrderStatus::Rejected,
        }
    }
}
