//! `openorder login` and `openorder logout`: who the other commands act as.

use clap::Args;
use openorder_proto::user::v1::user_service_client::UserServiceClient;
use openorder_proto::user::v1::{AuthenticateRequest, SignOutRequest, sign_out_request::Target};

use crate::block_on::block_on;
use crate::gateway_client::{self, GatewayArgs, failed};
use crate::output::line;
use crate::password;
use crate::session::{self, Stored};
use crate::settings_args::SettingsArgs;

const LOGIN_HELP: &str = "\
Examples:
  openorder login --email ada@example.com
  openorder login --email ada@example.com < password-file

The password is typed unseen, or is the first line of standard input. The session is kept in openorder/session.json below
$XDG_CONFIG_HOME (~/.config), which nobody else may read, and the other commands go on with it. Programs have an API key
instead: OPENORDER_TOKEN, or --token.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

const LOGOUT_HELP: &str = "\
Examples:
  openorder logout

Ends the session everywhere, and forgets it here.

Exit codes: 0 done (also when there was none), 1 failed, 2 wrong arguments.";

/// Arguments of `openorder login`.
#[derive(Clone, Debug, Args)]
#[command(after_help = LOGIN_HELP)]
pub struct LoginArgs {
    /// Mail address to sign in with.
    #[arg(long, value_name = "ADDRESS")]
    pub email: String,
    /// Where the gateway is.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Arguments of `openorder logout`.
#[derive(Clone, Debug, Args)]
#[command(after_help = LOGOUT_HELP)]
pub struct LogoutArgs {
    /// Where the gateway is.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Signs in.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn login(settings: &SettingsArgs, args: &LoginArgs) -> anyhow::Result<()> {
    let gateway = args.gateway.address(settings)?;
    let password = password::read("Password")?;
    block_on(Box::pin(async {
        let client = gateway_client::connect(&gateway).await?;
        let request = AuthenticateRequest { email: args.email.clone(), password, client_id: "cli".to_owned() };
        let answer = UserServiceClient::new(client).authenticate(request).await;
        let answer = answer.map_err(|status| failed("nobody is signed in", &status))?.into_inner();
        let user = answer.user.unwrap_or_default();
        let path = Stored::of(gateway.url(), answer.session.unwrap_or_default()).save()?;
        line(format_args!("signed in as {} ({}); kept in {}", user.email, user.user_id, path.display()));
        Ok(())
    }))?
}

/// Signs out.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn logout(settings: &SettingsArgs, args: &LogoutArgs) -> anyhow::Result<()> {
    let gateway = args.gateway.address(settings)?;
    let Some(stored) = session::load(gateway.url())? else {
        line(format_args!("nobody is signed in at {}", gateway.url()));
        return Ok(());
    };
    block_on(Box::pin(async {
        let client = gateway_client::connect(&gateway).await?;
        let request = SignOutRequest { target: Some(Target::RefreshToken(stored.refresh_token)) };
        let answer = UserServiceClient::new(client).sign_out(request).await;
        answer.map_err(|status| failed("the session is not ended", &status))?;
        session::forget()?;
        line(format_args!("signed out of session {}", stored.session_id));
        Ok(())
    }))?
}
