//! TLS between the roles of OpenOrder: each shows the certificate of its role, and asks for that of the other.
//!
//! A certificate names its role as a URI, `spiffe://openorder/role/NAME`, its only one (SPIFFE's X.509-SVID). That is what
//! is believed; under which name or address a role was found does not matter.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::settings::RolesTlsSettings;
use crate::tls::client::Peer;
use crate::tls::files::{Files, Pem, Watched};
use crate::tls::refusals::{LogThrottle, is_about_certificates};
use crate::tls::{HTTP2, TlsError, Transport};
use crate::vouching::{KnownRole, KnownRoles, PeerRole};

/// What the URI of a role begins with.
const ROLE: &str = "spiffe://openorder/role/";
/// What stands for the name of the role in the names of files.
const PLACE: &str = "{role}";

/// The URI by which the certificate of a role names it.
#[must_use]
pub fn role_uri(role: &str) -> String {
    format!("{ROLE}{role}")
}

/// The certificate of a role, and the authority that it believes of others. Clones share both.
#[derive(Clone)]
pub struct RoleTls(Arc<Inner>);

struct Inner {
    identity: Arc<Watched<Identity>>,
    acceptor: TlsAcceptor,
    known: KnownRoles,
    refusals: Arc<LogThrottle>,
}

/// What the files of a role hold.
struct Identity {
    certified: Arc<CertifiedKey>,
    roots: RootCertStore,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Identity {
    fn new(files: &Files, pem: &Pem) -> Result<Self, TlsError> {
        let (certified, roots) = (Arc::new(files.certified(pem)?), files.roots(pem)?);
        let role = files.role();
        if certified.end_entity_cert().and_then(role_of).ok() != Some(role) {
            return Err(
                files.wrong_certificate(format_args!("is not the certificate of {role}: it has no {ROLE}{role}"))
            );
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider()).build();
        let clients = clients.map_err(|error| TlsError(format!("ca_file: {error}")))?;
        Ok(Self { certified, roots, clients })
    }
}

impl RoleTls {
    /// The certificate of this role, by the settings of all; none where they name none. `known` are the roles that may be at
    /// the other end.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or used, or the certificate of another role.
    pub fn load(
        role: &str,
        settings: &RolesTlsSettings,
        known: impl IntoIterator<Item = KnownRole>,
    ) -> Result<Option<Self>, TlsError> {
        let of_role = |file: &str| file.replace(PLACE, role);
        let (certificate, private_key) = (of_role(&settings.certificate_file), of_role(&settings.private_key_file));
        let ca = of_role(&settings.ca_file);
        let Some(files) = Files::given(&certificate, &private_key, Some(ca.as_str()))? else { return Ok(None) };
        let interval = Duration::from_millis(settings.reload_interval_ms);
        let identity = Arc::new(Watched::load(files.of_role(role), interval, Identity::new)?);
        let known = KnownRoles::new(known);
        let config =
            server_config(&identity, &known).map_err(|error| TlsError(format!("TLS cannot be used: {error}")))?;
        let (acceptor, refusals) = (TlsAcceptor::from(Arc::new(config)), Arc::default());
        Ok(Some(Self(Arc::new(Inner { identity, acceptor, known, refusals }))))
    }

    /// Looks at the files again and again, until it is dropped. New connections are made with what stands there then; what
    /// cannot be used leaves what was there before in its place. Connections go on.
    pub async fn keep_up(&self) {
        self.0.identity.keep_up().await;
    }

    /// Agrees with a client on keys; which role it is.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(Transport, PeerRole)> {
        let accepted = self.0.acceptor.accept(stream).await;
        let stream =
            accepted.map_err(|error| if is_about_certificates(&error) { self.refused(error) } else { error })?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let role = shown.ok_or(Error::NoCertificatesPresented).and_then(|certificate| self.0.known.of(certificate));
        let role = role.map_err(|error| self.refused(error))?;
        Ok((Transport::Tls(Box::new(stream.into())), role))
    }

    /// A peer that is none of the roles, as an error of its own kind.
    fn refused(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
        let error = io::Error::new(io::ErrorKind::PermissionDenied, error);
        if self.0.refusals.is_due() {
            tracing::warn!(%error, "a call of another role was refused: one end does not believe the certificate of the other");
        }
        error
    }

    /// A server that has to prove that it is this role, and is shown which one calls; `None` for what is no role's name.
    pub(crate) fn peer(&self, role: &str) -> Option<Peer> {
        let config = client_config(&self.0.identity, role).ok()?;
        Peer::role(config, role, &self.0.refusals)
    }
}

impl KnownRoles {
    /// The role that the certificate names, if it is one of them.
    fn of(&self, certificate: &CertificateDer<'_>) -> Result<PeerRole, Error> {
        let role = role_of(certificate)?;
        self.find(role).ok_or_else(|| wrong(format!("there is no role {role:?} here")))
    }
}

/// The role that a certificate names. Whether the certificate is to be believed is another question.
fn role_of<'a>(certificate: &'a CertificateDer<'_>) -> Result<&'a str, Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate);
    let parsed = parsed.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let mut uris = parsed.valid_uri_names();
    // Two would leave open which one is meant.
    match (uris.next().and_then(|uri| uri.strip_prefix(ROLE)), uris.next()) {
        (Some(role), None) => Ok(role),
        _ => Err(wrong(format!("it does not name one role as {ROLE}NAME"))),
    }
}

fn wrong(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(TlsError(why)))))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server_config(identity: &Arc<Watched<Identity>>, known: &KnownRoles) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let clients = Clients { identity: Arc::clone(identity), known: known.clone() };
    let builder = builder.with_client_cert_verifier(Arc::new(clients));
    let mut config = builder.with_cert_resolver(Arc::<Watched<Identity>>::clone(identity));
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // A session that is resumed is not asked for its certificate again: it would outlive the certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(identity: &Arc<Watched<Identity>>, role: &str) -> Result<ClientConfig, Error> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13])?;
    let server = Server { identity: Arc::clone(identity), role: role.to_owned(), algorithms };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(server));
    let mut config = builder.with_client_cert_resolver(Arc::<Watched<Identity>>::clone(identity));
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

impl ResolvesServerCert for Watched<Identity> {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }
}

impl ResolvesClientCert for Watched<Identity> {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Believes clients that have a valid certificate of a role that is known, by the authority of now.
#[derive(Debug)]
struct Clients {
    identity: Arc<Watched<Identity>>,
    known: KnownRoles,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.identity.current().clients.verify_client_cert(end_entity, intermediates, now)?;
        self.known.of(end_entity).map(|_| verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.identity.current().clients.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.identity.current().clients.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.identity.current().clients.supported_verify_schemes()
    }
}

/// Believes a server that has a valid certificate of this role, by the authority of now.
#[derive(Debug)]
struct Server {
    identity: Arc<Watched<Identity>>,
    role: String,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Server {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (parsed, identity) = (ParsedCertificate::try_from(end_entity)?, self.identity.current());
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &identity.roots, intermediates, now, algorithms)?;
        let role = role_of(end_entity)?;
        if role != self.role {
            return Err(wrong(format!("it is the certificate of {role}, not of {}", self.role)));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
