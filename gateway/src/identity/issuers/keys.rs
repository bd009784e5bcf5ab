//! The keys of another issuer, fetched from it when a token names one that is not known.
//!
//! They are asked for at most once in half a minute, by time alone: whoever sends tokens with keys that are drawn at random
//! makes no more calls to the issuer than that. What was fetched stays while the issuer is away.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use openorder_auth::{Algorithm, TokenError, VerifyingKey, parse_jwk_set};
use openorder_rpc::Refusal;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::sync::Mutex;
use tonic::Status;

use super::settings::{IssuerSettings, KeysAt, safe_url};
use crate::identity::exchange::RETRY_AFTER;
use crate::identity::sign_in::refused;

/// Between two times that an issuer is asked for its keys.
const PAUSE: Duration = Duration::from_secs(30);
/// Keys that are older are asked for again when a token comes that was not looked at yet: one may have been withdrawn.
const AGE_MAX: Duration = Duration::from_secs(3_600);
/// Longest document of an issuer, in bytes.
const DOCUMENT_BYTES_MAX: usize = 262_144;

/// Fetches documents of issuers. Clones share the connections.
#[derive(Clone)]
pub(crate) struct Client {
    client: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    timeout: Duration,
}

/// The keys of one issuer.
pub(crate) struct IssuerKeys {
    name: String,
    issuer: String,
    keys_at: Arc<KeysAt>,
    algorithms: Vec<Algorithm>,
    client: Client,
    known: RwLock<Option<Fetched>>,
    /// When it was asked last; held while it is asked.
    asked: Mutex<Option<Instant>>,
}

struct Fetched {
    keys: HashMap<String, VerifyingKey>,
    at: Instant,
}

impl IssuerKeys {
    pub(crate) fn new(settings: &IssuerSettings, client: Client) -> Self {
        Self {
            name: settings.name.clone(),
            issuer: settings.issuer.clone(),
            keys_at: Arc::clone(&settings.keys_at),
            algorithms: settings.algorithms.clone(),
            client,
            known: RwLock::default(),
            asked: Mutex::default(),
        }
    }

    /// The key with this id.
    ///
    /// # Errors
    ///
    /// `TOKEN_KEY_UNKNOWN`; `SIGN_IN_UNAVAILABLE` while no keys were ever had.
    pub(crate) async fn get(&self, key_id: &str) -> Result<VerifyingKey, Status> {
        if let (Some(key), false) = self.look(key_id) {
            return Ok(key);
        }
        {
            let mut asked = self.asked.lock().await;
            // Whoever waited finds what was fetched meanwhile.
            let is_due = asked.is_none_or(|asked| asked.elapsed() >= PAUSE);
            if is_due && !matches!(self.look(key_id), (Some(_), false)) {
                *asked = Some(Instant::now());
                self.fetch().await;
            }
        }
        match (self.look(key_id).0, self.has_any()) {
            (Some(key), _) => Ok(key),
            (None, true) => Err(refused(TokenError::UnknownKey)),
            (None, false) => Err(Refusal::sign_in_unavailable(RETRY_AFTER)),
        }
    }

    /// The key, if it is known, and whether the keys are old.
    fn look(&self, key_id: &str) -> (Option<VerifyingKey>, bool) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            Some(fetched) => (fetched.keys.get(key_id).cloned(), fetched.at.elapsed() >= AGE_MAX),
            None => (None, true),
        }
    }

    fn has_any(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    async fn fetch(&self) {
        match self.fetched().await {
            Ok(keys) => {
                let fetched = Fetched { keys, at: Instant::now() };
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(fetched);
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    issuer = self.name,
                    error,
                    "the keys of an issuer were not fetched: those of before stay"
                );
            }
        }
    }

    async fn fetched(&self) -> anyhow::Result<HashMap<String, VerifyingKey>> {
        let set = match &*self.keys_at {
            KeysAt::Url(url) => self.client.json(url).await?,
            KeysAt::Discovery(document) => {
                let document = self.client.json(document).await.context("discovery")?;
                let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
                ensure!(text("issuer") == self.issuer, "discovery: the document is of another issuer");
                let url = safe_url("discovery: jwks_uri", text("jwks_uri"))?;
                self.client.json(&url).await?
            }
        };
        let keys: HashMap<_, _> = parse_jwk_set(&set, &self.algorithms).into_iter().collect();
        ensure!(!keys.is_empty(), "no key with an id is for one of the algorithms");
        Ok(keys)
    }
}

impl Client {
    /// Connects to nobody yet.
    ///
    /// # Errors
    ///
    /// When TLS cannot be used.
    pub(crate) fn new(timeout: Duration) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        // What of the system's store cannot be parsed is not trusted; the rest is.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().context("TLS cannot be used")?;
        let tls = builder.with_root_certificates(roots).with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(timeout));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        // Redirects are not followed: keys come from where the settings say.
        let mut client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        Ok(Self { client: client.pool_timer(TokioTimer::new()).build(connector), timeout })
    }

    async fn json(&self, url: &Uri) -> anyhow::Result<Value> {
        let request = Request::get(url.clone()).header(header::ACCEPT, "application/json").body(Empty::new())?;
        let read = async {
            let answer = self.client.request(request).await.context("it does not answer")?;
            ensure!(answer.status().is_success(), "it answers {}", answer.status().as_u16());
            let body = Limited::new(answer.into_body(), DOCUMENT_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("its answer cannot be read: {error}"))?;
            serde_json::from_slice(&body.to_bytes()).context("its answer is no JSON")
        };
        tokio::time::timeout(self.timeout, read).await.context("it does not answer in time")?
    }
}
