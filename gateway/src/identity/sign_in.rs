//! The caller of a call: who its token says, whether that may call the method, and whose share the call counts against.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use openorder_auth::api_key::is_api_key;
use openorder_auth::{Claims, LEEWAY_SECONDS, SESSION_METADATA, TokenError, peek};
use openorder_rpc::caller::CallerHeaders;
use openorder_rpc::status::reason_or_code;
use openorder_rpc::{Refusal, UpstreamChannel, rejection};
use openorder_telemetry::RoleTelemetry;
use openorder_telemetry::api::{Counter, KeyValue};
use openorder_types::{Caller, Rejection, Role};
use tonic::Status;
use tonic::body::Body;

use super::bearer::{self, Bearer};
use super::cache::{self, TokenCache, TokenHash};
use super::callers::{CallerShare, Callers};
use super::exchange::{self, ApiKeys, Exchanged, RETRY_AFTER};
use super::issuers::Issuers;
use super::refresh::now;
use super::trust::{Origin, Trust};
use super::{Anonymous, Arrival, Identity, TrustPoll};
use crate::access::{Access, Roles};
use crate::config::GatewaySettings;
use crate::rates::{CallerRate, Rates};
use crate::shares::Shares;

/// Where the public keys of the user service's tokens are.
pub(crate) const JWKS_PATH: &str = "/.well-known/jwks.json";

/// The subject of every caller without a token, where such a one is an operator.
const ANONYMOUS_OPERATOR: &str = "anonymous-operator";
/// The subject of every caller without a token, where such a one is nobody.
const ANONYMOUS: &str = "anonymous";
/// Longest subject, in bytes: what services take.
const SUBJECT_LENGTH_MAX: usize = 128;
/// How long whoever asks for the keys may keep them, in seconds.
const JWKS_MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// Finds out who calls.
pub(crate) struct SignIn {
    anonymous: Stranger,
    nobody: Stranger,
    trust: Arc<Trust>,
    /// None where there is no user service.
    api_keys: Option<ApiKeys>,
    issuers: Issuers,
    tokens: TokenCache<Arc<SignedIn>>,
    callers: Callers,
    /// None where callers have no limit.
    rates: Option<Rates>,
    refused: Counter<u64>,
}

/// A caller without a token.
struct Stranger {
    caller: Arc<CallerHeaders>,
    roles: Roles,
}

/// A caller with a token.
pub(crate) struct SignedIn {
    caller: Arc<CallerHeaders>,
    roles: Roles,
    share: Arc<CallerShare>,
    rate: Option<Arc<CallerRate>>,
    /// None for tokens of other issuers: those are not revoked.
    origin: Option<Origin>,
    /// The generation of trust that it was looked at under.
    generation: AtomicU64,
}

/// What a caller signed in with, as long as it lasts.
#[derive(Clone)]
pub(crate) struct Session {
    trust: Arc<Trust>,
    signed_in: Arc<SignedIn>,
}

impl Session {
    /// Ends when it was revoked, with what its caller is told.
    pub(crate) async fn revoked(self) -> Status {
        match &self.signed_in.origin {
            Some(origin) => self.trust.revoked(origin).await,
            None => std::future::pending().await,
        }
        revoked()
    }
}

/// Who a token says its caller is.
pub(crate) struct Told {
    pub(crate) subject: String,
    pub(crate) roles: Vec<Role>,
    pub(crate) origin: Option<Origin>,
    /// When the token ends, in seconds since 1970.
    pub(crate) until: i64,
}

impl SignIn {
    /// With the user service behind this channel, if there is one; and what keeps the trust in its tokens fresh.
    pub(crate) fn new(
        role: &RoleTelemetry,
        settings: &GatewaySettings,
        users: Option<UpstreamChannel>,
        shares: &Shares,
    ) -> anyhow::Result<(Self, Option<TrustPoll>)> {
        let trust = Arc::new(Trust::default());
        let timeout = Duration::from_millis(settings.trust_timeout_ms);
        let interval = Duration::from_millis(settings.trust_interval_ms);
        let poll = users.clone().map(|channel| TrustPoll::new(channel, Arc::clone(&trust), interval, timeout));
        let waiting_max = settings.api_keys_waiting_max;
        let nobody = Stranger::new(ANONYMOUS, &[])?;
        let anonymous = match settings.anonymous {
            Anonymous::Operator => Stranger::new(ANONYMOUS_OPERATOR, &[Role::Operator])?,
            Anonymous::Nobody => Stranger::new(ANONYMOUS, &[])?,
        };
        let sign_in = Self {
            anonymous,
            nobody,
            trust,
            api_keys: users.map(|channel| ApiKeys::new(channel, timeout, waiting_max)),
            issuers: Issuers::new(&settings.issuers, settings.issuer_timeout())?,
            tokens: TokenCache::new(settings.token_cache_max),
            callers: Callers::new(shares.clone()),
            rates: Rates::new(settings, role)?,
            refused: openorder_telemetry::meter()
                .u64_counter("openorder.gateway.sign_in_refused")
                .with_unit("{call}")
                .with_description("Calls refused because of who makes them, by reason")
                .build(),
        };
        Ok((sign_in, poll))
    }

