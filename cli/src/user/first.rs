//! `openorder user create-operator`: the first operator. There is no account by default; whoever can reach the user service
//! itself, behind the gateway, may make one.

use anyhow::Context;
use clap::Args;
use openorder_proto::user::v1::user_service_client::UserServiceClient;
use openorder_proto::user::v1::{RegisterUserRequest, User};
use openorder_rpc::vouching::TOOLS;
use openorder_rpc::{CallContext, RpcClientSettings};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use openorder_types::{Caller, Role};

use super::{RoleName, facts, request_id};
use crate::config;
use crate::gateway_client::failed;
use crate::mtls;
use crate::password;
use crate::settings_args::SettingsArgs;

const HELP: &str = "\
Examples:
  openorder user create-operator --email root@example.com
  openorder user create-operator --email root@example.com --user-id root < password-file

The user service itself is called (services.user), not the gateway: this is for the machine that serves, or one inside its
network, with the certificate of `tools` where there is TLS between the roles (mtls). Later operators are made by
operators: `openorder user assign-role`.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

/// Subject of whoever makes operators on the machine.
const SUBJECT: &str = "local-operator";

/// Arguments of `openorder user create-operator`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct CreateOperatorArgs {
    /// Mail address to sign in with.
    #[arg(long, value_name = "ADDRESS")]
    pub email: String,
    /// Name for people to read.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// User id [default: the service makes one].
    #[arg(long, value_name = "ID", default_value = "")]
    pub user_id: String,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// An operator to be.
pub(crate) struct NewOperator<'a> {
    pub(crate) email: &'a str,
    pub(crate) name: &'a str,
    /// Empty: the service makes one.
    pub(crate) user_id: &'a str,
    pub(crate) password: String,
}

pub(super) async fn create_operator(settings: &SettingsArgs, args: &CreateOperatorArgs) -> anyhow::Result<()> {
    let password = password::read_new()?;
    let new = NewOperator { email: &args.email, name: &args.name, user_id: &args.user_id, password };
    facts(&make_operator(settings, new).await?);
    Ok(())
}

/// Makes an operator, by the user service itself.
///
/// # Errors
/// Settings that cannot be used; the service is not reached from here, or refuses.
pub(crate) async fn make_operator(settings: &SettingsArgs, new: NewOperator<'_>) -> anyhow::Result<User> {
    let settings = config::load(settings, &[])?.settings;
    let (url, tls) = (&settings.services.user, mtls::of(TOOLS, &settings).context("mtls")?);
    let telemetry = RoleTelemetry::disabled("openorder");
    let channel = openorder_rpc::channel_to_role(&telemetry, "user", url, &RpcClientSettings::default(), tls.as_ref())?;
    let caller = Caller::new(SUBJECT, [Role::Operator]);
    let call = CallContext { caller, ..CallContext::of_service("openorder", TraceContext::NONE) };
    let request = RegisterUserRequest {
        request_id: request_id("create-operator"),
        email: new.email.to_owned(),
        password: new.password,
        display_name: new.name.to_owned(),
        user_id: new.user_id.to_owned(),
        roles: vec![RoleName::Operator.number()],
    };
    let answer = UserServiceClient::new(channel).register_user(call.retry_safe_request(request)).await;
    let answer = answer.map_err(|status| failed(&format!("no operator was made at {url}"), &status))?;
    Ok(answer.into_inner().user.unwrap_or_default())
}
