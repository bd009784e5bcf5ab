//! An authority that makes certificates, and callers that look at them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use openorder_rpc::TlsServerSettings;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::Running;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// An authority, with a folder of its files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// What a certificate says.
pub struct Says {
    pub hosts: Vec<String>,
    /// The last year in which it holds, on its first day.
    pub until: i32,
}

impl Default for Says {
    fn default() -> Self {
        Self { hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()], until: 2999 }
    }
}

impl Authority {
    pub fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = std::env::temp_dir().join(format!("openorder-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    pub fn ca_file(&self) -> String {
        self.file("ca.pem")
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Settings of a port that shows the certificate in this authority's files, looked at often.
    pub fn settings(&self) -> TlsServerSettings {
        TlsServerSettings {
            certificate_file: self.file("port.pem"),
            private_key_file: self.file("port-key.pem"),
            reload_interval_ms: 20,
            ..TlsServerSettings::default()
        }
    }

    /// Puts a new certificate and its key in the place of those before.
    pub fn certify(&self, says: Says) -> CertificateDer<'static> {
        let (certificate, key) = self.made(says);
        self.put("port.pem", &certificate.pem());
        self.put("port-key.pem", &key.serialize_pem());
        certificate.der().clone()
    }

    /// A certificate without a place.
    pub fn made(&self, says: Says) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(says.hosts).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(says.until, 1, 1);
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Puts a text in the place of a file, as a whole.
    pub fn put(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join("new"), text).unwrap();
        std::fs::rename(self.folder.join("new"), self.folder.join(name)).unwrap();
    }

    /// A connection to a server whose certificate is this authority's.
    pub async fn connect(&self, server: &Running, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        self.connect_with(server, protocols, tokio_rustls::rustls::DEFAULT_VERSIONS).await
    }

    pub async fn connect_with(
        &self,
        server: &Running,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// What the server agreed to speak.
pub fn spoken(stream: &TlsStream<TcpStream>) -> Option<String> {
    let protocol = stream.get_ref().1.alpn_protocol()?;
    Some(String::from_utf8(protocol.to_vec()).unwrap())
}

/// The certificate that the server showed.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}
