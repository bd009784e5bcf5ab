//! Certificates and keys in files, read again when they change.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use openorder_telemetry::api::{Counter, KeyValue};
use openorder_telemetry::meter;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use crate::tls::{TlsError, certificates};

const CERTIFICATE: &str = "certificate_file";
const PRIVATE_KEY: &str = "private_key_file";
const CA: &str = "ca_file";
/// What becomes of files that changed, in metrics.
const USED: &str = "used";
const REFUSED: &str = "refused";

/// A certificate with its key, and those that are trusted, where there are such.
pub(crate) struct Files {
    certificate: String,
    private_key: String,
    ca: Option<String>,
    /// Whose the certificate has to be; anybody's, where it is empty.
    role: String,
}

/// What the files hold.
pub(crate) struct Pem {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    /// Empty where nobody is trusted by it.
    ca: Vec<u8>,
}

impl Files {
    /// The files of these names; none where all of them are empty.
    ///
    /// # Errors
    ///
    /// Some are empty, and others are not.
    pub(crate) fn given(certificate: &str, private_key: &str, ca: Option<&str>) -> Result<Option<Self>, TlsError> {
        let mut all = vec![(CERTIFICATE, certificate), (PRIVATE_KEY, private_key)];
        all.extend(ca.map(|ca| (CA, ca)));
        let named = |is_empty: bool| all.iter().find(|(_, file)| file.is_empty() == is_empty).map(|(name, _)| *name);
        match (named(true), named(false)) {
            (_, None) => Ok(None),
            (Some(empty), Some(given)) => Err(TlsError(format!("{empty} is empty, and {given} is not"))),
            (None, Some(_)) => Ok(Some(Self {
                certificate: certificate.to_owned(),
                private_key: private_key.to_owned(),
                ca: ca.map(str::to_owned),
                role: String::new(),
            })),
        }
    }

    /// The same files, of which the certificate has to be this role's.
    pub(crate) fn of_role(self, role: &str) -> Self {
        Self { role: role.to_owned(), ..self }
    }

    /// Whose the certificate has to be.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    fn read(&self) -> Result<Pem, TlsError> {
        let read = |setting: &str, file: &str| std::fs::read(file).map_err(|error| unreadable(setting, file, &error));
        Ok(Pem {
            certificate: read(CERTIFICATE, &self.certificate)?,
            private_key: read(PRIVATE_KEY, &self.private_key)?,
            ca: self.ca.as_deref().map_or(Ok(Vec::new()), |ca| read(CA, ca))?,
        })
    }

    async fn read_again(&self) -> Result<Pem, TlsError> {
        let certificate = read(CERTIFICATE, &self.certificate).await?;
        let private_key = read(PRIVATE_KEY, &self.private_key).await?;
        let ca = match &self.ca {
            Some(ca) => read(CA, ca).await?,
            None => Vec::new(),
        };
        Ok(Pem { certificate, private_key, ca })
    }

    /// The certificate with its key.
    pub(crate) fn certified(&self, pem: &Pem) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(CERTIFICATE, &self.certificate, &pem.certificate)?;
        // Its error would say what it found instead, and that may be a part of a key.
        let key = PrivateKeyDer::from_pem_slice(&pem.private_key)
            .map_err(|_| TlsError::new(PRIVATE_KEY, &self.private_key, "holds no private key in PEM form"))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
            let why = format!("cannot be used with the certificate of {}: {error}", self.certificate);
            TlsError::new(PRIVATE_KEY, &self.private_key, why)
        })
    }

    /// That the certificate cannot be used, and why.
    pub(crate) fn wrong_certificate(&self, why: impl fmt::Display) -> TlsError {
        TlsError::new(CERTIFICATE, &self.certificate, why)
    }

    /// The certificates that are trusted.
    pub(crate) fn roots(&self, pem: &Pem) -> Result<RootCertStore, TlsError> {
        roots(CA, self.ca.as_deref().unwrap_or_default(), &pem.ca)
    }
}

/// All certificates of a file, to be trusted.
pub(crate) fn roots(setting: &str, file: &str, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(setting, file, pem)? {
        roots.add(certificate).map_err(|error| {
            TlsError::new(setting, file, format_args!("has a certificate that cannot be used: {error}"))
        })?;
    }
    Ok(roots)
}

impl Pem {
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.certificate, &self.private_key, &self.ca] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// What the files held when they were looked at, told apart without keeping a key; or why they could not be read.
type Seen = Result<[u8; 32], String>;

/// Makes what is wanted of files of what they hold.
type Make<T> = fn(&Files, &Pem) -> Result<T, TlsError>;

/// What is made of files, as they are now.
pub(crate) struct Watched<T> {
    files: Files,
    make: Make<T>,
    current: RwLock<Arc<T>>,
    /// What the files held at first.
    seen: Seen,
    interval: Duration,
    reloads: Counter<u64>,
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("certificate", &self.files.certificate).finish_non_exhaustive()
    }
}

impl<T: Send + Sync> Watched<T> {
    /// Reads the files; they are looked at again once an interval.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or used.
    pub(crate) fn load(files: Files, interval: Duration, make: Make<T>) -> Result<Self, TlsError> {
        let pem = files.read()?;
        let current = RwLock::new(Arc::new(make(&files, &pem)?));
        let reloads = meter()
            .u64_counter("openorder.rpc.certificate_reloads")
            .with_description("Changes of a server's certificate files, by whether the new ones are used")
            .build();
        for outcome in [USED, REFUSED] {
            // So that the first one is seen as a change.
            reloads.add(0, &[KeyValue::new("outcome", outcome)]);
        }
        Ok(Self { files, make, current, seen: Ok(pem.digest()), interval, reloads })
    }

    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files again and again, until it is dropped. What cannot be used, such as a certificate whose key is not
    /// there yet, leaves what was made before in its place.
    pub(crate) async fn keep_up(&self) {
        let mut last = self.seen.clone();
        loop {
            tokio::time::sleep(self.interval).await;
            let read = self.files.read_again().await;
            let seen = match &read {
                Ok(pem) => Ok(pem.digest()),
                Err(error) => Err(error.to_string()),
            };
            if seen == last {
                continue;
            }
            last = seen;
            let outcome = match read.and_then(|pem| (self.make)(&self.files, &pem)) {
                Ok(made) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                    tracing::info!(file = self.files.certificate, "new connections are shown the certificate of now");
                    USED
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificate stays as it was");
                    REFUSED
                }
            };
            self.reloads.add(1, &[KeyValue::new("outcome", outcome)]);
        }
    }
}

async fn read(setting: &str, file: &str) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(file).await.map_err(|error| unreadable(setting, file, &error))
}

fn unreadable(setting: &str, file: &str, error: &io::Error) -> TlsError {
    TlsError::new(setting, file, format_args!("cannot be read: {error}"))
}
