//! `openorder user erase`: a user that is nobody any more.

use clap::Args;
use openorder_proto::user::v1::EraseUserRequest;

use super::{client, request_id, show};
use crate::confirm::confirm;
use crate::gateway_client::failed;
use crate::password;
use crate::settings_args::SettingsArgs;
use crate::through::Through;

const HELP: &str = "\
Examples:
  openorder user erase ada                   by an operator; asks before it is done
  openorder user erase ada --yes
  openorder user erase ada --own < password-file

Mail address, name, password, sessions and API keys are gone for good, the mail address may be registered again, and other
services forget what they keep of the person. The user id stays, and so do its orders. Only operators erase others; who
erases itself gives its password, typed unseen or as the first line of standard input (--own).

Exit codes: 0 done, 1 refused or failed, 2 wrong arguments.";

/// Arguments of `openorder user erase`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct EraseArgs {
    /// User id.
    #[arg(value_name = "USER")]
    pub user_id: String,
    /// It is the caller itself: its password is asked for.
    #[arg(long)]
    pub own: bool,
    /// Do not ask before it is done.
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// How the system is reached.
    #[command(flatten)]
    pub through: Through,
}

pub(super) async fn erase(settings: &SettingsArgs, args: &EraseArgs) -> anyhow::Result<()> {
    let current_password = if args.own { password::read("Password")? } else { String::new() };
    // Who gives its password means it.
    if !args.yes && !args.own {
        confirm(&format!("Erase the user {} for good?", args.user_id), "say --yes")?;
    }
    let request =
        EraseUserRequest { request_id: request_id("erase-user"), user_id: args.user_id.clone(), current_password };
    let answer = client(&args.through, settings).await?.erase_user(request).await;
    let user = answer.map_err(|status| failed("the user is not erased", &status))?.into_inner().user;
    show(&args.through, &user.unwrap_or_default())
}
