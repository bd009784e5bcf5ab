//! Whom a connection to a provider trusts.

use std::{net::IpAddr, sync::Arc};

use anyhow::Context;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The certificates of a PEM file; none without a file. `setting` names it in errors.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub(crate) fn read_certificates(setting: &str, file: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    if file.is_empty() {
        return Ok(Vec::new());
    }
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("{setting}: {file} cannot be read as certificates in PEM form"))?;
    anyhow::ensure!(!certificates.is_empty(), "{setting}: {file} holds no certificate");
    Ok(certificates)
}

/// Client side of TLS that trusts the system's certificates and those of the file.
///
/// # Errors
/// As [`read_certificates`].
pub(crate) fn tls_client(setting: &str, file: &str) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // What of the system's store cannot be parsed is not trusted; the rest is.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in read_certificates(setting, file)? {
        roots.add(certificate).with_context(|| format!("{setting}: a certificate of {file} cannot be used"))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().context("TLS cannot be used")?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether this host is the machine that we run on, so that nothing of what is said to it leaves.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_without_certificates_is_found_at_start() {
        assert!(read_certificates("x", "").unwrap().is_empty());
        assert!(read_certificates("x", "/nowhere.pem").unwrap_err().to_string().contains("/nowhere.pem"));
        assert!(read_certificates("x", "Cargo.toml").unwrap_err().to_string().contains("no certificate"));
    }

    #[test]
    fn only_loopback_is_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["", "localhost.example.com", "10.0.0.1", "0.0.0.0"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
