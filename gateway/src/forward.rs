//! One call through the gateway.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::Service;
use openorder_rpc::caller::{RESERVED_PREFIX, write_trace};
use openorder_rpc::server::{
    Call, CallFuture, CallMetrics, Connection, OVERLOADED_RETRY_AFTER, PerConnection, is_grpc_call,
};
use openorder_rpc::{IncomingTrace, Outbound, Refusal, UpstreamBody, timeout};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;

use crate::address;
use crate::admission::Place;
use crate::answers::{AnswerBody, Answers, CallerAnswers, Ending};
use crate::body::{HeldBody, ReadLimits, Received, Rest, read_whole};
use crate::docs::{self, DocsPage};
use crate::identity::{Arrival, CallCount, Identity, JWKS_PATH, SignIn};
use crate::local::{LocalCall, LocalMethod};
use crate::message::{Encoding, Expected, plain};
use crate::openapi::{self, OpenApi};
use crate::protocol::call::SpokenCall;
use crate::protocol::cors::Cors;
use crate::protocol::site::Site;
use crate::protocol::{AnswerForm, Refused, Spoken};
use crate::proxied::{ProxiedCaller, ProxiedCallers};
use crate::rates::CallerRate;
use crate::resend::resend;
use crate::routes::{Route, RouteTable};
use crate::shares::{Member, Part, Resource, Shares};

/// Headers that mean one connection, not the call (RFC 9113, section 8.2.2), or that the next hop sets itself.
const HOP_HEADERS: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "host", "content-length"];

/// The shortest time that `grpc-timeout` is sent with.
const SHORTEST_TIME: Duration = Duration::from_micros(1);

/// The gateway as a service of HTTP requests. Clones share everything.
#[derive(Clone)]
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    /// The connection's share of everything.
    member: Arc<Member>,
    /// Its calls.
    calls: CallCount,
    /// Its answers.
    answers: CallerAnswers,
    /// What its address has left, where callers have a limit.
    rate: Option<Arc<CallerRate>>,
    /// Whether it is a proxy's, which says where its calls come from.
    by_proxy: bool,
    /// Whether nobody else can read what is said over it.
    is_protected: bool,
    /// None until there is one.
    connection: Option<Connection>,
    /// Reflection and health.
    local: Routes,
}

pub(crate) struct Shared {
    pub(crate) role: RoleTelemetry,
    pub(crate) routes: RouteTable,
    pub(crate) openapi: OpenApi,
    pub(crate) docs: DocsPage,
    pub(crate) cors: Cors,
    pub(crate) site: Site,
    pub(crate) speaks_tls: bool,
    pub(crate) metrics: Arc<CallMetrics>,
    pub(crate) sign_in: SignIn,
    pub(crate) limits: Limits,
    pub(crate) incoming_trace: IncomingTrace,
    pub(crate) shares: Shares,
    pub(crate) proxied_callers: ProxiedCallers,
    pub(crate) answers: Answers,
}

/// What the gateway lets through.
pub(crate) struct Limits {
    pub(crate) read: ReadLimits,
    pub(crate) metadata_bytes: usize,
    pub(crate) default_timeout: Duration,
    pub(crate) timeout_max: Duration,
    /// Bytes of an answer, or of one message of a stream.
    pub(crate) answer_bytes: usize,
    pub(crate) stream_keep_alive: Duration,
}

/// Who answers a call.
enum Target<'a> {
    Service(&'a Arc<Route>),
    Gateway(LocalMethod),
}

impl Gateway {
    pub(crate) fn new(shared: Shared, local: Routes) -> Self {
        let member = shared.shares.member(std::net::Ipv4Addr::UNSPECIFIED.into());
        let answers = shared.answers.caller(&member);
        Self {
            shared: Arc::new(shared),
            member,
            calls: CallCount::default(),
            answers,
            rate: None,
            by_proxy: false,
            is_protected: false,
            connection: None,
            local: local.prepare(),
        }
    }

    /// Begins a call of this method (`package.Service/Method`).
    fn begin(&self, method: &str, headers: &HeaderMap, started: Instant) -> Call {
        let shared = &self.shared;
        let mut call = Call::start_as(method, &shared.role, &shared.metrics, headers, started, shared.incoming_trace);
        if let Some(connection) = &self.connection {
            call.occupy(connection);
        }
        call
    }

