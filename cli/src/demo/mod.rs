//! `openorder demo`: four orders through a running system, each followed to its end.
//!
//! - `people.rs`: an operator and a customer, who sign in;
//! - `world.rs`: the product, the wallet and the coupon that the orders need, and what is left of them afterwards;
//! - `story.rs`: one order: placed, watched, explained by its timeline;
//! - `cart.rs`: what a visitor does before an order is placed;
//! - `parcel.rs`: what its carrier says of an order that is sent;
//! - `trace.rs`: where the first order's trace can be seen.

mod cart;
mod parcel;
mod people;
mod story;
mod trace;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use openorder_proto::order::v1::OrderStatus;

use crate::block_on::block_on;
use crate::config;
use crate::gateway_client::{self, GatewayArgs};
use crate::output::line;
use crate::settings_args::SettingsArgs;
use crate::show::mark;

use people::{Operators, People};
use story::Story;
use world::World;

/// How long an order, or what follows from it, may take before the demo says that it does not come.
const PATIENCE: Duration = Duration::from_secs(30);

const HELP: &str = "\
Examples:
  openorder demo
  openorder demo --gateway http://127.0.0.1:9080
  openorder demo --operator-file demo-operator       keeps the operator that it makes, and is the same one next time

A customer registers each time, and orders a product with a wallet and a coupon of its own, so it can be run as often as you
like. Product, coupon and parcel are an operator's: one that is made as `openorder user create-operator` makes one, with a
password that is drawn, or one whose token is given. Nothing is cleaned up afterwards: look at what it made. The exit code is
0 when everything came out as expected.";

/// Arguments of `openorder demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct DemoArgs {
    /// Where the gateway is.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// API key or access token of an operator that there is; without it, one is made by the user service (services.user).
    #[arg(long, value_name = "TOKEN")]
    pub operator_token: Option<String>,
    /// Keeps the operator that is made for the next time: its password in the first line, its mail address in the second
    /// [default: it is kept nowhere, and shown once].
    #[arg(long, value_name = "FILE", conflicts_with = "operator_token")]
    pub operator_file: Option<PathBuf>,
    /// Signs this machine's user in as that operator, as `openorder login` does.
    #[arg(long, conflicts_with = "operator_token")]
    pub sign_in: bool,
    /// Jaeger's page, for the link to the trace.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:16686")]
    pub jaeger: String,
    /// Where Jaeger is asked, when that is another address than its page has in a browser, such as between containers
    /// [default: the page].
    #[arg(long, value_name = "URL")]
    pub jaeger_api: Option<String>,
    /// The gateway's address in what is printed, when that is another one than is called here. The admin port is then not
    /// printed: it is not reached from there.
    #[arg(long, value_name = "HOST:PORT")]
    pub shown_gateway: Option<String>,
    /// Page of the mail server, where what the customer was sent can be read.
    #[arg(long, value_name = "URL")]
    pub mail: Option<String>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Runs the demo; whether everything came out as expected.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &DemoArgs) -> anyhow::Result<bool> {
    let gateway = args.gateway.address(settings)?;
    // Only shown: settings that cannot be used are reported where they are needed.
    let admin = config::load(settings, &[]).ok().map(|loaded| loaded.settings.admin.listen_address);
    let pages = Pages {
        jaeger: &args.jaeger,
        jaeger_api: args.jaeger_api.as_deref().unwrap_or(&args.jaeger),
        mail: args.mail.as_deref(),
        gateway: args.shown_gateway.as_deref(),
        admin: admin.as_deref().filter(|_| args.shown_gateway.is_none()),
    };
    let operators = Operators {
        token: args.operator_token.as_deref(),
        file: args.operator_file.as_deref(),
        signs_in: args.sign_in,
    };
    block_on(Box::pin(demo(settings, &gateway, operators, &pages)))?
}

/// What there is to look at.
struct Pages<'a> {
    jaeger: &'a str,
    /// Where Jaeger is asked whether it has a trace.
    jaeger_api: &'a str,
    mail: Option<&'a str>,
    /// Address of the gateway, where another one is to be printed than is called.
    gateway: Option<&'a str>,
    /// Address of the admin port.
    admin: Option<&'a str>,
}

