//! API keys, and the keys that sign access tokens.

use clap::{Args, Subcommand};
use openorder_proto::user::v1::{
    ApiKey, CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest, RotateSigningKeysRequest,
};
use serde_json::json;

use super::{client, request_id};
use crate::gateway_client::failed;
use crate::json;
use crate::output::{self, line, note};
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;
use crate::time;

const HELP: &str = "\
Examples:
  openorder user api-key create ci-bot --name 'nightly build'
  openorder user api-key list ci-bot
  openorder user api-key revoke 0123456789abcdef

A user has at most two that work: make the second, give it to the program, revoke the first.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

const ROTATE_HELP: &str = "\
Examples:
  openorder user rotate-keys

The new key signs a minute later (user.signing_key_announce_ms), when every gateway knows it. Access tokens of the key
before are accepted until they end. Without this command, keys are replaced after user.signing_key_life_ms.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

/// Arguments of `openorder user api-key`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ApiKeyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ApiKeyCommand,
}

/// What can be done with API keys.
#[derive(Clone, Debug, Subcommand)]
pub enum ApiKeyCommand {
    /// Make a key for a user; it is shown once
    Create(CreateKeyArgs),
    /// List the keys of a user, without their secrets
    List(ListKeysArgs),
    /// End a key
    Revoke(RevokeKeyArgs),
}

/// Arguments of `openorder user api-key create`.
#[derive(Clone, Debug, Args)]
pub struct CreateKeyArgs {
    /// User id of the user that it acts as.
    #[arg(value_name = "USER")]
    pub user_id: String,
    /// What it is for, for people to read.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Arguments of `openorder user api-key list`.
#[derive(Clone, Debug, Args)]
pub struct ListKeysArgs {
    /// User id.
    #[arg(value_name = "USER")]
    pub user_id: String,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Arguments of `openorder user api-key revoke`.
#[derive(Clone, Debug, Args)]
pub struct RevokeKeyArgs {
    /// Id of the key.
    #[arg(value_name = "KEY_ID")]
    pub api_key_id: String,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Arguments of `openorder user rotate-keys`.
#[derive(Clone, Debug, Args)]
#[command(after_help = ROTATE_HELP)]
pub struct RotateKeysArgs {
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

impl ApiKeyArgs {
    pub(super) fn settings(&self) -> &SettingsArgs {
        match &self.command {
            ApiKeyCommand::Create(args) => &args.through.settings,
            ApiKeyCommand::List(args) => &args.through.settings,
            ApiKeyCommand::Revoke(args) => &args.through.settings,
        }
    }
}

pub(super) async fn run(settings: &SettingsArgs, args: &ApiKeyArgs) -> anyhow::Result<()> {
    match &args.command {
        ApiKeyCommand::Create(args) => create(settings, args).await,
        ApiKeyCommand::List(args) => list(settings, args).await,
        ApiKeyCommand::Revoke(args) => revoke(settings, args).await,
    }
}

async fn create(settings: &SettingsArgs, args: &CreateKeyArgs) -> anyhow::Result<()> {
    let request = CreateApiKeyRequest {
        request_id: request_id("create-key"),
        user_id: args.user_id.clone(),
        display_name: args.name.clone(),
        expire_time: None,
    };
    let answer = client(&args.through, settings).await?.create_api_key(request).await;
    let created = answer.map_err(|status| failed("no key was made", &status))?.into_inner();
    if args.through.is_json() {
        return output::json(&json::of(&created)?);
    }
    note("the key is shown once: keep it where the program finds it, such as OPENORDER_TOKEN");
    line(created.key);
    Ok(())
}

async fn list(settings: &SettingsArgs, args: &ListKeysArgs) -> anyhow::Result<()> {
    let request = ListApiKeysRequest { user_id: args.user_id.clone() };
    let answer = client(&args.through, settings).await?.list_api_keys(request).await;
    let keys = answer.map_err(|status| failed("the keys cannot be listed", &status))?.into_inner().api_keys;
    if args.through.is_json() {
        return output::json(&json!({ "api_keys": json::list(&keys)? }));
    }
    if keys.is_empty() {
        line("no keys");
    }
    table::print(&["KEY", "NAME", "MADE", "LAST USED", "ENDS", "REVOKED"], keys.iter().map(row).collect());
    Ok(())
}

fn row(key: &ApiKey) -> Vec<String> {
    vec![
        key.api_key_id.clone(),
        table::or_dash(&key.display_name),
        time::shown(key.create_time.as_ref()),
        time::shown(key.last_use_time.as_ref()),
        time::shown(key.expire_time.as_ref()),
        time::shown(key.revoke_time.as_ref()),
    ]
}

async fn revoke(settings: &SettingsArgs, args: &RevokeKeyArgs) -> anyhow::Result<()> {
    let request = RevokeApiKeyRequest { request_id: request_id("revoke-key"), api_key_id: args.api_key_id.clone() };
    let answer = client(&args.through, settings).await?.revoke_api_key(request).await;
    let key = answer.map_err(|status| failed("the key is not revoked", &status))?.into_inner().api_key;
    let key = key.unwrap_or_default();
    if args.through.is_json() {
        return output::json(&json::of(&key)?);
    }
    line(format_args!("revoked {} of {}", key.api_key_id, key.user_id));
    Ok(())
}

pub(super) async fn rotate(settings: &SettingsArgs, args: &RotateKeysArgs) -> anyhow::Result<()> {
    let request = RotateSigningKeysRequest { request_id: request_id("rotate-keys") };
    let answer = client(&args.through, settings).await?.rotate_signing_keys(request).await;
    let rotated = answer.map_err(|status| failed("there is no new key", &status))?.into_inner();
    if args.through.is_json() {
        return output::json(&json::of(&rotated)?);
    }
    line(format_args!("key {} signs from {}", rotated.key_id, time::in_full(rotated.activate_time.as_ref())));
    Ok(())
}
