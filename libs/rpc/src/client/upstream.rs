//! A service that is called: several connections, and the one place where calls are retried.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use rand::Rng;
use tonic::Status;
use tower::retry::budget::{Budget, TpsBudget};

use crate::client::addresses::{Addresses, Resolver};
use crate::client::body::{UpstreamBody, broken_off};
use crate::client::connection::Unreachable;
use crate::local;
use crate::settings::RpcClientSettings;
use crate::status::{Refusal, is_unavailable, retry_after_of};

/// When a caller may come again after the upstream was away.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a call counts for the retry budget.
const BUDGET_MEMORY: Duration = Duration::from_secs(10);

/// An upstream's address that is none.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is no upstream address: it must look like http://host:port")]
pub struct UpstreamUrlError {
    url: String,
}

/// A service that is called over gRPC.
pub struct Upstream {
    authority: Authority,
    addresses: Addresses,
    /// Where to look for it in this process first.
    local: Option<SocketAddr>,
    budget: TpsBudget,
    attempts_max: u32,
    backoff_min: Duration,
    backoff_max: Duration,
    default_timeout: Duration,
}

/// A call on its way out.
#[derive(Clone)]
pub struct Outbound {
    /// The method, `/package.Service/Method`.
    pub path: PathAndQuery,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole request body.
    pub body: Bytes,
    /// When its caller stops waiting for the answer's head.
    pub deadline: Option<Instant>,
    /// When its caller stops waiting for the answer's end; none for a stream.
    pub body_deadline: Option<Instant>,
    /// Whether it may be sent twice. If not, it is only tried again while it is certain that nothing was sent.
    pub retry_safe: bool,
}

/// What became of one attempt.
enum Attempt {
    Answered(Response<UpstreamBody>),
    /// Nothing was sent.
    Unreachable(Unreachable),
    /// The upstream says that it did not begin.
    Refused(h2::Error),
    /// It may have been carried out, or not.
    Broken(h2::Error),
}

impl Upstream {
    /// The upstream at `url` (`http://host:port`); nothing is connected yet. While this process serves it itself, at the
    /// very address of the URL, calls go to it without a socket, if the settings allow it.
    ///
    /// # Errors
    ///
    /// An `url` that is none, or not `http`.
    pub fn new(url: &str, settings: &RpcClientSettings) -> Result<Self, UpstreamUrlError> {
        let refuse = || UpstreamUrlError { url: url.to_owned() };
        let parts = url.parse::<Uri>().map_err(|_| refuse())?.into_parts();
        let path_is_empty = parts.path_and_query.is_none_or(|path| path == "/");
        let authority = parts.authority.filter(|_| parts.scheme == Some(Scheme::HTTP) && path_is_empty);
        let authority = authority.ok_or_else(refuse)?;
        let local = if settings.in_memory { authority.as_str().parse().ok() } else { None };
        let addresses = match address_of(&authority) {
            Ok(address) => Addresses::fixed(address, settings),
            Err((host, port)) => Addresses::of_name(by_dns(host, port), settings),
        };
        // tower's budget takes its share as a factor.
        let share = f32::from(u16::try_from(settings.retry_percent).unwrap_or(u16::MAX)) / 100.0;
        Ok(Self {
            authority,
            addresses,
            local,
            budget: TpsBudget::new(BUDGET_MEMORY, settings.retries_per_second_min, share.min(1_000.0)),
            attempts_max: settings.attempts_max.max(1),
            backoff_min: Duration::from_millis(settings.backoff_min_ms.max(1)),
            backoff_max: Duration::from_millis(settings.backoff_max_ms.max(1)),
            default_timeout: Duration::from_millis(settings.default_timeout_ms),
        })
    }

    /// The same upstream, at the addresses that this resolver gives instead of those that its name has.
    #[must_use]
    pub fn resolved_by(self, resolver: Resolver, settings: &RpcClientSettings) -> Self {
        Self { addresses: Addresses::of_name(resolver, settings), ..self }
    }

    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The time of a call whose caller gives none.
    #[must_use]
    pub fn default_timeout(&self) -> Duration {
        self.default_timeout
    }