    /// Who makes a call to such a method.
    ///
    /// # Errors
    ///
    /// `TOKEN_MISSING`, the reasons of [`TokenError`], `TOKEN_REVOKED`, `API_KEY_UNKNOWN`; `ROLE_REQUIRED`;
    /// `CALLER_RATE_EXCEEDED`; `SIGN_IN_UNAVAILABLE` while tokens cannot be verified.
    pub(crate) async fn identify(&self, arrival: Arrival, access: Access) -> Result<Identity, Status> {
        let Arrival { connection, under_way, bearer, rate } = arrival;
        let address = connection.address();
        let signed_in = match &bearer {
            Bearer::Nothing if access.lets_in(self.anonymous.roles) => {
                let caller = Arc::clone(&self.anonymous.caller);
                self.count(rate.as_deref()).await?;
                return Ok(Identity { caller, member: connection, under_way, address, session: None });
            }
            Bearer::Nothing => Err(self.anonymous.refused(access)),
            Bearer::Token(value) => self.signed_in(value).await,
            Bearer::Unreadable => Err(refused(TokenError::Malformed)),
        };
        let outcome = signed_in.and_then(|signed_in| match access.lets_in(signed_in.roles) {
            true => Ok(signed_in),
            false => Err(role_required(access)),
        });
        match outcome {
            Ok(signed_in) => {
                self.count(signed_in.rate.as_deref()).await?;
                let ((member, under_way), caller) = (signed_in.share.begin(), Arc::clone(&signed_in.caller));
                let session = Some(Session { trust: Arc::clone(&self.trust), signed_in });
                Ok(Identity { caller, member, under_way, address, session })
            }
            // Who signs in anew may still send the token that has ended.
            Err(_) if access.is_open => {
                self.count(rate.as_deref()).await?;
                let caller = Arc::clone(&self.nobody.caller);
                Ok(Identity { caller, member: connection, under_way, address, session: None })
            }
            Err(refusal) => {
                self.refused.add(1, &[KeyValue::new("reason", reason_or_code(&refusal))]);
                Err(refusal)
            }
        }
    }

    /// What an address has left, where callers have a limit.
    pub(crate) fn rate_of(&self, address: IpAddr) -> Option<Arc<CallerRate>> {
        // No subject has a blank.
        self.rates.as_ref().map(|rates| rates.caller(&format!("address {address}")))
    }

    /// Counts a call, where callers have a limit.
    async fn count(&self, rate: Option<&CallerRate>) -> Result<(), Status> {
        match (&self.rates, rate) {
            (Some(rates), Some(rate)) => Box::pin(rates.count(rate)).await,
            _ => Ok(()),
        }
    }

    async fn signed_in(&self, authorization: &HeaderValue) -> Result<Arc<SignedIn>, Status> {
        let token = bearer::token(authorization).ok_or_else(|| refused(TokenError::Malformed))?;
        let (hash, now) = (cache::hash(token), now());
        match self.found(&hash, now) {
            Some(found) => Ok(found),
            // Seldom, and large.
            None => Box::pin(self.looked_at(token, hash, now)).await,
        }
    }

    /// What was found out about a token before, if that still holds.
    fn found(&self, hash: &TokenHash, now: i64) -> Option<Arc<SignedIn>> {
        let found = self.tokens.get(hash, now)?;
        let generation = self.trust.generation();
        let Some(origin) = found.origin.as_ref().filter(|_| found.generation.load(Ordering::Relaxed) != generation)
        else {
            return Some(found);
        };
        if !self.trust.known().is_some_and(|known| known.still_believes(origin)) {
            self.tokens.remove(hash);
            return None;
        }
        found.generation.store(generation, Ordering::Relaxed);
        Some(found)
    }

    /// Looks at a token.
    async fn looked_at(&self, token: &str, hash: TokenHash, now: i64) -> Result<Arc<SignedIn>, Status> {
        if is_api_key(token) {
            let keys = self.api_keys.as_ref().ok_or_else(exchange::unknown)?;
            return match keys.exchange(token, &hash, now, || self.found(&hash, now)).await? {
                Exchanged::Found(found) => Ok(found),
                // In its turn until it is kept: whoever comes with the same key finds it then.
                Exchanged::Token(token, _turn) => self.keep(hash, now, || self.told(&token, now)),
            };
        }
        let issuer = peek(token).map_err(refused)?.issuer;
        match self.issuers.of(&issuer) {
            Some(issuer) => {
                let told = issuer.told(token, now).await?;
                self.keep(hash, now, || Ok(told))
            }
            None => self.keep(hash, now, || {
                let told = self.told(token, now)?;
                Ok(Told { until: told.until.saturating_add(LEEWAY_SECONDS), ..told })
            }),
        }
    }

