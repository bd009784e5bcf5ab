//! `openorder user`: users, their roles and keys.
//!
//! - `accounts.rs`: users; `erase.rs`: their end; `first.rs`: the first operator, on the machine;
//! - `keys.rs`: API keys, and the keys that sign access tokens.

mod accounts;
mod erase;
mod first;
mod keys;

use clap::{Args, Subcommand, ValueEnum};
use openorder_proto::user::v1::user_service_client::UserServiceClient;
use openorder_proto::user::v1::{User, UserRole};
use uuid::Uuid;

use crate::block_on::block_on;
use crate::gateway_client::GatewayClient;
use crate::json;
use crate::output;
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;
use crate::time;

pub use accounts::{ActivityArgs, AssignRoleArgs, CreateArgs, ListArgs, OneArgs};
pub use erase::EraseArgs;
pub use first::CreateOperatorArgs;
pub(crate) use first::{NewOperator, make_operator};
pub use keys::{ApiKeyArgs, RotateKeysArgs};

const HELP: &str = "\
Examples:
  openorder user create-operator --email root@example.com     the first one, on the machine that serves
  openorder user create --email ada@example.com
  openorder user assign-role USER --role operator --role customer
  openorder user api-key create USER --name ci

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

/// Arguments of `openorder user`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct UserArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: UserCommand,
}

/// What can be done with users.
#[derive(Clone, Debug, Subcommand)]
pub enum UserCommand {
    /// Make the first operator, by the user service itself: on the machine that serves
    CreateOperator(CreateOperatorArgs),
    /// Register a user
    Create(CreateArgs),
    /// List users, the newest first
    List(ListArgs),
    /// Show a user
    Get(OneArgs),
    /// Give a user other roles
    AssignRole(AssignRoleArgs),
    /// Keep a user from signing in, and end its sessions
    Disable(OneArgs),
    /// Let a disabled user sign in again
    Enable(OneArgs),
    /// Take the person out of a user, for good: mail address, name, password, sessions and keys
    Erase(EraseArgs),
    /// Show what a user did, and what was done to it
    Activity(ActivityArgs),
    /// Make and revoke keys by which programs sign in
    ApiKey(ApiKeyArgs),
    /// Make a new key for signing access tokens; nobody has to sign in anew
    RotateKeys(RotateKeysArgs),
}

impl UserArgs {
    /// Where settings come from.
    #[must_use]
    pub fn settings(&self) -> &SettingsArgs {
        match &self.command {
            UserCommand::CreateOperator(args) => &args.settings,
            UserCommand::Create(args) => &args.through.settings,
            UserCommand::List(args) => &args.through.settings,
            UserCommand::Get(args) | UserCommand::Disable(args) | UserCommand::Enable(args) => &args.through.settings,
            UserCommand::AssignRole(args) => &args.through.settings,
            UserCommand::Erase(args) => &args.through.settings,
            UserCommand::Activity(args) => &args.through.settings,
            UserCommand::ApiKey(args) => args.settings(),
            UserCommand::RotateKeys(args) => &args.through.settings,
        }
    }
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// What is its own.
    Customer,
    /// Everything.
    Operator,
    /// Another program that acts for customers.
    Service,
    /// Reading.
    Viewer,
}

impl RoleName {
    fn number(self) -> i32 {
        let role = match self {
            Self::Customer => UserRole::Customer,
            Self::Operator => UserRole::Operator,
            Self::Service => UserRole::Service,
            Self::Viewer => UserRole::Viewer,
        };
        role.into()
    }
}

/// Runs the command.
///
/// # Errors
/// What could not be done, and what to do about it.
pub fn run(settings: &SettingsArgs, args: &UserArgs) -> anyhow::Result<()> {
    match &args.command {
        UserCommand::CreateOperator(args) => block_on(Box::pin(first::create_operator(settings, args)))?,
        UserCommand::Create(args) => block_on(Box::pin(accounts::create(settings, args)))?,
        UserCommand::List(args) => block_on(Box::pin(accounts::list(settings, args)))?,
        UserCommand::Get(args) => block_on(Box::pin(accounts::get(settings, args)))?,
        UserCommand::AssignRole(args) => block_on(Box::pin(accounts::assign_role(settings, args)))?,
        UserCommand::Disable(args) => block_on(Box::pin(accounts::disable(settings, args)))?,
        UserCommand::Enable(args) => block_on(Box::pin(accounts::enable(settings, args)))?,
        UserCommand::Erase(args) => block_on(Box::pin(erase::erase(settings, args)))?,
        UserCommand::Activity(args) => block_on(Box::pin(accounts::activity(settings, args)))?,
        UserCommand::ApiKey(args) => block_on(Box::pin(keys::run(settings, args)))?,
        UserCommand::RotateKeys(args) => block_on(Box::pin(keys::rotate(settings, args)))?,
    }
}

type Client = UserServiceClient<GatewayClient>;

async fn client(through: &Through, settings: &SettingsArgs) -> anyhow::Result<Client> {
    Ok(UserServiceClient::new(through.gateway_client(settings).await?))
}

fn request_id(what: &str) -> String {
    format!("{what}-{}", Uuid::now_v7())
}

fn show(through: &Through, user: &User) -> anyhow::Result<()> {
    if through.is_json() {
        return output::json(&json::of(user)?);
    }
    facts(user);
    Ok(())
}

fn facts(user: &User) {
    table::facts(vec![
        ("User", user.user_id.clone()),
        ("Mail", user.email.clone()),
        ("Name", user.display_name.clone()),
        ("Roles", roles(user)),
        ("State", word(user.state().as_str_name(), "USER_STATE_")),
        ("Version", user.version.to_string()),
        ("Registered", time::in_full(user.create_time.as_ref())),
        ("Changed", time::in_full(user.update_time.as_ref())),
    ]);
}

fn roles(user: &User) -> String {
    let names: Vec<String> = user.roles().map(|role| word(role.as_str_name(), "USER_ROLE_")).collect();
    names.join(", ")
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}
