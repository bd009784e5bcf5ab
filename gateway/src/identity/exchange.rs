//! Access tokens for API keys.

use std::time::Duration;

use openorder_auth::ApiKey;
use openorder_proto::internal::user::v1::ExchangeApiKeyRequest;
use openorder_proto::internal::user::v1::trust_service_client::TrustServiceClient;
use openorder_rpc::server::OVERLOADED_RETRY_AFTER;
use openorder_rpc::status::reason_or_code;
use openorder_rpc::{CallContext, Refusal, UpstreamChannel, reason_of, rejection};
use openorder_telemetry::TraceContext;
use openorder_types::Rejection;
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tonic::Status;

use super::cache::{TokenCache, TokenHash};

/// The reason of a key that nobody has.
const UNKNOWN: &str = "API_KEY_UNKNOWN";
/// How long a key is remembered as unknown, in seconds: whoever goes on with it costs the user service nothing.
const UNKNOWN_SECONDS: i64 = 5;
/// How many of those are remembered.
const UNKNOWN_MAX: usize = 4_096;
/// So many keys are exchanged at a time, and each of them once.
const STRIPES: usize = 32;
/// When to come again while tokens cannot be verified.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Exchanges API keys at the user service.
pub(crate) struct ApiKeys {
    client: TrustServiceClient<UpstreamChannel>,
    timeout: Duration,
    waiting: Semaphore,
    stripes: [Mutex<()>; STRIPES],
    unknown: TokenCache<()>,
}

pub(crate) fn unknown() -> Status {
    rejection(Rejection::unauthenticated(UNKNOWN, "there is no such API key, or it is not valid any more"))
}

impl ApiKeys {
    pub(crate) fn new(channel: UpstreamChannel, timeout: Duration, waiting_max: usize) -> Self {
        Self {
            client: TrustServiceClient::new(channel),
            timeout,
            waiting: Semaphore::new(waiting_max),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            unknown: TokenCache::new(UNKNOWN_MAX),
        }
    }

    /// What `found` finds, or else the access token for this key, and with it the turn of whoever comes with the same key
    /// next: it finds what is made of the token meanwhile.
    ///
    /// # Errors
    ///
    /// `API_KEY_UNKNOWN`; `SIGN_IN_UNAVAILABLE` while the user service is away; `OVERLOADED` when too many wait.
    pub(crate) async fn exchange<T>(
        &self,
        text: &str,
        hash: &TokenHash,
        now: i64,
        found: impl Fn() -> Option<T>,
    ) -> Result<Exchanged<'_, T>, Status> {
        let key = ApiKey::parse(text).ok_or_else(unknown)?;
        if self.unknown.get(hash, now).is_some() {
            return Err(unknown());
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Err(Refusal::overloaded(OVERLOADED_RETRY_AFTER)) };
        let work = async {
            let turn = self.stripes[usize::from(hash[0]) % STRIPES].lock().await;
            match found() {
                Some(found) => Ok(Exchanged::Found(found)),
                None => self.ask(&key, hash, now).await.map(|token| Exchanged::Token(token, turn)),
            }
        };
        let outcome = tokio::time::timeout(self.timeout, work).await;
        outcome.unwrap_or_else(|_| Err(Refusal::sign_in_unavailable(RETRY_AFTER)))
    }

    async fn ask(&self, key: &ApiKey, hash: &TokenHash, now: i64) -> Result<String, Status> {
        let call = CallContext::of_service("gateway", TraceContext::NONE).within(self.timeout);
        let request = call.retry_safe_request(ExchangeApiKeyRequest { api_key: key.expose().to_string() });
        match self.client.clone().exchange_api_key(request).await {
            Ok(answer) => Ok(answer.into_inner().access_token),
            Err(status) if reason_of(&status).as_deref() == Some(UNKNOWN) => {
                self.unknown.put(*hash, (), now + UNKNOWN_SECONDS, now);
                Err(unknown())
            }
            Err(status) => {
                tracing::warn!(reason = reason_or_code(&status), "an API key was not exchanged");
                Err(Refusal::sign_in_unavailable(RETRY_AFTER))
            }
        }
    }
}

/// How an exchange ended.
pub(crate) enum Exchanged<'a, T> {
    Found(T),
    /// A token, and the turn, which is kept until something was made of it.
    Token(String, MutexGuard<'a, ()>),
}
