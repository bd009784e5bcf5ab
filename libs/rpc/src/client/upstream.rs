//! A service that is called: several connections, and the one place where calls are retried.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use rand::Rng;
use tonic::Status;
use tower::retry::budget::{Budget, TpsBudget};

use crate::client::addresses::{Addresses, Pending, Resolver, Way};
use crate::client::batch::Unanswered;
use crate::client::body::{UpstreamBody, broken_off};
use crate::client::connection::{Manner, Unreachable};
use crate::local;
use crate::settings::{BatchSettings, RpcClientSettings};
use crate::status::{Refusal, is_unavailable, retry_after_of, room_after};
use crate::tls::{ClientTls, RoleTls, host_of};

/// When a caller may come again after the upstream was away.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a call counts for the retry budget.
const BUDGET_MEMORY: Duration = Duration::from_secs(10);

/// An upstream's address that is none.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is no upstream address: it must look like {scheme}://host:port")]
pub struct UpstreamUrlError {
    url: String,
    scheme: Scheme,
}

/// A service that is called over gRPC.
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    addresses: Addresses,
    manner: Manner,
    /// Where to look for it in this process first.
    local: Option<SocketAddr>,
    budget: TpsBudget,
    attempts_max: u32,
    backoff_min: Duration,
    backoff_max: Duration,
    default_timeout: Duration,
    waits_for_room: bool,
}

/// When a call is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// While it is certain that nothing was sent: it may not be carried out twice.
    Unsent,
    /// Once more, too, after its connection was lost before the answer began. What the upstream says of itself is its
    /// caller's answer: for who passes on the calls of others, who decide themselves whether they come again.
    OnceLost,
    /// As often as the settings allow, also while the upstream says that it is unavailable.
    Safe,
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
    /// What has to have become of it before it is sent again.
    pub resend: Resend,
    /// Whether it may travel together with others, where the upstream is [made for that](Upstream::with_batches): a call
    /// with one answer.
    pub batchable: bool,
}

/// Whether a call is sent again after an attempt, and how long whoever refused it asks to wait before.
enum Again {
    Never,
    /// As one more of its attempts.
    Attempt(Duration),
    /// Once there is room for it. It was not taken up, and is as new.
    Room(Duration),
}

/// How an upstream is protected, and what it has to prove.
#[derive(Clone, Copy)]
enum Protection<'a> {
    /// Nothing, in the clear.
    None,
    /// To be the host of its URL.
    Host(&'a ClientTls),
    /// To be this role, to which ours is proved, too.
    Role(&'a RoleTls, &'a str),
}

/// What became of one attempt.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every attempt is answered, and a box would cost each an allocation"
)]
enum Attempt {
    Answered(Response<UpstreamBody>),
    /// Nothing was sent.
    Unreachable(Unreachable),
    /// The upstream says that it did not begin.
    Refused(h2::Error),
    /// It may have been carried out, or not.
    Broken(h2::Error),
    /// So, too: the stream ended that it shared.
    Lost(Arc<str>),
}

impl Upstream {
    /// The upstream at `url` (`http://host:port`); nothing is connected yet. While this process serves it itself, at the
    /// very address of the URL, calls go to it without a socket, if the settings allow it.
    ///
    /// # Errors
    ///
    /// An `url` that is none, or not `http`.
    pub fn new(url: &str, settings: &RpcClientSettings) -> Result<Self, UpstreamUrlError> {
        Self::made(url, settings, None, Protection::None)
    }

    /// The upstream at `url` (`https://host:port`), which has to prove to be that host.
    ///
    /// # Errors
    ///
    /// An `url` that is none, or not `https`.
    pub fn over_tls(url: &str, settings: &RpcClientSettings, tls: &ClientTls) -> Result<Self, UpstreamUrlError> {
        Self::made(url, settings, None, Protection::Host(tls))
    }

