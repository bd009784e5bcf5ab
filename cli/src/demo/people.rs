//! Who takes part: an operator, who runs the shop, and a customer, who orders. Both are users of the running system; their
//! passwords are drawn here, and are nobody's before.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use openorder_proto::user::v1::user_service_client::UserServiceClient;
use openorder_proto::user::v1::{
    AuthenticateRequest, AuthenticateResponse, CreateApiKeyRequest, RegisterUserRequest, Session,
};
use openorder_rpc::status::is_unauthenticated;
use uuid::Uuid;

use crate::gateway_client::{Address, GatewayClient, failed};
use crate::output::line;
use crate::session::{self, Stored};
use crate::settings_args::SettingsArgs;
use crate::user::{NewOperator, make_operator};

/// What sessions are told to be of.
const CLIENT_ID: &str = "demo";

/// How somebody signs in.
#[derive(Clone, PartialEq, Eq)]
struct Account {
    email: String,
    password: String,
}

/// Where the demo gets its operator from.
#[derive(Clone, Copy)]
pub(super) struct Operators<'a> {
    /// Token of one that there is.
    pub(super) token: Option<&'a str>,
    /// Keeps the one that is made, for the next time.
    pub(super) file: Option<&'a Path>,
    /// Whether this machine's user is signed in as the operator afterwards.
    pub(super) signs_in: bool,
}

/// Those who take part, as the gateway knows them.
pub(super) struct People {
    pub(super) operator: GatewayClient,
    pub(super) customer: GatewayClient,
    pub(super) customer_id: String,
    pub(super) customer_email: String,
    /// The customer's, for the lines that are printed: an access token would end while somebody reads them.
    pub(super) api_key: String,
}

impl People {
    pub(super) async fn gather(
        settings: &SettingsArgs,
        gateway: &Address,
        client: &GatewayClient,
        operators: Operators<'_>,
    ) -> anyhow::Result<Self> {
        let operator = operator(settings, gateway, client, operators).await?;
        let account = Account::draw("demo");
        let request = RegisterUserRequest {
            request_id: Uuid::now_v7().to_string(),
            email: account.email.clone(),
            password: account.password.clone(),
            display_name: "Customer of the demo".to_owned(),
            ..RegisterUserRequest::default()
        };
        let registered = UserServiceClient::new(client.clone()).register_user(request).await;
        let registered = registered.map_err(|status| failed("the customer could not register", &status))?;
        let user = registered.into_inner().user.context("RegisterUser answered without a user")?;
        let Some(session) = account.sign_in(client).await? else {
            bail!("the customer has registered, and cannot sign in");
        };
        let customer = client.clone().with_token(Some(&session.access_token))?;
        let api_key = api_key(&customer, &user.user_id).await?;
        line(format_args!("✓ customer {}: registers, signs in, and makes an API key", account.email));
        Ok(Self { operator, customer, customer_id: user.user_id, customer_email: account.email, api_key })
    }
}

/// The gateway, as an operator calls it.
async fn operator(
    settings: &SettingsArgs,
    gateway: &Address,
    client: &GatewayClient,
    operators: Operators<'_>,
) -> anyhow::Result<GatewayClient> {
    if let Some(token) = operators.token {
        line("✓ operator: the one whose token was given");
        return client.clone().with_token(Some(token));
    }
    let kept = operators.file.map(Account::read).transpose()?.flatten();
    let known = match kept {
        Some(account) => {
            let session = account.sign_in(client).await?;
            session.map(|session| (account, session))
        }
        None => None,
    };
    let (account, session) = match known {
        Some((account, session)) => {
            line(format_args!("✓ operator {}: signs in", account.email));
            (account, session)
        }
        // None is kept, or one of another database.
        None => made(settings, client, operators.file).await?,
    };
    match operators.file {
        Some(file) => line(format_args!("    its password is the first line of {}", file.display())),
        None => line(format_args!("    its password is shown this once: {}", account.password)),
    }
    let operator = client.clone().with_token(Some(&session.access_token))?;
    if operators.signs_in {
        sign_in_here(gateway, session)?;
    }
    Ok(operator)
}