async fn demo(
    settings: &SettingsArgs,
    gateway: &gateway_client::Address,
    operators: Operators<'_>,
    pages: &Pages<'_>,
) -> anyhow::Result<bool> {
    line(format_args!("OpenOrder, through its gateway {}\n", gateway.url()));
    let client = gateway_client::connect(gateway).await?;
    let people = People::gather(settings, gateway, &client, operators).await?;
    let world = World::make(people).await?;

    let mut outcomes = Vec::new();
    for (number, story) in stories(&world).iter().enumerate() {
        line(format_args!("\n{}. {}", number + 1, story.title));
        outcomes.push(story.play().await?);
    }

    line("\nWhat is left");
    let settled = world.check().await?;
    let notified = world.show_notifications(&outcomes).await?;
    let expected = settled && notified && outcomes.iter().all(|order| order.as_expected);

    line("\nGo on from here");
    let is_protected = gateway.is_protected();
    let gateway = pages.gateway.unwrap_or_else(|| client.authority());
    try_it(gateway, is_protected, &world);
    if let Some(first) = outcomes.first() {
        line(format_args!("  {}", trace::link(pages.jaeger, pages.jaeger_api, &first.trace_id).await));
    }
    addresses(gateway, pages);
    line(format_args!("\n{} {}", mark(expected), verdict(expected)));
    Ok(expected)
}

fn stories(world: &World) -> [Story<'_>; 4] {
    let story = |title, quantity, status, reason| Story {
        title,
        world,
        quantity,
        status,
        reason,
        coupon: None,
        is_of_cart: false,
    };
    let of_cart = story("An order out of a cart, that succeeds", world::BOUGHT, OrderStatus::Preparing, "");
    let with_coupon = story("An order with a coupon, sent and delivered", world::SENT, OrderStatus::Delivered, "");
    [
        Story { is_of_cart: true, ..of_cart },
        Story { coupon: Some(&world.issued_coupon_id), ..with_coupon },
        story("An order of more than there is", world::TOO_MANY, OrderStatus::Rejected, "OUT_OF_STOCK"),
        story("An order that cannot be paid", world::TOO_DEAR, OrderStatus::Cancelled, "INSUFFICIENT_BALANCE"),
    ]
}

fn try_it(gateway: &str, is_protected: bool, world: &World) {
    let People { customer_id, api_key, .. } = &world.people;
    let request = serde_json::json!({
        "request_id": format!("try-{}", world.sku),
        "customer_id": customer_id,
        "lines": [{ "sku": world.sku, "quantity": 1 }],
    });
    let (grpcurl, curl) = match is_protected {
        true => ("grpcurl -cacert CA_FILE", "curl --cacert CA_FILE https://"),
        false => ("grpcurl -plaintext", "curl http://"),
    };
    let who = format!("-H 'authorization: Bearer {api_key}'");
    line(
        "  Place an order yourself, as the demo's customer; the token is an API key of it, which does not end by itself (no",
    );
    line("  grpcurl? `dev/tool grpcurl` is one; a new order needs a new request_id):");
    line(format_args!("    {grpcurl} {who} -d '{request}' {gateway} openorder.order.v1.OrderService/CreateOrder"));
    line("  The same in HTTP and JSON; sent again, it is the same order:");
    line(format_args!("    {curl}{gateway}/v1/orders {who} -H 'content-type: application/json' -d '{request}'"));
}

fn addresses(gateway: &str, pages: &Pages<'_>) {
    line(format_args!("  gRPC, with reflection: {gateway}"));
    line(format_args!("  Jaeger:                {}", pages.jaeger));
    if let Some(mail) = pages.mail {
        line(format_args!("  Mail to the customer:  {mail}"));
    }
    if let Some(admin) = pages.admin {
        let admin = gateway_client::url_of("http", admin);
        line(format_args!("  Metrics and readiness: {admin}/metrics  {admin}/readyz"));
    }
}

fn verdict(expected: bool) -> &'static str {
    if expected {
        "Everything came out as expected."
    } else {
        "Not everything came out as expected: see the lines marked above. `openorder logs ROLE` shows what a role says."
    }
}
