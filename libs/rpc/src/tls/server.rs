//! A server's certificate, read again when its files change.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use openorder_telemetry::api::{Counter, KeyValue};
use openorder_telemetry::meter;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::settings::TlsServerSettings;
use crate::tls::{HTTP1, HTTP2, TlsError, Transport, certificates};

const CERTIFICATE: &str = "certificate_file";
const PRIVATE_KEY: &str = "private_key_file";
/// What becomes of files that changed, in metrics.
const USED: &str = "used";
const REFUSED: &str = "refused";

/// A server's side of TLS 1.2 and 1.3, for HTTP/2 and HTTP/1.1 (ALPN). Clones share the certificate.
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    files: Files,
    /// What the files held at first.
    seen: Seen,
    interval: Duration,
    reloads: Counter<u64>,
}

/// The certificate that new connections are shown.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

struct Files {
    certificate: String,
    private_key: String,
}

/// What both files hold.
struct Pem {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
}

/// What both files held when they were looked at, told apart without keeping a key; or why they could not be read.
type Seen = Result<[u8; 32], String>;

impl ServerTls {
    /// The certificate that the settings name; none where they name none, and the port speaks plain text.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, holds no certificate or no key, or a key that is not the certificate's.
    pub fn load(settings: &TlsServerSettings) -> Result<Option<Self>, TlsError> {
        let (certificate, private_key) = (settings.certificate_file.clone(), settings.private_key_file.clone());
        match (certificate.is_empty(), private_key.is_empty()) {
            (true, true) => return Ok(None),
            (true, false) => return Err(TlsError(format!("{CERTIFICATE} is empty, and {PRIVATE_KEY} is not"))),
            (false, true) => return Err(TlsError(format!("{PRIVATE_KEY} is empty, and {CERTIFICATE} is not"))),
            (false, false) => {}
        }
        let files = Files { certificate, private_key };
        let read = |setting: &str, file: &str| std::fs::read(file).map_err(|error| unreadable(setting, file, &error));
        let pem = Pem {
            certificate: read(CERTIFICATE, &files.certificate)?,
            private_key: read(PRIVATE_KEY, &files.private_key)?,
        };
        let seen = Ok(pem.digest());
        let shown = Arc::new(Shown(RwLock::new(Arc::new(files.certified(&pem)?))));
        let config = config(Arc::clone(&shown)).map_err(|error| TlsError(format!("TLS cannot be used: {error}")))?;
        let reloads = meter()
            .u64_counter("openorder.rpc.certificate_reloads")
            .with_description("Changes of a server's certificate files, by whether the new ones are used")
            .build();
        for outcome in [USED, REFUSED] {
            // So that the first one is seen as a change.
            reloads.add(0, &[KeyValue::new("outcome", outcome)]);
        }
        let interval = Duration::from_millis(settings.reload_interval_ms);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Some(Self(Arc::new(Inner { acceptor, shown, files, seen, interval, reloads }))))
    }

    /// Looks at the files again and again, until it is dropped. New connections are shown what stands there then; what
    /// cannot be used, such as a certificate whose key is not there yet, leaves the last one in its place. Connections go on.
    pub async fn keep_up(&self) {
        let Inner { shown, files, seen, interval, reloads, .. } = &*self.0;
        let mut last = seen.clone();
        loop {
            tokio::time::sleep(*interval).await;
            let read = files.read().await;
            let seen = match &read {
                Ok(pem) => Ok(pem.digest()),
                Err(error) => Err(error.to_string()),
            };
            if seen == last {
                continue;
            }
            last = seen;
            let outcome = match read.and_then(|pem| files.certified(&pem)) {
                Ok(certified) => {
                    *shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    tracing::info!(file = files.certificate, "new connections are shown the certificate of now");
                    USED
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificate stays as it was");
                    REFUSED
                }
            };
            reloads.add(1, &[KeyValue::new("outcome", outcome)]);
        }
    }

    /// Agrees with a client on keys and a protocol.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Transport> {
        let stream = self.0.acceptor.accept(stream).await?;
        Ok(Transport::Tls(Box::new(stream.into())))
    }
}

impl Files {
    async fn read(&self) -> Result<Pem, TlsError> {
        Ok(Pem {
            certificate: read(CERTIFICATE, &self.certificate).await?,
            private_key: read(PRIVATE_KEY, &self.private_key).await?,
        })
    }

    fn certified(&self, pem: &Pem) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(CERTIFICATE, &self.certificate, &pem.certificate)?;
        // Its error would say what it found instead, and that may be a part of a key.
        let key = PrivateKeyDer::from_pem_slice(&pem.private_key)
            .map_err(|_| TlsError::new(PRIVATE_KEY, &self.private_key, "holds no private key in PEM form"))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
            let why = format!("cannot be used with the certificate of {}: {error}", self.certificate);
            TlsError::new(PRIVATE_KEY, &self.private_key, why)
        })
    }
}

impl Pem {
    fn digest(&self) -> [u8; 32] {
        let length = (self.certificate.len() as u64).to_be_bytes();
        let digest = Sha256::new().chain_update(length).chain_update(&self.certificate).chain_update(&self.private_key);
        digest.finalize().into()
    }
}

fn config(shown: Arc<Shown>) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(shown);
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(config)
}

async fn read(setting: &str, file: &str) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(file).await.map_err(|error| unreadable(setting, file, &error))
}

fn unreadable(setting: &str, file: &str, error: &io::Error) -> TlsError {
    TlsError::new(setting, file, format_args!("cannot be read: {error}"))
}
