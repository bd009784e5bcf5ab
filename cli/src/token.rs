//! `openorder token`: the access token of the sign-in, for other programs.

use anyhow::Context;
use clap::Args;

use crate::block_on::block_on;
use crate::gateway_client::{self, GatewayArgs};
use crate::output::line;
use crate::session;
use crate::settings_args::SettingsArgs;

const HELP: &str = "\
Examples:
  grpcurl -plaintext -H \"authorization: Bearer $(openorder token)\" 127.0.0.1:8080 list
  curl -H \"authorization: Bearer $(openorder token)\" http://127.0.0.1:8080/v1/orders

An access token of whoever signed in by `openorder login`, good for half a minute at least and for five minutes at most. A
program that goes on for longer has an API key: `openorder user api-key create`.

Exit codes: 0 printed, 1 nobody is signed in, 2 wrong arguments.";

/// Arguments of `openorder token`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct TokenArgs {
    /// Where the gateway is.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Prints the token.
///
/// # Errors
/// Nobody is signed in, or the sign-in is over.
pub fn run(settings: &SettingsArgs, args: &TokenArgs) -> anyhow::Result<()> {
    let gateway = args.gateway.address(settings)?;
    block_on(Box::pin(async {
        let client = gateway_client::connect(&gateway).await?;
        let token = session::access_token(&client, gateway.url()).await?;
        let nobody = || format!("nobody is signed in at {}: `openorder login`", gateway.url());
        line(token.with_context(nobody)?);
        Ok(())
    }))?
}
