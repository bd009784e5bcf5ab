//! A server's certificate, and who connects to it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::settings::TlsServerSettings;
use crate::tls::files::{Files, Watched};
use crate::tls::roles::RoleTls;
use crate::tls::{HTTP1, HTTP2, TlsError, Transport};
use crate::vouching::PeerRole;

/// A server's side of TLS. Clones share the certificate.
#[derive(Clone)]
pub struct ServerTls(Asks);

/// What a server asks of whom it is connected to.
#[derive(Clone)]
enum Asks {
    /// Nothing. TLS 1.2 and 1.3, for HTTP/2 and HTTP/1.1 (ALPN).
    Nothing { acceptor: TlsAcceptor, shown: Arc<Watched<CertifiedKey>> },
    /// The certificate of a role.
    Role(RoleTls),
}

impl ResolvesServerCert for Watched<CertifiedKey> {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ServerTls {
    /// The certificate that the settings name; none where they name none, and the port speaks plain text.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, holds no certificate or no key, or a key that is not the certificate's.
    pub fn load(settings: &TlsServerSettings) -> Result<Option<Self>, TlsError> {
        let files = Files::given(&settings.certificate_file, &settings.private_key_file, None)?;
        let Some(files) = files else { return Ok(None) };
        let interval = Duration::from_millis(settings.reload_interval_ms);
        let shown = Arc::new(Watched::load(files, interval, Files::certified)?);
        let config = config(Arc::clone(&shown)).map_err(|error| TlsError(format!("TLS cannot be used: {error}")))?;
        Ok(Some(Self(Asks::Nothing { acceptor: TlsAcceptor::from(Arc::new(config)), shown })))
    }

    /// Looks at the files again and again, until it is dropped. New connections are shown what stands there then; what
    /// cannot be used, such as a certificate whose key is not there yet, leaves the last one in its place. Connections go on.
    pub async fn keep_up(&self) {
        match &self.0 {
            Asks::Nothing { shown, .. } => shown.keep_up().await,
            Asks::Role(tls) => tls.keep_up().await,
        }
    }

    /// Agrees with a client on keys and a protocol; and the client's role, where one is asked for.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(Transport, Option<PeerRole>)> {
        match &self.0 {
            Asks::Nothing { acceptor, .. } => {
                let stream = acceptor.accept(stream).await?;
                Ok((Transport::Tls(Box::new(stream.into())), None))
            }
            Asks::Role(tls) => tls.accept(stream).await.map(|(transport, role)| (transport, Some(role))),
        }
    }
}

/// A port for the other roles alone.
impl From<RoleTls> for ServerTls {
    fn from(tls: RoleTls) -> Self {
        Self(Asks::Role(tls))
    }
}

fn config(shown: Arc<Watched<CertifiedKey>>) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(shown);
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(config)
}
