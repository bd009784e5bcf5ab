//! How a command reaches the system, and how it answers.

use clap::Args;

use crate::gateway_client::{self, GatewayArgs, GatewayClient};
use crate::output::Format;
use crate::session;
use crate::settings_args::SettingsArgs;

/// How a command reaches the system, and how it answers.
#[derive(Clone, Debug, Args)]
pub struct Through {
    /// Where the gateway is.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// API key or access token to call with, instead of the sign-in of `openorder login`.
    #[arg(long, value_name = "TOKEN", env = "OPENORDER_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// `text` for eyes; `json` for programs. Progress and questions go to standard error.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    pub output: Format,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl Through {
    /// The gateway, for the client of any service behind it.
    ///
    /// # Errors
    /// Settings that cannot be used; nobody is there, or somebody else.
    pub(crate) async fn gateway_client(&self, settings: &SettingsArgs) -> anyhow::Result<GatewayClient> {
        let gateway = self.gateway.address(settings)?;
        let client = gateway_client::connect(&gateway).await?;
        let token = match &self.token {
            Some(token) => Some(token.clone()),
            None => session::access_token(&client, gateway.url()).await?,
        };
        client.with_token(token.as_deref())
    }

    pub(crate) fn is_json(&self) -> bool {
        self.output == Format::Json
    }
}