    /// As [`Self::new`]; calls that are ready at the same time travel together, where the upstream takes them so.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn with_batches(
        url: &str,
        settings: &RpcClientSettings,
        batch: &BatchSettings,
    ) -> Result<Self, UpstreamUrlError> {
        Self::to_role("", url, settings, Some(batch), None)
    }

    /// The upstream at `url`, which has to prove to be this role, over TLS (`https://host:port`) with the certificate that is
    /// shown to it; without one it is called in the clear (`http://host:port`). Within this process as by [`Self::new`], and
    /// with `batch` together as by [`Self::with_batches`].
    ///
    /// # Errors
    ///
    /// An `url` that is none, or has the other scheme.
    pub fn to_role(
        role: &str,
        url: &str,
        settings: &RpcClientSettings,
        batch: Option<&BatchSettings>,
        tls: Option<&RoleTls>,
    ) -> Result<Self, UpstreamUrlError> {
        let batch = batch.filter(|batch| batch.enabled).cloned();
        Self::made(url, settings, batch, tls.map_or(Protection::None, |tls| Protection::Role(tls, role)))
    }

    fn made(
        url: &str,
        settings: &RpcClientSettings,
        batch: Option<BatchSettings>,
        protection: Protection<'_>,
    ) -> Result<Self, UpstreamUrlError> {
        let (scheme, usual_port) = match protection {
            Protection::None => (Scheme::HTTP, 80),
            Protection::Host(_) | Protection::Role(..) => (Scheme::HTTPS, 443),
        };
        let refuse = || UpstreamUrlError { url: url.to_owned(), scheme: scheme.clone() };
        let parts = url.parse::<Uri>().map_err(|_| refuse())?.into_parts();
        let path_is_empty = parts.path_and_query.is_none_or(|path| path == "/");
        let authority = parts.authority.filter(|_| parts.scheme.as_ref() == Some(&scheme) && path_is_empty);
        let authority = authority.ok_or_else(refuse)?;
        let peer = match protection {
            Protection::None => None,
            Protection::Host(tls) => Some(tls.peer(host_of(&authority)).ok_or_else(refuse)?),
            Protection::Role(tls, role) => Some(tls.peer(role).ok_or_else(refuse)?),
        };
        let manner = Manner { batch, peer };
        // Of this process, which has nobody to prove itself to.
        let may_be_local = settings.in_memory && !matches!(protection, Protection::Host(_));
        let local = if may_be_local { authority.as_str().parse().ok() } else { None };
        let addresses = match address_of(&authority, usual_port) {
            Ok(address) => Addresses::fixed(address, settings, manner.clone()),
            Err((host, port)) => Addresses::of_name(by_dns(host, port), settings, manner.clone()),
        };
        // tower's budget takes its share as a factor.
        let share = f32::from(u16::try_from(settings.retry_percent).unwrap_or(u16::MAX)) / 100.0;
        Ok(Self {
            scheme,
            authority,
            addresses,
            manner,
            local,
            budget: TpsBudget::new(BUDGET_MEMORY, settings.retries_per_second_min, share.min(1_000.0)),
            attempts_max: settings.attempts_max.max(1),
            backoff_min: Duration::from_millis(settings.backoff_min_ms.max(1)),
            backoff_max: Duration::from_millis(settings.backoff_max_ms.max(1)),
            default_timeout: Duration::from_millis(settings.default_timeout_ms),
            waits_for_room: settings.waits_for_room,
        })
    }

    /// The same upstream, at the addresses that this resolver gives instead of those that its name has.
    #[must_use]
    pub fn resolved_by(self, resolver: Resolver, settings: &RpcClientSettings) -> Self {
        Self { addresses: Addresses::of_name(resolver, settings, self.manner.clone()), ..self }
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
    /// It is tried again, with growing pauses and within the budget and the deadline, while nothing was sent, and
    /// otherwise as [`Resend`] says. Where the settings say so, a call that there is no room
    /// for is sent again until its deadline; without one it is not.
    ///
    /// # Errors
    ///
    /// A status with `UPSTREAM_UNAVAILABLE` and a `RetryInfo`, or `DEADLINE_EXCEEDED`. A status that the upstream
    /// itself gave is an answer, not an error.
    pub async fn call(&self, outbound: Outbound) -> Result<Response<UpstreamBody>, Status> {
        self.call_while(outbound, || true).await
    }

    /// As [`Self::call`]; `goes_on` is asked before the call is sent again, and its no ends the call with what it has. So
    /// a caller counts what is sent again, and stops it.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub async fn call_while(
        &self,
        outbound: Outbound,
        goes_on: impl FnMut() -> bool + Send,
    ) -> Result<Response<UpstreamBody>, Status> {
        self.budget.deposit();
        let Some(deadline) = outbound.deadline else { return self.attempts(outbound, goes_on).await };
        match tokio::time::timeout_at(deadline.into(), self.attempts(outbound, goes_on)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refusal::deadline_exceeded()),
        }
    }

    async fn attempts(
        &self,
        mut outbound: Outbound,
        mut goes_on: impl FnMut() -> bool + Send,
    ) -> Result<Response<UpstreamBody>, Status> {
        let (mut attempt, mut waits, mut losses) = (1, 0, 0);
        loop {
            let last = attempt >= self.attempts_max;
            let outcome = self.attempt(&mut outbound, last).await;
            losses += u32::from(outcome.is_lost());
            let pause = match self.again(&outcome, outbound.resend, losses) {
                Again::Attempt(advised) if !last && self.budget.withdraw() => {
                    attempt += 1;
                    self.backoff(attempt - 1).max(advised)
                }
                // The deadline is the one bound of this.
                Again::Room(advised) if outbound.deadline.is_some() => {
                    waits += 1;
                    self.room_pause(waits, advised)
                }
                _ => return self.end(outcome),
            };
            let is_late = outbound.deadline.is_some_and(|deadline| Instant::now() + pause >= deadline);
            if is_late || !goes_on() {
                return self.end(outcome);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// `losses` counts this one, if it is one.
    fn again(&self, outcome: &Attempt, resend: Resend, losses: u32) -> Again {
        match outcome {
            Attempt::Unreachable(_) => Again::Attempt(Duration::ZERO),
            Attempt::Refused(_) | Attempt::Broken(_) | Attempt::Lost(_) => match resend {
                Resend::Safe => Again::Attempt(Duration::ZERO),
                Resend::OnceLost if losses <= 1 => Again::Attempt(Duration::ZERO),
                Resend::OnceLost | Resend::Unsent => Again::Never,
            },
            Attempt::Answered(answer) => self.again_after(answer, resend == Resend::Safe),
        }
    }

    /// After an answer: when it is a refusal that says to come again.
    fn again_after(&self, answer: &Response<UpstreamBody>, is_safe: bool) -> Again {
        // A status is only made of the headers of an answer that has no more than one.
        if !(is_safe || self.waits_for_room) || !answer.headers().contains_key("grpc-status") {
            return Again::Never;
        }
        let Some(status) = Status::from_header_map(answer.headers()) else { return Again::Never };
        if is_safe && is_unavailable(&status) {
            return Again::Attempt(retry_after_of(&status).unwrap_or_default());
        }
        match room_after(&status) {
            Some(advised) if self.waits_for_room => Again::Room(advised),
            _ => Again::Never,
        }
    }

    async fn attempt(&self, outbound: &mut Outbound, last: bool) -> Attempt {
        if let Some(service) = self.local.and_then(local::find) {
            // It cannot be lost on its way.
            let last = last || outbound.resend == Resend::OnceLost;
            let request = self.head(outbound, last).map(|()| Full::new(outbound.body.clone()));
            let Ok(answer) = Box::pin(service.answer(request)).await;
            return Attempt::Answered(answer.map(|body| UpstreamBody::local(body, outbound.body_deadline)));
        }
        let (way, pending) = match self.addresses.ready(outbound.batchable).await {
            Ok(ready) => ready,
            Err(unreachable) => return Attempt::Unreachable(unreachable),
        };
        let calls = match way {
            Way::Alone(sender) => return self.attempt_alone(outbound, last, sender, pending).await,
            Way::Together(calls) => calls,
        };
        match calls.call(outbound).await {
            Ok(answer) => {
                let deadline = outbound.body_deadline;
                return Attempt::Answered(answer.into_response(|body| UpstreamBody::batched(body, deadline, pending)));
            }
            Err(Unanswered::Lost(reason)) => return Attempt::Lost(reason),
            Err(Unanswered::NotTaken) => drop(pending),
        }
        match self.addresses.ready(false).await {
            Ok((Way::Alone(sender), pending)) => self.attempt_alone(outbound, last, sender, pending).await,
            // What is not batchable goes alone.
            Ok((Way::Together(_), _)) => Attempt::Unreachable(Unreachable::new("it cannot be called alone")),
            Err(unreachable) => Attempt::Unreachable(unreachable),
        }
    }

    async fn attempt_alone(
        &self,
        outbound: &mut Outbound,
        last: bool,
        mut sender: SendRequest<Bytes>,
        pending: Pending,
    ) -> Attempt {
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
        let headers = match (outbound.resend != Resend::Unsent && !last) || self.waits_for_room {
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
        parts.scheme = Some(self.scheme.clone());
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
            Attempt::Lost(reason) => (reason.to_string(), Refusal::upstream_unavailable(RETRY_AFTER)),
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

    /// A pause before a call without room is sent again, half of it at random: callers that were refused together do not
    /// come back together.
    fn room_pause(&self, waits: u32, advised: Duration) -> Duration {
        let doubled = self.backoff_min.saturating_mul(1 << waits.saturating_sub(1).min(16));
        doubled.max(advised).min(self.backoff_max).mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

impl Attempt {
    /// Whether it was sent, and nobody knows what became of it; or whether the upstream says that it did not begin.
    fn is_lost(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Broken(_) | Self::Lost(_))
    }
}

/// The address of an upstream that is named by it; else its name and port.
fn address_of(authority: &Authority, usual_port: u16) -> Result<SocketAddr, (String, u16)> {
    let host = host_of(authority);
    let port = authority.port_u16().unwrap_or(usual_port);
    host.parse::<IpAddr>().map(|address| SocketAddr::new(address, port)).map_err(|_| (host.to_owned(), port))
}

fn by_dns(host: String, port: u16) -> Resolver {
    Arc::new(move || {
        let host = host.clone();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    })
}

/// Whether the peer says that it did not begin (HTTP/2, sections 6.8 and 8.7).
fn never_began(error: &h2::Error) -> bool {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => error.is_reset() && error.is_remote(),
        Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        _ => false,
    }
}