    /// Who answers the call, or what it is refused with because of its head.
    fn target(&self, parts: &Parts) -> Result<Target<'_>, Box<Response<Body>>> {
        if parts.version < http::Version::HTTP_2 {
            let refusal = Refusal::http_version_not_supported().into_http();
            return Err(Box::new(AnswerForm::Rest.finish(refusal, self.shared.routes.contract())));
        }
        let metadata_bytes_max = self.shared.limits.metadata_bytes;
        if metadata_bytes(&parts.headers) > metadata_bytes_max {
            return Err(Box::new(Refusal::metadata_too_large(metadata_bytes_max).into_http()));
        }
        let path = parts.uri.path();
        let service = self.shared.routes.find(path).map(Target::Service);
        if service.is_some() && !self.is_protected {
            return Err(Box::new(Refusal::tls_required().into_http()));
        }
        let target = service.or_else(|| LocalMethod::find(path).map(Target::Gateway));
        target.ok_or_else(|| Box::new(Refusal::unimplemented("there is no such method").into_http()))
    }

    /// A call of another protocol than gRPC: made into one of gRPC, and its answer back.
    fn call_spoken(&self, mut parts: Parts, body: Incoming, started: Instant) -> Answer {
        let rest = Arc::new(Rest::of(parts.version, &body, self.connection.as_ref()));
        let led_astray = self.shared.site.refusal(&parts, &self.shared.cors);
        if led_astray.is_none()
            && let Some(answer) = self.answer_at_once(&parts)
        {
            return Box::pin(std::future::ready(Ok(answer)));
        }
        let origin = self.shared.cors.origin(&parts.headers);
        let not_admitted = led_astray.or_else(|| (!self.is_protected).then(Refusal::tls_required));
        let spoken = self.spoken(&mut parts, not_admitted);
        let method = match &spoken {
            Ok(spoken) => spoken.route.path.as_str(),
            Err(_) => parts.uri.path(),
        };
        let call = self.begin(method.trim_start_matches('/'), &parts.headers, started);
        let shared = Arc::clone(&self.shared);
        let (answered, form) = match spoken {
            Err(refused) => {
                let Refused { status, answer: form } = *refused;
                let (limits, member, rest) = (shared.limits.read, Arc::clone(&self.member), Arc::clone(&rest));
                let work = async move {
                    // Over HTTP/1.1 the next request comes behind the rest of this one, or not at all.
                    if rest.is_left() {
                        rest.was_read(read_whole(body, limits, &member).await.is_ok());
                    }
                    Err::<Response<HeldBody<AnswerBody>>, _>(status)
                };
                (answer(call, work, None), form)
            }
            Ok(spoken) => {
                let form = spoken.answer;
                let deadline = shared.limits.deadline(spoken.route.streams, &parts.headers, started);
                let head_deadline = shared.limits.head_deadline(deadline, started);
                let (arrival, answers) = (self.arrival(&mut parts), self.answers.clone());
                let (shared, trace, rest) = (Arc::clone(&shared), call.trace().clone(), Arc::clone(&rest));
                let work = SpokenCall { shared, spoken, arrival, answers, trace, deadline, parts, body, rest };
                (answer(call, work.answer(), head_deadline), form)
            }
        };
        Box::pin(async move {
            let Ok(answer) = answered.await;
            let mut answer = form.finish(answer, shared.routes.contract());
            shared.cors.mark(origin, answer.headers_mut());
            if rest.ends_connection() {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        })
    }

    /// The answer to a request that calls no method.
    fn answer_at_once(&self, parts: &Parts) -> Option<Response<Body>> {
        if let Some(answer) = self.shared.cors.preflight(parts) {
            return Some(answer);
        }
        let mut answer = match parts.uri.path() {
            openapi::PATH => self.shared.openapi.answer(parts),
            JWKS_PATH => self.shared.sign_in.jwks(parts),
            docs::PATH => return Some(self.shared.docs.answer(parts)),
            _ => return None,
        };
        self.shared.cors.mark(self.shared.cors.origin(&parts.headers), answer.headers_mut());
        Some(answer)
    }

    /// What a request of another protocol means, or what it is refused with because of its head; `not_admitted` is why
    /// whatever it means.
    fn spoken(&self, parts: &mut Parts, not_admitted: Option<Status>) -> Result<Spoken, Box<Refused>> {
        let metadata_bytes_max = self.shared.limits.metadata_bytes;
        if metadata_bytes(&parts.headers) > metadata_bytes_max {
            let status = Refusal::metadata_too_large(metadata_bytes_max);
            return Err(Box::new(Refused { status, answer: AnswerForm::Rest }));
        }
        let spoken = crate::protocol::of(&self.shared.routes, parts);
        let Some(status) = not_admitted else { return spoken };
        let answer = spoken.map_or_else(|refused| refused.answer, |spoken| spoken.answer);
        Err(Box::new(Refused { status, answer }))
    }

    /// What is known of who makes the call before its token is looked at.
    fn arrival(&self, parts: &mut Parts) -> Arrival {
        match self.proxied_caller(&parts.headers) {
            Some(ProxiedCaller { member, calls, rate }) => {
                Arrival::new(&member, &calls, rate.as_ref(), &mut parts.headers)
            }
            None => Arrival::new(&self.member, &self.calls, self.rate.as_ref(), &mut parts.headers),
        }
    }

    /// Who makes a call that a proxy passed on.
    fn proxied_caller(&self, headers: &HeaderMap) -> Option<ProxiedCaller> {
        if !self.by_proxy {
            return None;
        }
        let shared = &self.shared;
        shared.proxied_callers.of(headers, Instant::now(), |address| ProxiedCaller {
            member: shared.shares.member(address),
            calls: CallCount::default(),
            rate: shared.sign_in.rate_of(address),
        })
    }
}

