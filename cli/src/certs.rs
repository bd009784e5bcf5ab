//! `openorder certs`: an authority of one's own and certificates by it, for development and for closed networks.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use clap::{Args, Subcommand};
use openorder_rpc::tls::role_uri;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::mtls::certified;
use crate::output::note;
use crate::settings_args::SettingsArgs;

const HELP: &str = "\
Examples:
  openorder certs init --directory certs
  openorder serve gateway --set gateway.tls.certificate_file=certs/gateway.pem \\
    --set gateway.tls.private_key_file=certs/gateway-key.pem
  openorder health --gateway https://localhost:8080 --ca-file certs/ca.pem
  openorder serve order --set mtls.certificate_file='certs/{role}.pem' \\
    --set mtls.private_key_file='certs/{role}-key.pem' --set mtls.ca_file=certs/ca.pem …
  openorder certs renew --directory certs             before they end; what runs takes the new ones by itself

In the directory: ca.pem, which callers and roles trust, and ca-key.pem, which signs and belongs to nobody else; for each
role, the gateway too, NAME.pem and NAME-key.pem; and those of `tools`, with which commands call a service where there is
TLS between the roles. The certificates are for localhost, 127.0.0.1, ::1, the role's name and each --host, and name the
role as spiffe://openorder/role/NAME.

For development, and for networks without strangers. For callers from the internet take a certificate of a public
authority.";