    /// Who a token of the user service says its caller is.
    fn told(&self, token: &str, now: i64) -> Result<Told, Status> {
        let Some(known) = self.trust.known() else {
            return Err(match self.api_keys {
                Some(_) => Refusal::sign_in_unavailable(RETRY_AFTER),
                None => refused(TokenError::WrongIssuer),
            });
        };
        let unverified = peek(token).map_err(refused)?;
        if unverified.issuer != known.issuer() {
            return Err(refused(TokenError::WrongIssuer));
        }
        let Claims { sub, sid, iat, exp, roles, .. } = known.verify(token, &unverified.key_id, now).map_err(refused)?;
        let origin = Origin { key_id: unverified.key_id, subject: sub.clone(), session_id: sid, issued: iat };
        if !known.still_believes(&origin) {
            return Err(revoked());
        }
        // A role that this version does not know gives nothing.
        let roles = roles.iter().filter_map(|name| Role::parse(name)).collect();
        Ok(Told { subject: sub, roles, origin: Some(origin), until: exp })
    }

    /// Keeps who a token says its caller is, until the token ends.
    fn keep(
        &self,
        hash: TokenHash,
        now: i64,
        told: impl FnOnce() -> Result<Told, Status>,
    ) -> Result<Arc<SignedIn>, Status> {
        // Before it is looked at: what is revoked meanwhile is looked at again.
        let generation = self.trust.generation();
        let Told { subject, roles, origin, until } = told()?;
        let malformed = || refused(TokenError::Malformed);
        if subject.len() > SUBJECT_LENGTH_MAX || !subject.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed());
        }
        let caller = CallerHeaders::new(&Caller::new(subject.as_str(), roles.as_slice())).ok_or_else(malformed)?;
        let session = origin.as_ref().map(|origin| HeaderValue::try_from(&origin.session_id));
        let caller = match session {
            Some(Ok(session)) if !session.is_empty() => caller.with(HeaderName::from_static(SESSION_METADATA), session),
            _ => caller,
        };
        let signed_in = Arc::new(SignedIn {
            caller: Arc::new(caller),
            roles: roles.into_iter().collect(),
            share: self.callers.share(&subject),
            rate: self.rates.as_ref().map(|rates| rates.caller(&subject)),
            origin,
            generation: AtomicU64::new(generation),
        });
        self.tokens.put(hash, Arc::clone(&signed_in), until, now);
        Ok(signed_in)
    }

    /// The public keys of the user service's tokens, for whoever verifies them, too.
    pub(crate) fn jwks(&self, parts: &Parts) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        let no_keys = self.trust.known().is_none();
        if parts.method != Method::GET {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        } else if no_keys && self.api_keys.is_none() {
            *response.status_mut() = StatusCode::NOT_FOUND;
        } else if let Some(known) = self.trust.known() {
            let keys = known.jwks().clone();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(keys.len()));
            headers.insert(header::CACHE_CONTROL, JWKS_MAX_AGE);
            *response.body_mut() = Body::new(Full::new(keys));
        } else {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
        }
        response
    }
}

impl Stranger {
    fn new(subject: &str, roles: &[Role]) -> anyhow::Result<Self> {
        let caller = CallerHeaders::new(&Caller::new(subject, roles)).context("the anonymous caller")?;
        Ok(Self { caller: Arc::new(caller), roles: roles.iter().copied().collect() })
    }

    fn refused(&self, access: Access) -> Status {
        if self.roles != Roles::default() {
            return role_required(access);
        }
        let text = "the call has no token: sign in, and send it as `authorization: Bearer …`";
        rejection(Rejection::unauthenticated("TOKEN_MISSING", text))
    }
}

/// What a token that is not believed is refused with. Nothing of the token stands in it.
pub(crate) fn refused(error: TokenError) -> Status {
    rejection(Rejection::unauthenticated(error.reason(), error.to_string()))
}

fn revoked() -> Status {
    rejection(Rejection::unauthenticated("TOKEN_REVOKED", "the token was revoked: sign in again"))
}

fn role_required(access: Access) -> Status {
    let text = format!("this is for the roles {} alone", access.names().join(", "));
    rejection(Rejection::permission_denied("ROLE_REQUIRED", text))
}
