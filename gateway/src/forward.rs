//! One call through the gateway.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use openorder_rpc::caller::{CallerHeaders, RESERVED_PREFIX, write_trace};
use openorder_rpc::server::{
    Call, CallFuture, CallMetrics, OVERLOADED_RETRY_AFTER, PerConnection, RpcService, is_grpc, unsupported_media_type,
};
use openorder_rpc::{Outbound, Refusal, UpstreamBody, timeout};
use openorder_telemetry::{RoleTelemetry, TraceContext};
use tokio::sync::Semaphore;
use tonic::body::Body;

use crate::admission::CallerKey;
use crate::body::read_whole;
use crate::routes::{Route, RouteTable};

/// Headers that mean one connection, not the call (RFC 9113, section 8.2.2), or that the next hop sets itself.
const HOP_HEADERS: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "host", "content-length"];

/// The gateway as a service of HTTP requests. Clones share everything.
#[derive(Clone)]
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    /// Who calls on this connection: until callers sign in, a connection is a caller.
    caller: CallerKey,
    /// Reflection, health, and "there is no such method".
    local: RpcService,
}

pub(crate) struct Shared {
    pub(crate) role: RoleTelemetry,
    pub(crate) routes: RouteTable,
    pub(crate) metrics: Arc<CallMetrics>,
    pub(crate) caller: CallerHeaders,
    pub(crate) limits: Limits,
    /// Connections so far.
    pub(crate) connections: AtomicU64,
}

/// What the gateway lets through.
pub(crate) struct Limits {
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) request_body_bytes: usize,
    pub(crate) default_timeout: Duration,
    pub(crate) timeout_max: Duration,
}

impl Gateway {
    pub(crate) fn new(shared: Shared, local: RpcService) -> Self {
        for path in shared.routes.paths() {
            shared.metrics.learn(path.trim_start_matches('/'));
        }
        Self { shared: Arc::new(shared), caller: 0, local }
    }
}

impl PerConnection for Gateway {
    fn for_connection(&self, peer: SocketAddr) -> Self {
        let caller = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), caller, local: self.local.for_connection(peer) }
    }
}

impl Service<Request<Incoming>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Some(route) = self.shared.routes.find(request.uri().path()) else {
            return Box::pin(self.local.call(request));
        };
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let mut call = Call::start(&self.shared.role, &self.shared.metrics, &parts, started);
        if !is_grpc(&parts) {
            return refuse(call, unsupported_media_type());
        }
        let limits = &self.shared.limits;
        let places = if route.streams { &limits.streams } else { &limits.in_flight };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            return refuse(call, Refusal::overloaded(OVERLOADED_RETRY_AFTER).into_http());
        };
        call.hold(place);
        let admitted = if route.streams { Some(None) } else { route.admission.enter(self.caller).map(Some) };
        let Some(admitted) = admitted else {
            return refuse(call, Refusal::overloaded(OVERLOADED_RETRY_AFTER).into_http());
        };
        let deadline = limits.deadline(route, &parts.headers, started);
        let forward = Forward {
            trace: call.trace().clone(),
            path: parts.uri.into_parts().path_and_query.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
            headers: parts.headers,
            body,
            deadline,
        };
        // A stream may take its time, its request may not.
        let head_deadline = deadline.or(Some(started + limits.timeout_max));
        let upstream = Arc::clone(&route.upstream);
        let shared = Arc::clone(&self.shared);
        let answer = async move {
            let outbound = match forward.outbound(&shared).await {
                Ok(outbound) => outbound,
                Err(refusal) => return Ok(refusal.into_http::<UpstreamBody>()),
            };
            let answer = upstream.call(outbound).await.unwrap_or_else(|status| status.into_http());
            drop(admitted);
            Ok(answer)
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
    trace: TraceContext,
    path: http::uri::PathAndQuery,
    headers: HeaderMap,
    body: Incoming,
    deadline: Option<Instant>,
}

impl Forward {
    async fn outbound(self, shared: &Shared) -> Result<Outbound, tonic::Status> {
        let mut headers = self.headers;
        let body = read_whole(self.body, shared.limits.request_body_bytes).await?;
        remove_foreign(&mut headers);
        shared.caller.write(&mut headers);
        write_trace(&self.trace, &mut headers);
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            headers.insert(timeout::GRPC_TIMEOUT, timeout::header(left));
        }
        Ok(Outbound {
            path: self.path,
            headers,
            body,
            // The head's deadline is kept around all of this.
            deadline: None,
            body_deadline: self.deadline,
            retry_safe: false,
        })
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
