//! A gateway over TLS, and who calls it with a token: the certificates are made by `openorder certs`, the user by `openorder
//! user`, its token and its key by calls of the user service.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use openorder_proto::user::v1::{
    AuthenticateRequest, AuthenticateResponse, CreateApiKeyRequest, CreateApiKeyResponse, GetUserRequest,
    GetUserResponse,
};
use openorder_rpc::Upstream;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use uuid::Uuid;

use crate::calls::{ask, upstream_over_tls};
use crate::stack::without_settings;
use crate::system::System;

const USER_ID: &str = "bench";
const EMAIL: &str = "bench@example.com";
const COMMAND_BOUND: Duration = Duration::from_secs(60);
/// How long a new token may be unknown to the gateway, which asks for keys every two seconds.
const BELIEVED_BOUND: Duration = Duration::from_secs(15);

/// What a gateway is protected with, and who calls it.
pub(crate) struct SignIn {
    certificates: PathBuf,
    password: String,
    /// None until the user is made.
    api_key: Option<String>,
}

/// What a caller shows.
pub(crate) struct Tokens {
    /// Ends after minutes.
    pub(crate) access: String,
    /// Stays.
    pub(crate) api_key: String,
}

impl SignIn {
    /// Makes the certificates.
    pub(crate) async fn prepare(system: &System) -> anyhow::Result<Self> {
        let certificates = system.folder().join("certificates");
        let mut command = program(system);
        command.args(["certs", "init", "--directory"]).arg(&certificates);
        run(command, None).await?;
        Ok(Self { certificates, password: Uuid::new_v4().simple().to_string(), api_key: None })
    }

    /// The settings of a gateway that takes nobody without a token, over TLS.
    pub(crate) fn settings(&self) -> Vec<String> {
        let file = |name: &str| self.certificates.join(name).display().to_string();
        vec![
            format!("gateway.tls.certificate_file={}", file("gateway.pem")),
            format!("gateway.tls.private_key_file={}", file("gateway-key.pem")),
            "gateway.anonymous=none".to_owned(),
        ]
    }

    /// Calls to that gateway.
    pub(crate) fn upstream(&self, system: &System) -> anyhow::Result<Upstream> {
        upstream_over_tls(&system.gateway_over_tls(), &self.certificates.join("ca.pem"))
    }

    /// Signs in at the running system; the first time the user is made, an operator with a key.
    pub(crate) async fn tokens(&mut self, system: &System) -> anyhow::Result<Tokens> {
        if self.api_key.is_none() {
            let mut command = program(system);
            command.args(["user", "create-operator", "--email", EMAIL, "--user-id", USER_ID]);
            run(command, Some(&self.password)).await?;
        }
        let gateway = self.upstream(system)?;
        let request = AuthenticateRequest {
            email: EMAIL.to_owned(),
            password: self.password.clone(),
            ..AuthenticateRequest::default()
        };
        let path = "/openorder.user.v1.UserService/Authenticate";
        let answer: AuthenticateResponse = ask(&gateway, path, None, &request).await?;
        let access = answer.session.context("a sign-in without a session")?.access_token;
        until_believed(&gateway, &access).await?;
        let api_key = match &self.api_key {
            Some(api_key) => api_key.clone(),
            None => {
                let request = CreateApiKeyRequest {
                    request_id: "bench-key".to_owned(),
                    user_id: USER_ID.to_owned(),
                    ..CreateApiKeyRequest::default()
                };
                let path = "/openorder.user.v1.UserService/CreateApiKey";
                let answer: CreateApiKeyResponse = ask(&gateway, path, Some(&access), &request).await?;
                self.api_key.insert(answer.key).clone()
            }
        };
        until_believed(&gateway, &api_key).await?;
        Ok(Tokens { access, api_key })
    }
}

/// Waits until the gateway lets the token in.
async fn until_believed(gateway: &Upstream, token: &str) -> anyhow::Result<()> {
    let (request, begin) = (GetUserRequest { user_id: USER_ID.to_owned() }, Instant::now());
    loop {
        let path = "/openorder.user.v1.UserService/GetUser";
        match ask::<GetUserResponse>(gateway, path, Some(token), &request).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                ensure!(begin.elapsed() < BELIEVED_BOUND, "a token is not let in for {BELIEVED_BOUND:?}: {error:#}");
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The program with the settings of the system.
fn program(system: &System) -> Command {
    let mut command = Command::new(system.program());
    without_settings(&mut command);
    command.arg("--config").arg(system.config()).current_dir(system.folder());
    command
}

/// Runs a command to its end, with a line of input where there is one.
async fn run(mut command: Command, input: Option<&str>) -> anyhow::Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let whole = async {
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("standard input of a command")?;
        if let Some(input) = input {
            stdin.write_all(format!("{input}\n").as_bytes()).await?;
        }
        drop(stdin);
        anyhow::Ok(child.wait_with_output().await?)
    };
    let whole = tokio::time::timeout(COMMAND_BOUND, whole).await;
    let Output { status, stderr, .. } =
        whole.with_context(|| format!("a command took more than {COMMAND_BOUND:?}"))??;
    ensure!(status.success(), "openorder: {}", String::from_utf8_lossy(&stderr).trim());
    Ok(())
}
