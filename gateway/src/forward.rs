//! One call through the gateway.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use openorder_rpc::caller::{CallerHeaders, RESERVED_PREFIX, write_trace};
use openorder_rpc::server::{
    Call, CallFuture, CallMetrics, Connection, OVERLOADED_RETRY_AFTER, PerConnection, refuse_other_protocols,
};
use openorder_rpc::{IncomingTrace, Outbound, Refusal, timeout};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;

use crate::admission::CallerKey;
use crate::answers::{AnswerBody, Answers, CallerAnswers};
use crate::body::{HeldBody, ReadLimits, Received, read_whole};
use crate::local::{LocalCall, LocalMethod};
use crate::message::{Encoding, Expected, plain};
use crate::routes::{Route, RouteTable};
use crate::shares::{Member, Resource, Shares};

/// Headers that mean one connection, not the call (RFC 9113, section 8.2.2), or that the next hop sets itself.
const HOP_HEADERS: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "host", "content-length"];

/// The shortest time that the next hop can be told.
const SHORTEST_TIME: Duration = Duration::from_micros(1);

/// The gateway as a service of HTTP requests. Clones share everything.
#[derive(Clone)]
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    /// Who calls on this connection.
    caller: Arc<Member>,
    /// Its answers.
    answers: CallerAnswers,
    /// None until there is one.
    connection: Option<Connection>,
    /// Reflection and health.
    local: Routes,
}

pub(crate) struct Shared {
    pub(crate) role: RoleTelemetry,
    pub(crate) routes: RouteTable,
    pub(crate) metrics: Arc<CallMetrics>,
    pub(crate) caller: CallerHeaders,
    pub(crate) limits: Limits,
    pub(crate) incoming_trace: IncomingTrace,
    pub(crate) shares: Shares,
    pub(crate) answers: Answers,
}

/// What the gateway lets through.
pub(crate) struct Limits {
    pub(crate) read: ReadLimits,
    pub(crate) metadata_bytes: usize,
    pub(crate) default_timeout: Duration,
    pub(crate) timeout_max: Duration,
}

impl Gateway {
    pub(crate) fn new(shared: Shared, local: Routes) -> Self {
        let nobody = shared.shares.member(std::net::Ipv4Addr::UNSPECIFIED.into());
        let answers = shared.answers.caller(&nobody);
        Self { shared: Arc::new(shared), caller: nobody, answers, connection: None, local: local.prepare() }
    }

    /// Whose share a call counts against. Until callers sign in, a connection is a caller, and the address that it comes
    /// from a peer of many; whoever says more in a call's head will be found here.
    fn identify(&self, _: &Parts) -> &Arc<Member> {
        &self.caller
    }
}

impl PerConnection for Gateway {
    fn for_connection(&self, connection: &Connection) -> Self {
        let caller = self.shared.shares.member(connection.peer());
        Self {
            shared: Arc::clone(&self.shared),
            answers: self.shared.answers.caller(&caller),
            caller,
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
        let shared = &self.shared;
        let (parts, body) = request.into_parts();
        let mut call = Call::start(&shared.role, &shared.metrics, &parts, started, shared.incoming_trace);
        if let Some(connection) = &self.connection {
            call.occupy(connection);
        }
        if let Some(refusal) = refuse_other_protocols(&parts) {
            return refuse(call, refusal);
        }
        let limits = &shared.limits;
        if metadata_bytes(&parts.headers) > limits.metadata_bytes {
            return refuse(call, Refusal::metadata_too_large(limits.metadata_bytes).into_http());
        }
        let caller = Arc::clone(self.identify(&parts));
        if let Some(route) = shared.routes.find(parts.uri.path()) {
            let deadline = limits.deadline(route.streams, &parts.headers, started);
            let forward = Forward {
                shared: Arc::clone(shared),
                route: Arc::clone(route),
                caller,
                answers: self.answers.clone(),
                trace: call.trace().clone(),
                path: parts.uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")),
                headers: parts.headers,
                body,
                deadline,
            };
            return answer(call, forward.answer(), limits.head_deadline(deadline, started));
        }
        if let Some(method) = LocalMethod::find(parts.uri.path()) {
            let deadline = limits.deadline(method.streams(), &parts.headers, started);
            let (routes, answers) = (self.local.clone(), self.answers.clone());
            let local = LocalCall { method, routes, caller, answers, limits: limits.read, parts, body };
            return answer(call, local.answer(), limits.head_deadline(deadline, started));
        }
        refuse(call, Refusal::unimplemented("there is no such method").into_http())
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
    /// When the caller stops waiting: as it says, within the bound; else the default. A stream ends only when its
    /// caller says so.
    fn deadline(&self, streams: bool, headers: &HeaderMap, started: Instant) -> Option<Instant> {
        let asked = timeout::parse(headers);
        match streams {
            true => asked.and_then(|asked| started.checked_add(asked)),
            false => Some(started + asked.unwrap_or(self.default_timeout).min(self.timeout_max)),
        }
    }

    /// When the answer has to begin. A stream may take its time, its request may not.
    fn head_deadline(&self, deadline: Option<Instant>, started: Instant) -> Option<Instant> {
        deadline.or(Some(started + self.timeout_max))
    }
}

/// A call on its way from the caller to the service.
struct Forward {
    shared: Arc<Shared>,
    route: Arc<Route>,
    caller: Arc<Member>,
    answers: CallerAnswers,
    trace: TraceContext,
    path: PathAndQuery,
    headers: HeaderMap,
    body: Incoming,
    deadline: Option<Instant>,
}

impl Forward {
    /// First the request, whole; only then a place among the calls, so that one that never comes keeps nobody out.
    async fn answer(self) -> Result<Response<HeldBody<AnswerBody>>, Status> {
        let Self { shared, route, caller, answers, trace, path, mut headers, body, deadline } = self;
        let overloaded = || Refusal::overloaded(OVERLOADED_RETRY_AFTER);
        let read = shared.limits.read;
        let encoding = Encoding::take(&mut headers)?;
        let Received { bytes, place: _bytes } = read_whole(body, read, &caller).await?;
        let expected = Expected { encoding, any_number: route.takes_stream, bytes_max: read.body_bytes };
        let body = plain(bytes, expected)?;
        let resource = if route.streams { Resource::Streams } else { Resource::Calls };
        let place = caller.take(resource, 1).ok_or_else(overloaded)?;
        let admitted = match route.streams {
            true => None,
            false => {
                let key = CallerKey { peer: caller.peer(), caller: caller.number() };
                Some(route.admission.enter(key, route.number).await.ok_or_else(overloaded)?)
            }
        };
        remove_foreign(&mut headers);
        shared.caller.write(&mut headers);
        write_trace(&trace, &mut headers);
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < SHORTEST_TIME {
                // Nobody waits for what would be done.
                return Err(Refusal::deadline_exceeded());
            }
            headers.insert(timeout::GRPC_TIMEOUT, timeout::header(left));
        }
        let outbound = Outbound {
            path,
            headers,
            body,
            // The head's deadline is kept around all of this.
            deadline: None,
            body_deadline: deadline,
            retry_safe: false,
        };
        let answer = route.upstream.call(outbound).await?;
        let answer = if route.streams { answers.stream(answer) } else { answers.whole(answer).await };
        drop(admitted);
        Ok(answer.map(|body| HeldBody::new(body, Some(place))))
    }
}

/// Removes what no caller may say, and what belongs to the caller's own connection.
fn remove_foreign(headers: &mut HeaderMap) {
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
