//! Whom a client trusts, and who it is connected to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::files::roots;
use crate::tls::refusals::{LogThrottle, is_about_certificates};
use crate::tls::{HTTP2, TlsError, Transport};

/// A client's side of TLS 1.2 and 1.3, for HTTP/2. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ClientConfig>);

/// Who has to answer at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// Whether it is a role: then it is told when it cannot prove that.
    refusals: Option<Arc<LogThrottle>>,
}

impl ClientTls {
    /// Trusts the certificates of this PEM file and no other; without a file, those of the system. `setting` names it in
    /// errors.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or has a certificate that cannot be used.
    pub fn trusting(setting: &str, ca_file: &str) -> Result<Self, TlsError> {
        let trusted = if ca_file.is_empty() {
            let mut trusted = RootCertStore::empty();
            // What of the system's store cannot be parsed is not trusted; the rest is.
            trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            trusted
        } else {
            let pem = std::fs::read(ca_file)
                .map_err(|error| TlsError::new(setting, ca_file, format_args!("cannot be read: {error}")))?;
            roots(setting, ca_file, &pem)?
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| TlsError(format!("TLS cannot be used: {error}")))?;
        let mut config = builder.with_root_certificates(trusted).with_no_client_auth();
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// Connects to `host:port` and ends the connection again: who answers there has a certificate of that host which is
    /// trusted, and speaks HTTP/2.
    ///
    /// # Errors
    ///
    /// Nobody is there, or not within the time; or what is wrong with who is.
    pub async fn reach(&self, authority: &Authority, bound: Duration) -> io::Result<()> {
        let host = host_of(authority);
        let peer = self.peer(host).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{host:?} is no name that a certificate can have"))
        })?;
        let reached = async { peer.connect(TcpStream::connect(authority.as_str()).await?).await };
        let too_slow = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {bound:?}"));
        timeout(bound, reached).await.map_err(|_| too_slow())?.map(drop)
    }

    /// Whether [`Self::reach`] failed because what came back was no TLS at all.
    #[must_use]
    pub fn is_in_the_clear(error: &io::Error) -> bool {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        matches!(cause, Some(rustls::Error::InvalidMessage(_)))
    }

    /// A server that has to prove that it is this host.
    pub(crate) fn peer(&self, host: &str) -> Option<Peer> {
        let name = ServerName::try_from(host.to_owned()).ok()?;
        Some(Peer { config: Arc::clone(&self.0), name, refusals: None })
    }
}

/// The host of an authority, an IPv6 address without its brackets.
pub(crate) fn host_of(authority: &Authority) -> &str {
    authority.host().trim_start_matches('[').trim_end_matches(']')
}

impl Peer {
    /// A role, which this configuration asks for its certificate.
    pub(crate) fn role(config: ClientConfig, name: &str, refusals: &Arc<LogThrottle>) -> Option<Self> {
        let name = ServerName::try_from(name.to_owned()).ok()?;
        Some(Self { config: Arc::new(config), name, refusals: Some(Arc::clone(refusals)) })
    }

    /// Agrees with the server on keys and on HTTP/2.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<Transport> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), stream).await.inspect_err(|error| {
            if is_about_certificates(error) && self.refusals.as_ref().is_some_and(|refusals| refusals.is_due()) {
                tracing::warn!(role = %self.name.to_str(), %error, "who answers there is not the role that was called");
            }
        })?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2 over TLS"));
        }
        Ok(Transport::Tls(Box::new(stream.into())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let tls = ClientTls::trusting("ca_file", "").unwrap();
        for host in ["gateway", "api.shop.example.com", "127.0.0.1", "::1"] {
            assert!(tls.peer(host).is_some(), "{host}");
        }
        assert!(tls.peer("").is_none() && tls.peer("a b").is_none());
        assert_eq!(host_of(&Authority::from_static("[::1]:8080")), "::1");
    }

    #[test]
    fn a_file_that_cannot_be_trusted_is_named() {
        for (file, what) in [("/nowhere.pem", "cannot be read"), ("Cargo.toml", "holds no certificate")] {
            let error = ClientTls::trusting("--ca-file", file).unwrap_err().to_string();
            assert!(error.starts_with("--ca-file: ") && error.contains(file) && error.contains(what), "{error}");
        }
    }
}