impl PerConnection for Gateway {
    const TAKES_HTTP1: bool = true;

    fn for_connection(&self, connection: &Connection) -> Self {
        let member = self.shared.shares.member(connection.peer());
        let by_proxy = self.shared.proxied_callers.is_proxy(connection.address());
        Self {
            shared: Arc::clone(&self.shared),
            answers: self.shared.answers.caller(&member),
            member,
            calls: CallCount::default(),
            rate: self.shared.sign_in.rate_of(connection.peer()),
            by_proxy,
            is_protected: address::is_protected(connection.address(), self.shared.speaks_tls, by_proxy),
            connection: Some(connection.clone()),
            local: self.local.clone(),
        }
    }

    fn overdue(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let answers = self.answers.clone();
        Box::pin(async move { answers.overdue().await })
    }
}

impl Service<Request<Incoming>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        if !is_grpc_call(&parts) {
            return self.call_spoken(parts, body, started);
        }
        let call = self.begin(parts.uri.path().trim_start_matches('/'), &parts.headers, started);
        let target = match self.target(&parts) {
            Ok(target) => target,
            Err(refusal) => {
                Rest::of(parts.version, &body, self.connection.as_ref());
                return refuse(call, *refusal);
            }
        };
        let limits = &self.shared.limits;
        let deadline = limits.deadline(target.streams(), &parts.headers, started);
        let head_deadline = limits.head_deadline(deadline, started);
        let (arrival, answers) = (self.arrival(&mut parts), self.answers.clone());
        match target {
            Target::Service(route) => {
                let (shared, route) = (Arc::clone(&self.shared), Arc::clone(route));
                let trace = call.trace().clone();
                let incoming = IncomingCall { shared, route, arrival, answers, trace, deadline, parts, body };
                answer(call, incoming.answer(), head_deadline)
            }
            Target::Gateway(method) => {
                let (routes, limits) = (self.local.clone(), limits.read);
                let (member, under_way) = arrival.into_connection();
                let local = LocalCall { method, routes, member, under_way, answers, limits, parts, body };
                answer(call, local.answer(), head_deadline)
            }
        }
    }
}

