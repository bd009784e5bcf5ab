//! The sign-in of this machine's user: `openorder login` keeps it, the other commands go on with it.
//!
//! It stands in `openorder/session.json` below `$XDG_CONFIG_HOME` (`~/.config`), which nobody else may read.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use anyhow::{Context, bail};
use chrono::Utc;
use openorder_proto::user::v1::user_service_client::UserServiceClient;
use openorder_proto::user::v1::{RefreshTokenRequest, Session};
use openorder_rpc::status::is_unauthenticated;
use serde::{Deserialize, Serialize};

use crate::gateway_client::{GatewayClient, failed};

/// An access token that ends sooner is replaced before it is used, seconds.
const REMAINING_MIN: i64 = 30;

/// A sign-in at one gateway.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stored {
    /// `http://host:port`.
    pub(crate) gateway: String,
    pub(crate) session_id: String,
    access_token: String,
    /// Seconds since 1970.
    access_token_expire_time: i64,
    pub(crate) refresh_token: String,
}

impl Stored {
    /// What is kept of a session.
    pub(crate) fn of(gateway: &str, session: Session) -> Self {
        Self {
            gateway: gateway.to_owned(),
            session_id: session.session_id,
            access_token: session.access_token,
            access_token_expire_time: session.access_token_expire_time.map_or(0, |time| time.seconds),
            refresh_token: session.refresh_token,
        }
    }

    /// Keeps it in the place of another one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn save(&self) -> anyhow::Result<PathBuf> {
        let path = path()?;
        let folder = path.parent().context("a file is in a folder")?;
        let written = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let new = path.with_extension(format!("new-{}", std::process::id()));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            // Whole or not at all: two commands may refresh at the same time, and either result is good.
            fs::rename(&new, &path)
        };
        written().with_context(|| format!("the sign-in cannot be kept in {}", path.display()))?;
        Ok(path)
    }
}

/// The sign-in at this gateway, if there is one.
///
/// # Errors
/// The file cannot be read, or is none.
pub(crate) fn load(gateway: &str) -> anyhow::Result<Option<Stored>> {
    Ok(read()?.filter(|stored| stored.gateway == gateway))
}

/// The gateway that this machine's user is signed in at, if it is another one.
///
/// # Errors
/// As [`load`].
pub(crate) fn elsewhere(gateway: &str) -> anyhow::Result<Option<String>> {
    Ok(read()?.map(|stored| stored.gateway).filter(|other| other != gateway))
}

fn read() -> anyhow::Result<Option<Stored>> {
    let Ok(path) = path() else { return Ok(None) };
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let stored: Stored = serde_json::from_slice(&text)
        .map_err(|_| anyhow::anyhow!("{} is no sign-in: remove it, and `openorder login`", path.display()))?;
    Ok(Some(stored))
}

/// Forgets the sign-in.
///
/// # Errors
/// The file cannot be removed.
pub(crate) fn forget() -> anyhow::Result<()> {
    let path = path()?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// The access token of the sign-in at this gateway; none if there is none. One that has ended is replaced.
///
/// # Errors
/// The sign-in is over, or the gateway does not say.
pub(crate) async fn access_token(client: &GatewayClient, gateway: &str) -> anyhow::Result<Option<String>> {
    access_token_for(client, gateway, REMAINING_MIN).await
}

/// As [`access_token`]; one that ends within so many seconds is replaced as well.
///
/// # Errors
/// As [`access_token`].
pub(crate) async fn access_token_for(
    client: &GatewayClient,
    gateway: &str,
    seconds: i64,
) -> anyhow::Result<Option<String>> {
    let Some(stored) = load(gateway)? else { return Ok(None) };
    if stored.access_token_expire_time - Utc::now().timestamp() > seconds {
        return Ok(Some(stored.access_token));
    }
    let request = RefreshTokenRequest { refresh_token: stored.refresh_token };
    match UserServiceClient::new(client.clone()).refresh_token(request).await {
        Ok(answer) => {
            let renewed = Stored::of(gateway, answer.into_inner().session.unwrap_or_default());
            renewed.save()?;
            Ok(Some(renewed.access_token))
        }
        Err(status) if is_unauthenticated(&status) => {
            bail!("the sign-in at {gateway} is over: `openorder login`, or `openorder logout` to go on without")
        }
        Err(status) => Err(failed("the sign-in cannot be renewed", &status)),
    }
}

fn path() -> anyhow::Result<PathBuf> {
    let own = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    Ok(folder
        .context("neither XDG_CONFIG_HOME nor HOME is set: there is no place for a sign-in")?
        .join("openorder/session.json"))
}