    /// Sends a call and waits for the head of its answer.
    ///
    /// It is tried again, with growing pauses and within the budget and the deadline, while nothing was sent, or while
    /// the upstream is unavailable and the call may be sent twice.
    ///
    /// # Errors
    ///
    /// A status with `UPSTREAM_UNAVAILABLE` and a `RetryInfo`, or `DEADLINE_EXCEEDED`. A status that the upstream
    /// itself gave is an answer, not an error.
    pub async fn call(&self, outbound: Outbound) -> Result<Response<UpstreamBody>, Status> {
        self.budget.deposit();
        let Some(deadline) = outbound.deadline else { return self.attempts(outbound).await };
        match tokio::time::timeout_at(deadline.into(), self.attempts(outbound)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::deadline_exceeded()),
        }
    }

    async fn attempts(&self, mut outbound: Outbound) -> Result<Response<UpstreamBody>, Status> {
        let mut attempt = 1;
        loop {
            let last = attempt >= self.attempts_max;
            let outcome = self.attempt(&mut outbound, last).await;
            let may_repeat = match &outcome {
                Attempt::Unreachable(_) => true,
                Attempt::Refused(_) | Attempt::Broken(_) => outbound.retry_safe,
                Attempt::Answered(answer) => outbound.retry_safe && refused_for_now(answer).is_some(),
            };
            if !may_repeat || last || !self.budget.withdraw() {
                return self.end(outcome);
            }
            let advised = match &outcome {
                Attempt::Answered(answer) => refused_for_now(answer).unwrap_or_default(),
                _ => Duration::ZERO,
            };
            let pause = self.backoff(attempt).max(advised);
            if outbound.deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
                return self.end(outcome);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, outbound: &mut Outbound, last: bool) -> Attempt {
        if let Some(service) = self.local.and_then(local::find) {
            let request = self.head(outbound, last).map(|()| Full::new(outbound.body.clone()));
            let Ok(answer) = Box::pin(service.answer(request)).await;
            return Attempt::Answered(answer.map(|body| UpstreamBody::local(body, outbound.body_deadline)));
        }
        let (mut sender, pending) = match self.addresses.ready().await {
            Ok(ready) => ready,
            Err(unreachable) => return Attempt::Unreachable(unreachable),
        };
        let request = self.head(outbound, last);
        let sent = sender.send_request(request, outbound.body.is_empty()).and_then(|(answer, mut body)| {
            if !outbound.body.is_empty() {
                body.send_data(outbound.body.clone(), true)?;
            }
            Ok(answer)
        });
        let outcome = match sent {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(answer) => {
                Attempt::Answered(answer.map(|body| UpstreamBody::new(body, outbound.body_deadline, pending)))
            }
            Err(error) if never_began(&error) => Attempt::Refused(error),
            Err(error) => Attempt::Broken(error),
        }
    }

    fn head(&self, outbound: &mut Outbound, last: bool) -> Request<()> {
        // Copied only when they may be needed again.
        let headers = match outbound.retry_safe && !last {
            true => outbound.headers.clone(),
            false => std::mem::take(&mut outbound.headers),
        };
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = headers;
        *request.uri_mut() = self.uri(outbound.path.clone());
        request
    }

    fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // All three are there, which is all that can be wrong.
        Uri::from_parts(parts).unwrap_or_default()
    }

    fn end(&self, outcome: Attempt) -> Result<Response<UpstreamBody>, Status> {
        let (error, status) = match outcome {
            Attempt::Answered(answer) => return Ok(answer),
            Attempt::Unreachable(error) => (error.to_string(), Refusal::upstream_unavailable(RETRY_AFTER)),
            Attempt::Refused(error) => (error.to_string(), Refusal::upstream_unavailable(RETRY_AFTER)),
            Attempt::Broken(error) => (error.to_string(), broken_off(&error)),
        };
        tracing::debug!(upstream = %self.authority, error, "an upstream could not be called");
        Err(status)
    }

    /// A random pause up to a bound that doubles with each attempt ("full jitter").
    fn backoff(&self, attempt: u32) -> Duration {
        let doubled = self.backoff_min.saturating_mul(1 << attempt.min(16));
        let bound = doubled.min(self.backoff_max);
        rand::rng().random_range(self.backoff_min.min(bound)..=bound)
    }
}

/// The address of an upstream that is named by it; else its name and port.
fn address_of(authority: &Authority) -> Result<SocketAddr, (String, u16)> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(80);
    host.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)).map_err(|_| (host.to_owned(), port))
}

fn by_dns(host: String, port: u16) -> Resolver {
    Arc::new(move || {
        let host = host.clone();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    })
}

/// What the upstream advises to wait, if its answer is `UNAVAILABLE`.
fn refused_for_now(answer: &Response<UpstreamBody>) -> Option<Duration> {
    answer.headers().get("grpc-status")?;
    let status = Status::from_header_map(answer.headers())?;
    is_unavailable(&status).then(|| retry_after_of(&status).unwrap_or_default())
}

/// Whether the peer says that it did not begin (HTTP/2, sections 6.8 and 8.7).
fn never_began(error: &h2::Error) -> bool {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => error.is_reset() && error.is_remote(),
        Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        _ => false,
    }
}
