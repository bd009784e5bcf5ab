//! An authority that makes certificates of roles, and peers that show some of them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use openorder_rpc::RolesTlsSettings;
use openorder_rpc::tls::{RoleTls, role_uri};
use openorder_rpc::vouching::KnownRole;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The roles that there are. Of the services, product calls nobody.
pub const ROLES: [&str; 5] = ["gateway", "operations", "tools", "order", "product"];
/// How a client of HTTP/2 begins.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

static FOLDERS: AtomicU32 = AtomicU32::new(0);

pub fn known() -> impl Iterator<Item = KnownRole> {
    ROLES.into_iter().map(|name| KnownRole { name, passes_callers_on: name == "order" })
}

/// An authority, with a folder of its files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate with its key, in PEM.
pub struct Made {
    pub certificate: String,
    key: String,
}

impl Authority {
    /// With a certificate of each role.
    pub fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = std::env::temp_dir().join(format!("openorder-roles-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Self { issuer, folder };
        authority.put("ca.pem", &authority.pem());
        ROLES.iter().for_each(|role| drop(authority.certify(role)));
        authority
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Makes the certificate of a role anew, in its files.
    pub fn certify(&self, role: &str) -> Made {
        let made = self.of(role);
        self.install(role, &made);
        made
    }

    /// Puts a certificate in the place of a role's own.
    pub fn install(&self, role: &str, made: &Made) {
        self.put(&format!("{role}-key.pem"), &made.key);
        self.put(&format!("{role}.pem"), &made.certificate);
    }

    /// A certificate of a role, without a place.
    pub fn of(&self, role: &str) -> Made {
        self.made(&[role_uri(role)], 2999)
    }

    /// A certificate for these URIs that ends on the first day of a year.
    pub fn made(&self, uris: &[String], until: i32) -> Made {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI(Ia5String::try_from(uri.as_str()).unwrap()));
        params.subject_alt_names.extend(uris);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Made { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Puts a text in the place of a file, as a whole.
    pub fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join("new"), text).unwrap();
        std::fs::rename(self.folder.join("new"), self.folder.join(name)).unwrap();
    }

    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Settings of all roles, with files that are looked at often.
    pub fn settings(&self) -> RolesTlsSettings {
        RolesTlsSettings {
            certificate_file: self.file("{role}.pem"),
            private_key_file: self.file("{role}-key.pem"),
            ca_file: self.file("ca.pem"),
            reload_interval_ms: 20,
        }
    }

    /// What a role shows, and whom it believes.
    pub fn tls(&self, role: &str) -> RoleTls {
        RoleTls::load(role, &self.settings(), known()).unwrap().unwrap()
    }

    /// A peer that shows a certificate, or none, and believes this authority alone.
    pub fn peer(&self, shows: Option<&Made>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(made) => {
                let chain = vec![CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// What a peer is shown that a server lets begin.
pub struct Begun {
    pub kind: HandshakeKind,
    pub shown: CertificateDer<'static>,
}

/// Begins to speak HTTP/2 with a server, and waits until that does so, too. In TLS 1.3 only then it is known that the peer
/// was believed.
pub async fn begin(address: SocketAddr, peer: &Arc<ClientConfig>) -> io::Result<Begun> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(peer)).connect(name, stream).await?;
    stream.write_all(BEGINNING).await?;
    stream.read_exact(&mut [0; 9]).await?;
    let connection = stream.get_ref().1;
    let shown = connection.peer_certificates().unwrap()[0].clone().into_owned();
    Ok(Begun { kind: connection.handshake_kind().unwrap(), shown })
}
