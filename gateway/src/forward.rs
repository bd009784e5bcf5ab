//! One call through the gateway.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use openorder_rpc::caller::{CallerHeaders, RESERVED_PREFIX, write_trace};
use openorder_rpc::server::{
    Call, CallFuture, CallMetrics, Connection, OVERLOADED_RETRY_AFTER, PerConnection, RpcService, is_grpc,
    unsupported_media_type,
};
use openorder_rpc::{Outbound, Refusal, UpstreamBody, timeout};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use tonic::Status;
use tonic::body::Body;

use crate::admission::CallerKey;
use crate::body::{HeldBody, ReadLimits, Received, read_whole};
use crate::routes::{Route, RouteTable};
use crate::shares::{Member, Resource, Shares};

/// Headers that mean one connection, not the call (RFC 9113, section 8.2.2), or that the next hop sets itself.
const HOP_HEADERS: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "host", "content-length"];

/// The gateway as a service of HTTP requests. Clones share everything.
#[derive(Clone)]
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    /// Who calls on this connection.
    caller: Arc<Member>,
    /// None until there is one.
    connection: Option<Connection>,
    /// Reflection, health, and "there is no such method".
    local: RpcService,
}

pub(crate) struct Shared {
    pub(crate) role: RoleTelemetry,
    pub(crate) routes: RouteTable,
    pub(crate) metrics: Arc<CallMetrics>,
    pub(crate) caller: CallerHeaders,
    pub(crate) limits: Limits,
    pub(crate) shares: Shares,
}

/// What the gateway lets through.
pub(crate) struct Limits {
    pub(crate) read: ReadLimits,
    pub(crate) default_timeout: Duration,
    pub(crate) timeout_max: Duration,
}

impl Gateway {
    pub(crate) fn new(shared: Shared, local: RpcService) -> Self {
        for path in shared.routes.paths() {
            shared.metrics.learn(path.trim_start_matches('/'));
        }
        let nobody = shared.shares.member(std::net::Ipv4Addr::UNSPECIFIED.into());
        Self { shared: Arc::new(shared), caller: nobody, connection: None, local }
    }

    /// Whose share a call counts against. Until callers sign in, a connection is a caller, and the address that it comes
    /// from a peer of many; whoever says more in a call's head will be found here.
    fn identify(&self, _: &Parts) -> &Arc<Member> {
        &self.caller
    }
}

impl PerConnection for Gateway {
    fn for_connection(&self, connection: &Connection) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            caller: self.shared.shares.member(connection.peer()),
            connection: Some(connection.clone()),
            local: self.local.for_connection(connection),
        }
    }
}

impl Service<Request<Incoming>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let Some(route) = self.shared.routes.find(request.uri().path()) else {
            return Box::pin(self.local.call(request));
        };
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let mut call = Call::start(&self.shared.role, &self.shared.metrics, &parts, started);
        if let Some(connection) = &self.connection {
            call.occupy(connection);
        }
        if !is_grpc(&parts) {
            return refuse(call, unsupported_media_type());
        }
        let limits = &self.shared.limits;
        let deadline = limits.deadline(route, &parts.headers, started);
        let forward = Forward {
            shared: Arc::clone(&self.shared),
            route: Arc::clone(route),
            caller: Arc::clone(self.identify(&parts)),
            trace: call.trace().clone(),
            path: parts.uri.into_parts().path_and_query.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
            headers: parts.headers,
            body,
            deadline,
        };
        // A stream may take its time, its request may not.
        let head_deadline = deadline.or(Some(started + limits.timeout_max));
        let answer = async move {
            Ok(match forward.answer().await {
                Ok(answer) => answer,
                Err(refusal) => refusal.into_http::<UpstreamBody>().map(|body| HeldBody::new(body, None)),
            })
        };
        Box::pin(CallFuture::running(call, answer, head_deadline))
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn refuse(call: Call, refusal: Response<Body>) -> Answer {
    Box::pin(CallFuture::<std::future::Ready<Result<Response<Body>, Infallible>>>::refused(call, refusal))
}

impl Limits {
    /// When the caller stops waiting: as it says, within the bound; else the default. A stream ends only when its
    /// caller says so.
    fn deadline(&self, route: &Route, headers: &HeaderMap, started: Instant) -> Option<Instant> {
        let asked = timeout::parse(headers);
        match route.streams {
            true => asked.and_then(|asked| started.checked_add(asked)),
            false => Some(started + asked.unwrap_or(self.default_timeout).min(self.timeout_max)),
        }
    }
}

/// A call on its way from the caller to the service.
struct Forward {
    shared: Arc<Shared>,
    route: Arc<Route>,
    caller: Arc<Member>,
    trace: TraceContext,
    path: http::uri::PathAndQuery,
    headers: HeaderMap,
    body: Incoming,
    deadline: Option<Instant>,
}

impl Forward {
    /// First the request, whole; only then a place among the calls, so that one that never comes keeps nobody out.
    async fn answer(self) -> Result<Response<HeldBody<UpstreamBody>>, Status> {
        let Self { shared, route, caller, trace, path, mut headers, body, deadline } = self;
        let overloaded = || Refusal::overloaded(OVERLOADED_RETRY_AFTER);
        let Received { bytes: body, place: _bytes } = read_whole(body, shared.limits.read, &caller).await?;
        let resource = if route.streams { Resource::Streams } else { Resource::Calls };
        let place = caller.take(resource, 1).ok_or_else(overloaded)?;
        let admitted = match route.streams {
            true => None,
            false => {
                let key = CallerKey { peer: caller.peer(), caller: caller.number() };
                Some(route.admission.enter(key).ok_or_else(overloaded)?)
            }
        };
        remove_foreign(&mut headers);
        shared.caller.write(&mut headers);
        write_trace(&trace, &mut headers);
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
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
