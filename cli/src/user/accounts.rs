//! Users: made, looked at, changed.

use clap::Args;
use openorder_proto::user::v1::{
    AssignRoleRequest, DisableUserRequest, EnableUserRequest, GetUserRequest, ListUserActivityRequest,
    ListUsersRequest, RegisterUserRequest, User, UserActivity,
};
use serde_json::json;

use super::{RoleName, client, request_id, roles, show, word};
use crate::gateway_client::failed;
use crate::json;
use crate::output::{self, line, note};
use crate::password;
use crate::settings_args::SettingsArgs;
use crate::table;
use crate::through::Through;
use crate::time;

/// Rows of one call at most.
const PAGE_SIZE: usize = 500;

const CREATE_HELP: &str = "\
Examples:
  openorder user create --email ada@example.com
  openorder user create --email bot@example.com --user-id bot --role service < password-file

The password is typed unseen, or is the first line of standard input. Only operators may give a user id or roles.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

const LIST_HELP: &str = "\
Examples:
  openorder user list
  openorder user list --role operator
  openorder user list --email ada@example.com --output json | jq -r '.users[0].user_id'

Exit codes: 0 done (also when there are none), 1 failed, 2 wrong arguments.";

const ONE_HELP: &str = "\
Examples:
  openorder user get ada
  openorder user disable ada
  openorder user enable ada

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

const ASSIGN_HELP: &str = "\
Examples:
  openorder user assign-role ada --role customer --role operator

The roles given are all that the user has from then on. Its access tokens of before are refused a few seconds later; its
sessions go on.

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

const ACTIVITY_HELP: &str = "\
Examples:
  openorder user activity ada

Exit codes: 0 done (also when there is none), 1 failed, 2 wrong arguments.";

