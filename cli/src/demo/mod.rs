//! `openorder demo`: four orders through a running system, each followed to its end.
//!
//! - `world.rs`: the product, the wallet and the coupon that the orders need, and what is left of them afterwards;
//! - `story.rs`: one order: placed, watched, explained by its timeline;
//! - `cart.rs`: what a visitor does before an order is placed;
//! - `parcel.rs`: what its carrier says of an order that is sent;
//! - `trace.rs`: where the first order's trace can be seen.

mod cart;
mod parcel;
mod story;
mod trace;
mod world;

use std::time::Duration;

use clap::Args;
use openorder_proto::order::v1::OrderStatus;

use crate::block_on::block_on;
use crate::config;
use crate::gateway_client;
use crate::output::line;
use crate::settings_args::SettingsArgs;
use crate::show::mark;

use story::Story;
use world::World;

/// How long an order, or what follows from it, may take before the demo says that it does not come.
const PATIENCE: Duration = Duration::from_secs(30);

const HELP: &str = "\
Examples:
  openorder demo
  openorder demo --gateway http://127.0.0.1:9080

It makes a product, a wallet and a coupon of its own each time, so it can be run as often as you like. Nothing is cleaned up
afterwards: look at what it made. The exit code is 0 when everything came out as expected.";

/// Arguments of `openorder demo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct DemoArgs {
    /// The gateway [default: gateway.listen_address of the settings, http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    pub gateway: Option<String>,
    /// Certificates to trust at a gateway that is called by https, in a PEM file [default: gateway.tls.ca_file of the
    /// settings, else those of the system].
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
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
    let gateway = gateway_client::address(settings, args.gateway.as_ref(), args.ca_file.as_ref())?;
    // Only shown: settings that cannot be used are reported where they are needed.
    let admin = config::load(settings, &[]).ok().map(|loaded| loaded.settings.admin.listen_address);
    let pages = Pages {
        jaeger: &args.jaeger,
        jaeger_api: args.jaeger_api.as_deref().unwrap_or(&args.jaeger),
        mail: args.mail.as_deref(),
        gateway: args.shown_gateway.as_deref(),
        admin: admin.as_deref().filter(|_| args.shown_gateway.is_none()),
    };
    block_on(Box::pin(demo(&gateway, &pages)))?
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

async fn demo(gateway: &gateway_client::Address, pages: &Pages<'_>) -> anyhow::Result<bool> {
    line(format_args!("OpenOrder, through its gateway {}\n", gateway.url()));
    let client = gateway_client::connect(gateway).await?;
    let world = World::make(&client).await?;

    let mut outcomes = Vec::new();
    for (number, story) in stories(&world).iter().enumerate() {
        line(format_args!("\n{}. {}", number + 1, story.title));
        outcomes.push(story.play(&client).await?);
    }

    line("\nWhat is left");
    let settled = world.check(&client).await?;
    let notified = world.show_notifications(&client, &outcomes).await?;
    let expected = settled && notified && outcomes.iter().all(|order| order.as_expected);

    line("\nGo on from here");
    let flags = if gateway.is_protected() { "-cacert CA_FILE" } else { "-plaintext" };
    let gateway = pages.gateway.unwrap_or_else(|| client.authority());
    try_it(gateway, flags, &world);
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

fn try_it(gateway: &str, flags: &str, world: &World) {
    let request = serde_json::json!({
        "request_id": format!("try-{}", world.customer_id),
        "customer_id": world.customer_id,
        "lines": [{ "sku": world.sku, "quantity": 1 }],
    });
    line("  Place an order yourself (no grpcurl? `dev/tool grpcurl` is one; a new order needs a new request_id):");
    line(format_args!("    grpcurl {flags} -d '{request}' {gateway} openorder.order.v1.OrderService/CreateOrder"));
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