impl Target<'_> {
    /// Whether the answer may stay open for hours.
    fn streams(&self) -> bool {
        match self {
            Self::Service(route) => route.streams,
            Self::Gateway(method) => method.streams(),
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn refuse(call: Call, refusal: Response<Body>) -> Answer {
    Box::pin(CallFuture::<std::future::Ready<Result<Response<Body>, Infallible>>>::refused(call, refusal))
}

/// An answer to come, or the refusal instead of it.
fn answer<B>(
    call: Call,
    work: impl Future<Output = Result<Response<HeldBody<B>>, Status>> + Send + 'static,
    head_deadline: Option<Instant>,
) -> Answer
where
    B: http_body::Body<Data = Bytes, Error = Status> + Default + Send + Unpin + 'static,
{
    let work = async move {
        Ok(work.await.unwrap_or_else(|refusal| refusal.into_http::<B>().map(|body| HeldBody::new(body, None))))
    };
    Box::pin(CallFuture::running(call, work, head_deadline))
}

/// As HTTP/2 counts them (RFC 9113, section 6.5.2).
fn metadata_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

impl Limits {
    /// When the caller stops waiting: after its `grpc-timeout`, within the bound; else after the default. A stream ends
    /// only after its `grpc-timeout`.
    fn deadline(&self, streams: bool, headers: &HeaderMap, started: Instant) -> Option<Instant> {
        let timeout = timeout::parse(headers);
        match streams {
            true => timeout.and_then(|timeout| started.checked_add(timeout)),
            false => Some(started + timeout.unwrap_or(self.default_timeout).min(self.timeout_max)),
        }
    }

    /// When the answer has to begin. A stream may take its time, its request may not.
    fn head_deadline(&self, deadline: Option<Instant>, started: Instant) -> Option<Instant> {
        deadline.or(Some(started + self.timeout_max))
    }
}

/// A gRPC call on its way from the caller to the service.
struct IncomingCall {
    shared: Arc<Shared>,
    route: Arc<Route>,
    arrival: Arrival,
    answers: CallerAnswers,
    trace: TraceContext,
    deadline: Option<Instant>,
    parts: Parts,
    body: Incoming,
}

/// A call's place among all of the gateway, and among those of its service.
pub(crate) struct Admitted {
    pub(crate) place: Part,
    pub(crate) at_service: Option<Place>,
}

impl IncomingCall {
    /// First the request, whole; only then a place among the calls: a request that never arrives takes no place.
    async fn answer(self) -> Result<Response<HeldBody<AnswerBody>>, Status> {
        let Self { shared, route, arrival, answers, trace, deadline, parts, body } = self;
        let Parts { uri, mut headers, .. } = parts;
        let identity = shared.sign_in.identify(arrival, route.access).await?;
        let read = shared.limits.read;
        let encoding = Encoding::take(&mut headers)?;
        let Received { bytes, place: _bytes } = read_whole(body, read, &identity.member).await?;
        let expected = Expected { encoding, any_number: route.takes_stream, bytes_max: read.body_bytes };
        let body = plain(bytes, expected)?;
        let admitted = admit(&route, &identity).await?;
        remove_foreign(&mut headers);
        identity.write(&mut headers, route.wants_address);
        write_trace(&trace, &mut headers);
        let path = uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let ending = identity.ending(route.streams);
        forward(&route, &answers, admitted, ending, Message { path, headers, body, deadline }).await
    }
}

/// A place for a call of this caller.
pub(crate) async fn admit(route: &Route, identity: &Identity) -> Result<Admitted, Status> {
    let overloaded = || Refusal::overloaded(OVERLOADED_RETRY_AFTER);
    let resource = if route.streams { Resource::Streams } else { Resource::Calls };
    let place = identity.member.take(resource, 1).ok_or_else(overloaded)?;
    let at_service = match route.streams {
        true => None,
        false => {
            let entered = route.admission.enter(identity.share_key(), identity.under_way.count().clone(), route.number);
            Some(entered.await.ok_or_else(overloaded)?)
        }
    };
    Ok(Admitted { place, at_service })
}

/// What the service is sent.
pub(crate) struct Message {
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) deadline: Option<Instant>,
}

/// Calls the service. The call keeps its place at the service until the answer has come, and its place in the gateway
/// until its caller has read it.
async fn forward(
    route: &Route,
    answers: &CallerAnswers,
    admitted: Admitted,
    ending: Ending,
    message: Message,
) -> Result<Response<HeldBody<AnswerBody>>, Status> {
    let answer = send(route, message).await?;
    let answer = if route.streams { answers.stream(answer, ending) } else { answers.whole(answer).await };
    let Admitted { place, at_service } = admitted;
    drop(at_service);
    Ok(answer.map(|body| HeldBody::new(body, Some(place))))
}

/// Sends the service what it is sent, within the time that the caller waits.
pub(crate) async fn send(route: &Route, message: Message) -> Result<Response<UpstreamBody>, Status> {
    let Message { path, mut headers, body, deadline } = message;
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < SHORTEST_TIME {
            // The caller does not wait for an answer any more.
            return Err(Refusal::deadline_exceeded());
        }
        headers.insert(timeout::GRPC_TIMEOUT, timeout::header(left));
    }
    let outbound = Outbound {
        resend: resend(&route.procedure, &body),
        path,
        headers,
        body,
        // The head's deadline is kept around all of this.
        deadline: None,
        body_deadline: deadline,
        batchable: !(route.streams || route.takes_stream),
    };
    route.upstream.call(outbound).await
}

/// Removes the headers that only the gateway may set, and what belongs to the caller's own connection.
pub(crate) fn remove_foreign(headers: &mut HeaderMap) {
    for name in HOP_HEADERS {
        headers.remove(name);
    }
    if headers.keys().any(is_reserved) {
        let reserved: Vec<HeaderName> = headers.keys().filter(|name| is_reserved(name)).cloned().collect();
        for name in reserved {
            headers.remove(name);
        }
    }
}

fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with(RESERVED_PREFIX)
}