/// Arguments of `openorder user create`.
#[derive(Clone, Debug, Args)]
#[command(after_help = CREATE_HELP)]
pub struct CreateArgs {
    /// Mail address to sign in with.
    #[arg(long, value_name = "ADDRESS")]
    pub email: String,
    /// Name for people to read.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// User id [default: the service makes one].
    #[arg(long, value_name = "ID", default_value = "")]
    pub user_id: String,
    /// What the user may do; may be given several times [default: customer].
    #[arg(long, value_enum)]
    pub role: Vec<RoleName>,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Arguments of `openorder user list`.
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    /// Only users with this role.
    #[arg(long, value_enum)]
    pub role: Option<RoleName>,
    /// Only the user with this mail address.
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pub email: String,
    /// At most this many users, the newest first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Arguments of commands about one user.
#[derive(Clone, Debug, Args)]
#[command(after_help = ONE_HELP)]
pub struct OneArgs {
    /// User id.
    #[arg(value_name = "USER")]
    pub user_id: String,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Arguments of `openorder user assign-role`.
#[derive(Clone, Debug, Args)]
#[command(after_help = ASSIGN_HELP)]
pub struct AssignRoleArgs {
    /// User id.
    #[arg(value_name = "USER")]
    pub user_id: String,
    /// A role that the user has from then on; may be given several times.
    #[arg(long, value_enum, required = true)]
    pub role: Vec<RoleName>,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

/// Arguments of `openorder user activity`.
#[derive(Clone, Debug, Args)]
#[command(after_help = ACTIVITY_HELP)]
pub struct ActivityArgs {
    /// User id.
    #[arg(value_name = "USER")]
    pub user_id: String,
    /// At most this many entries, the newest first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

pub(super) async fn create(settings: &SettingsArgs, args: &CreateArgs) -> anyhow::Result<()> {
    let password = password::read_new()?;
    let request = RegisterUserRequest {
        request_id: request_id("create-user"),
        email: args.email.clone(),
        password,
        display_name: args.name.clone(),
        user_id: args.user_id.clone(),
        roles: args.role.iter().map(|role| role.number()).collect(),
    };
    let answer = client(&args.through, settings).await?.register_user(request).await;
    let user = answer.map_err(|status| failed("no user was made", &status))?.into_inner().user;
    show(&args.through, &user.unwrap_or_default())
}

pub(super) async fn list(settings: &SettingsArgs, args: &ListArgs) -> anyhow::Result<()> {
    let mut client = client(&args.through, settings).await?;
    let limit = args.limit as usize;
    let (mut users, mut page_token): (Vec<User>, _) = (Vec::new(), String::new());
    loop {
        let request = ListUsersRequest {
            role: args.role.map_or(0, RoleName::number),
            email: args.email.clone(),
            page_size: i32::try_from(PAGE_SIZE.min(limit - users.len())).unwrap_or_default(),
            page_token,
            ..ListUsersRequest::default()
        };
        let answer = client.list_users(request).await;
        let page = answer.map_err(|status| failed("the users cannot be listed", &status))?.into_inner();
        users.extend(page.users);
        page_token = page.next_page_token;
        if page_token.is_empty() || users.len() >= limit {
            break;
        }
    }
    let more = !page_token.is_empty();
    if args.through.is_json() {
        return output::json(&json!({ "users": json::list(&users)?, "more": more }));
    }
    if users.is_empty() {
        line("no users");
    }
    table::print(&["USER", "MAIL", "ROLES", "STATE", "REGISTERED"], users.iter().map(row).collect());
    if more {
        note(format_args!("\nthere are more: --limit {}", args.limit.saturating_mul(2)));
    }
    Ok(())
}

fn row(user: &User) -> Vec<String> {
    vec![
        user.user_id.clone(),
        user.email.clone(),
        roles(user),
        word(user.state().as_str_name(), "USER_STATE_"),
        time::shown(user.create_time.as_ref()),
    ]
}

pub(super) async fn get(settings: &SettingsArgs, args: &OneArgs) -> anyhow::Result<()> {
    let request = GetUserRequest { user_id: args.user_id.clone() };
    let answer = client(&args.through, settings).await?.get_user(request).await;
    let user = answer.map_err(|status| failed("the user cannot be shown", &status))?.into_inner().user;
    show(&args.through, &user.unwrap_or_default())
}

pub(super) async fn assign_role(settings: &SettingsArgs, args: &AssignRoleArgs) -> anyhow::Result<()> {
    let request = AssignRoleRequest {
        request_id: request_id("assign-role"),
        user_id: args.user_id.clone(),
        expected_version: 0,
        roles: args.role.iter().map(|role| role.number()).collect(),
    };
    let answer = client(&args.through, settings).await?.assign_role(request).await;
    let user = answer.map_err(|status| failed("the roles are as they were", &status))?.into_inner().user;
    show(&args.through, &user.unwrap_or_default())
}

pub(super) async fn disable(settings: &SettingsArgs, args: &OneArgs) -> anyhow::Result<()> {
    let request = DisableUserRequest { request_id: request_id("disable-user"), user_id: args.user_id.clone() };
    let answer = client(&args.through, settings).await?.disable_user(request).await;
    let user = answer.map_err(|status| failed("the user is not disabled", &status))?.into_inner().user;
    show(&args.through, &user.unwrap_or_default())
}

pub(super) async fn enable(settings: &SettingsArgs, args: &OneArgs) -> anyhow::Result<()> {
    let request = EnableUserRequest { request_id: request_id("enable-user"), user_id: args.user_id.clone() };
    let answer = client(&args.through, settings).await?.enable_user(request).await;
    let user = answer.map_err(|status| failed("the user is not enabled", &status))?.into_inner().user;
    show(&args.through, &user.unwrap_or_default())
}

pub(super) async fn activity(settings: &SettingsArgs, args: &ActivityArgs) -> anyhow::Result<()> {
    let request = ListUserActivityRequest {
        user_id: args.user_id.clone(),
        page_size: i32::try_from(args.limit).unwrap_or_default(),
        page_token: String::new(),
    };
    let answer = client(&args.through, settings).await?.list_user_activity(request).await;
    let page = answer.map_err(|status| failed("the activity cannot be shown", &status))?.into_inner();
    let more = !page.next_page_token.is_empty();
    if args.through.is_json() {
        return output::json(&json!({ "activities": json::list(&page.activities)?, "more": more }));
    }
    if page.activities.is_empty() {
        line("no activity");
    }
    let rows = page.activities.iter().map(entry).collect();
    table::print(&["TIME", "WHAT", "BY", "SESSION OR KEY", "FROM"], rows);
    Ok(())
}

fn entry(activity: &UserActivity) -> Vec<String> {
    let about = if activity.session_id.is_empty() { &activity.api_key_id } else { &activity.session_id };
    vec![
        time::shown(activity.time.as_ref()),
        word(activity.r#type().as_str_name(), "USER_ACTIVITY_TYPE_"),
        table::or_dash(&activity.actor),
        table::or_dash(about),
        table::or_dash(&activity.peer_hash),
    ]
}