/// The authority's name; its certificates carry it, so it stays as it is.
const AUTHORITY: &str = "OpenOrder development CA";
/// How long an authority holds, in days.
const AUTHORITY_DAYS: u64 = 3_650;
/// Clocks differ: what is made now holds since a day before.
const EARLIER: Days = Days::new(1);
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Arguments of `openorder certs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct CertsArgs {
    /// What to make.
    #[command(subcommand)]
    pub command: CertsCommand,
}

/// What can be made.
#[derive(Clone, Debug, Subcommand)]
pub enum CertsCommand {
    /// Make an authority, and a certificate for the gateway and for each role
    #[command(after_help = HELP)]
    Init(InitArgs),
    /// Make the certificates anew, by the authority that init made
    #[command(after_help = HELP)]
    Renew(MakeArgs),
}

/// Arguments of `openorder certs init`.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// Go on with an authority that is there already, as `renew` does, and do not refuse.
    #[arg(long)]
    pub or_renew: bool,
    /// Where certificates are put, and what they say.
    #[command(flatten)]
    pub make: MakeArgs,
}

/// Where certificates are put, and what they say.
#[derive(Clone, Debug, Args)]
pub struct MakeArgs {
    /// Where they are put; it is made if need be.
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: PathBuf,
    /// Where the authority's key is kept, ca-key.pem [default: the same directory].
    #[arg(long, value_name = "DIRECTORY")]
    pub authority: Option<PathBuf>,
    /// A further name or address that they are for; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// How long they hold, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    pub days: u64,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl CertsArgs {
    /// Where settings come from.
    #[must_use]
    pub fn settings(&self) -> &SettingsArgs {
        &self.make().settings
    }

    fn make(&self) -> &MakeArgs {
        let (CertsCommand::Init(InitArgs { make, .. }) | CertsCommand::Renew(make)) = &self.command;
        make
    }
}

impl MakeArgs {
    fn authority_key(&self) -> PathBuf {
        self.authority.as_ref().unwrap_or(&self.directory).join("ca-key.pem")
    }
}

/// Runs the command.
///
/// # Errors
/// An authority that is there already, or is not; a file that cannot be written.
pub fn run(args: &CertsArgs) -> anyhow::Result<()> {
    // Before anything is written.
    for host in &args.make().host {
        san(host)?;
    }
    match &args.command {
        CertsCommand::Init(InitArgs { or_renew: true, make }) if make.authority_key().exists() => renew(make),
        CertsCommand::Init(InitArgs { make, .. }) => init(make),
        CertsCommand::Renew(make) => renew(make),
    }
}

fn init(args: &MakeArgs) -> anyhow::Result<()> {
    let (certificate, key) = (args.directory.join("ca.pem"), args.authority_key());
    for folder in [Some(&args.directory), args.authority.as_ref()].into_iter().flatten() {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    for file in [&certificate, &key] {
        ensure!(!file.exists(), "{} is there already; `openorder certs renew` goes on with it", file.display());
    }
    let authority = CertifiedIssuer::self_signed(authority(Utc::now())?, KeyPair::generate()?)?;
    put(&key, &authority.key().serialize_pem(), SECRET)?;
    put(&certificate, &authority.pem(), PUBLIC)?;
    note(format_args!("made an authority: callers trust {}", certificate.display()));
    make(args, &authority)
}

fn renew(args: &MakeArgs) -> anyhow::Result<()> {
    let key = args.authority_key();
    let pem = fs::read_to_string(&key)
        .with_context(|| format!("{} cannot be read; `openorder certs init` makes one", key.display()))?;
    let key = KeyPair::from_pem(&pem).with_context(|| format!("{} is no private key", key.display()))?;
    make(args, &Issuer::new(authority(Utc::now())?, key))
}

/// A certificate for each role.
fn make(args: &MakeArgs, authority: &Issuer<'_, KeyPair>) -> anyhow::Result<()> {
    let now = Utc::now();
    for role in certified() {
        let key = KeyPair::generate()?;
        let params = of_role(role, &args.host, now, args.days)?;
        let certificate = params.signed_by(&key, authority)?;
        // Whoever reads both in between finds a key that is not the certificate's, and keeps what it has.
        put(&args.directory.join(format!("{role}-key.pem")), &key.serialize_pem(), SECRET)?;
        put(&args.directory.join(format!("{role}.pem")), &certificate.pem(), PUBLIC)?;
    }
    let until = now.date_naive() + Days::new(args.days);
    note(format_args!("made {} certificates in {}, until {until}", certified().count(), args.directory.display()));
    Ok(())
}

fn authority(now: DateTime<Utc>) -> anyhow::Result<CertificateParams> {
    let mut params = named(AUTHORITY, now, AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn of_role(role: &str, hosts: &[String], now: DateTime<Utc>, days: u64) -> anyhow::Result<CertificateParams> {
    let mut params = named(role, now, days)?;
    let own = ["localhost", "127.0.0.1", "::1", role];
    let mut all: Vec<&str> = own.into_iter().chain(hosts.iter().map(String::as_str)).collect();
    all.sort_unstable();
    all.dedup();
    for host in all {
        params.subject_alt_names.push(san(host)?);
    }
    let uri = Ia5String::try_from(role_uri(role)).context("a role's name")?;
    params.subject_alt_names.push(SanType::URI(uri));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn san(host: &str) -> anyhow::Result<SanType> {
    if let Ok(address) = host.parse() {
        return Ok(SanType::IpAddress(address));
    }
    if host.is_empty() || host.contains([':', '/', ' ', '@']) {
        bail!("--host {host:?} is no name and no address");
    }
    Ok(SanType::DnsName(Ia5String::try_from(host).with_context(|| format!("--host {host:?} is no name"))?))
}

fn named(name: &str, now: DateTime<Utc>, days: u64) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let (from, until) = (now.date_naive() - EARLIER, now.date_naive() + Days::new(days));
    let day = |date: NaiveDate| anyhow::Ok((date.year(), u8::try_from(date.month())?, u8::try_from(date.day())?));
    let (from, until) = (day(from)?, day(until)?);
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    Ok(params)
}

/// Writes a file as a whole: who reads it finds what was there before, or all of this.
fn put(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let new = file.with_extension("new");
    let write = || -> io::Result<()> {
        drop(fs::remove_file(&new));
        let mut open = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        open.write_all(text.as_bytes())?;
        open.sync_all()?;
        fs::rename(&new, file)
    };
    write().with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use openorder_gateway::GatewaySettings;
    use openorder_rpc::TlsServerSettings;
    use openorder_runtime::{Readiness, Shutdown};
    use openorder_telemetry::RoleTelemetry;

    use super::*;
    use crate::gateway_client::{Address, connect};
    use crate::mtls;
    use crate::settings::ProcessSettings;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("openorder-certs-{}", uuid::Uuid::now_v7())))
        }

        fn args(&self, hosts: &[&str]) -> MakeArgs {
            MakeArgs {
                directory: self.0.clone(),
                authority: None,
                host: hosts.iter().map(|host| (*host).to_owned()).collect(),
                days: 30,
                settings: SettingsArgs::default(),
            }
        }

        fn file(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn init(make: MakeArgs) -> anyhow::Result<()> {
        run(&CertsArgs { command: CertsCommand::Init(InitArgs { or_renew: false, make }) })
    }

    fn renew(args: MakeArgs) -> anyhow::Result<()> {
        run(&CertsArgs { command: CertsCommand::Renew(args) })
    }

    #[test]
    fn an_authority_is_made_once_and_certificates_by_it_as_often_as_one_likes() {
        let folder = Folder::new();
        assert!(renew(folder.args(&[])).unwrap_err().to_string().contains("certs init"));
        init(folder.args(&["shop.example.com", "10.0.0.7"])).unwrap();
        for role in certified() {
            let mode = fs::metadata(folder.0.join(format!("{role}-key.pem"))).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, SECRET, "{role}");
        }
        let (authority, gateway) = (folder.read("ca.pem"), folder.read("gateway.pem"));
        assert!(init(folder.args(&[])).unwrap_err().to_string().contains("certs renew"));
        renew(folder.args(&[])).unwrap();
        assert_eq!(folder.read("ca.pem"), authority);
        assert_ne!(folder.read("gateway.pem"), gateway);
        assert!(renew(folder.args(&["a b"])).unwrap_err().to_string().contains("a b"));
    }

    #[test]
    fn the_authority_s_key_may_be_kept_elsewhere_and_the_same_command_renews() {
        let folder = Folder::new();
        let authority = Some(folder.0.join("authority"));
        let make = || MakeArgs { directory: folder.0.join("shown"), authority: authority.clone(), ..folder.args(&[]) };
        let again = || run(&CertsArgs { command: CertsCommand::Init(InitArgs { or_renew: true, make: make() }) });
        again().unwrap();
        assert!(folder.0.join("authority/ca-key.pem").exists() && !folder.0.join("shown/ca-key.pem").exists());
        let (first, trusted) = (folder.read("shown/order.pem"), folder.read("shown/ca.pem"));
        again().unwrap();
        assert_eq!(folder.read("shown/ca.pem"), trusted);
        assert_ne!(folder.read("shown/order.pem"), first);
    }

    #[test]
    fn each_role_has_what_it_shows_to_others() {
        let folder = Folder::new();
        init(folder.args(&[])).unwrap();
        let mut settings = ProcessSettings::default();
        settings.mtls.certificate_file = folder.file("{role}.pem");
        settings.mtls.private_key_file = folder.file("{role}-key.pem");
        settings.mtls.ca_file = folder.file("ca.pem");
        for name in certified() {
            assert!(mtls::of(name, &settings).unwrap().is_some(), "{name}");
        }
        settings.mtls.certificate_file = folder.file("product.pem");
        settings.mtls.private_key_file = folder.file("product-key.pem");
        assert!(mtls::of("product", &settings).is_ok());
        let other = mtls::of("order", &settings).err().unwrap().to_string();
        assert!(other.contains("product.pem is not the certificate of order"), "{other}");
    }

    #[tokio::test]
    async fn commands_reach_a_gateway_over_tls_that_shows_what_was_made_here() {
        let folder = Folder::new();
        init(folder.args(&[])).unwrap();
        // As a second time, so that what renew makes is by the same authority.
        renew(folder.args(&[])).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap().to_string(), Shutdown::new());
        drop(listener);
        let settings = GatewaySettings {
            listen_address: address.clone(),
            tls: TlsServerSettings {
                certificate_file: folder.file("gateway.pem"),
                private_key_file: folder.file("gateway-key.pem"),
                ..TlsServerSettings::default()
            },
            ..GatewaySettings::default()
        };
        let until = shutdown.clone();
        let serving = tokio::spawn(async move {
            let role = RoleTelemetry::disabled("gateway");
            openorder_gateway::serve(role, &Readiness::new(), settings, Vec::new(), &until).await
        });
        let speaks_tls = async {
            while crate::port::serves(&address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), speaks_tls).await.unwrap();
        let gateway = |ca_file: &str| Address::new(&format!("https://{address}"), || Ok(ca_file.to_owned()));
        let ours = gateway(&folder.file("ca.pem")).unwrap();
        connect(&ours).await.unwrap();
        let unknown = connect(&gateway("").unwrap()).await.err().unwrap().to_string();
        assert!(unknown.contains("not trusted") && unknown.contains("--ca-file"), "{unknown}");
        let plain = Address::new(&address, || Ok(String::new())).unwrap();
        let advice = connect(&plain).await.err().unwrap().to_string();
        assert!(advice.contains(&format!("--gateway https://{address}")), "{advice}");
        shutdown.trigger();
        serving.await.unwrap().unwrap();
    }
}
