//! TLS: the certificate that a server shows, and those that a client trusts.
//!
//! * `files.rs`: certificates that are read again when their files change;
//! * `server.rs`: the certificate of a port; `client.rs`: who is connected to;
//! * `roles.rs`: the roles of OpenOrder among each other, with certificates on both sides; `refusals.rs`: what is logged of
//!   those that were refused;
//! * `transport.rs`: the bytes of a connection, protected or not.
//!
//! Cryptography is ring's everywhere: no process-wide default is asked for, so no other library decides it.

mod client;
mod files;
mod refusals;
mod roles;
mod server;
mod transport;

pub use client::ClientTls;
pub use roles::{RoleTls, role_uri};
pub use server::ServerTls;

pub(crate) use client::{Peer, host_of};
pub(crate) use transport::Transport;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The protocols that a connection may be agreed upon to speak (ALPN, RFC 7301).
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Certificates or keys that cannot be used: the setting, its file, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsError {
    fn new(setting: &str, file: &str, why: impl std::fmt::Display) -> Self {
        Self(format!("{setting}: {file} {why}"))
    }
}

/// All certificates of a file in PEM form, at least one.
fn certificates(setting: &str, file: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| {
        TlsError::new(setting, file, format_args!("cannot be read as certificates in PEM form: {error}"))
    })?;
    if certificates.is_empty() {
        return Err(TlsError::new(setting, file, "holds no certificate in PEM form"));
    }
    Ok(certificates)
}