/// Has the other commands go on as the operator, unless their user is somebody elsewhere.
fn sign_in_here(gateway: &Address, session: Session) -> anyhow::Result<()> {
    match session::elsewhere(gateway.url())? {
        Some(other) => line(format_args!("    not signed in on this machine, whose user is signed in at {other}")),
        None => {
            let place = Stored::of(gateway.url(), session).save()?;
            line(format_args!("    signed in on this machine ({}) until `openorder logout`", place.display()));
        }
    }
    Ok(())
}

/// A new operator, signed in.
async fn made(
    settings: &SettingsArgs,
    client: &GatewayClient,
    file: Option<&Path>,
) -> anyhow::Result<(Account, Session)> {
    let account = Account::draw("demo-operator");
    // Kept first: one that nobody can sign in as is of no use.
    if let Some(file) = file {
        account.write(file)?;
    }
    let new = NewOperator {
        email: &account.email,
        name: "Operator of the demo",
        user_id: "",
        password: account.password.clone(),
    };
    let made = make_operator(settings, new).await;
    made.context(
        "the demo needs an operator: run it where the user service is reached, or give one by --operator-token",
    )?;
    line(format_args!("✓ operator {}: made as `openorder user create-operator` makes one", account.email));
    let Some(session) = account.sign_in(client).await? else {
        bail!("an operator was made by services.user, and the gateway does not know it: are they of one system?");
    };
    Ok((account, session))
}

async fn api_key(customer: &GatewayClient, user_id: &str) -> anyhow::Result<String> {
    let request = CreateApiKeyRequest {
        request_id: Uuid::now_v7().to_string(),
        user_id: user_id.to_owned(),
        display_name: "demo".to_owned(),
        expire_time: None,
    };
    let created = UserServiceClient::new(customer.clone()).create_api_key(request).await;
    Ok(created.map_err(|status| failed("the customer could not make an API key", &status))?.into_inner().key)
}

impl Account {
    /// Of somebody who is not there yet.
    fn draw(name: &str) -> Self {
        let secret: [u8; 16] = rand::random();
        Self {
            email: format!("{name}-{}@example.com", Uuid::new_v4().simple()),
            password: secret.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Its session; none if nobody has this mail address and password.
    async fn sign_in(&self, client: &GatewayClient) -> anyhow::Result<Option<Session>> {
        let request = AuthenticateRequest {
            email: self.email.clone(),
            password: self.password.clone(),
            client_id: CLIENT_ID.to_owned(),
        };
        match UserServiceClient::new(client.clone()).authenticate(request).await {
            Ok(answer) => {
                let AuthenticateResponse { session, .. } = answer.into_inner();
                Ok(Some(session.context("Authenticate answered without a session")?))
            }
            Err(status) if is_unauthenticated(&status) => Ok(None),
            Err(status) => Err(failed(&format!("{} could not sign in", self.email), &status)),
        }
    }

    /// What was kept in a file, if there is one: the password, and the mail address in the next line, so that
    /// `openorder login --email ADDRESS < FILE` reads it.
    fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(lines
            .next()
            .zip(lines.next())
            .map(|(password, email)| Self { email: email.to_owned(), password: password.to_owned() }))
    }

    /// Keeps it where nobody else may read it.
    fn write(&self, file: &Path) -> anyhow::Result<()> {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let new = PathBuf::from(name);
        let write = || {
            let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            open.write_all(format!("{}\n{}\n", self.password, self.email).as_bytes())?;
            open.sync_all()?;
            fs::rename(&new, file)
        };
        write().with_context(|| format!("the operator cannot be kept in {}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_account_is_drawn_and_kept_for_nobody_else_to_read() {
        let folder = std::env::temp_dir().join(format!("openorder-demo-{}", Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("operator");
        assert!(Account::read(&file).unwrap().is_none());
        let (account, other) = (Account::draw("demo"), Account::draw("demo"));
        assert!(account.password.len() == 32 && account.password != other.password && account.email != other.email);
        other.write(&file).unwrap();
        account.write(&file).unwrap();
        assert!(Account::read(&file).unwrap().is_some_and(|read| read == account));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&file).unwrap().starts_with(&account.password), "as `openorder login` reads it");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::write(&file, "half\n").unwrap();
        assert!(Account::read(&file).unwrap().is_none());
        fs::remove_dir_all(&folder).unwrap();
    }
}
