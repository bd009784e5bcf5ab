//! The routes of a service, with all that surrounds each call.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use openorder_telemetry::RoleTelemetry;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use crate::batch::{BatchMetrics, EXCHANGE_CALLS};
use crate::caller::{ServerCall, deadline_of};
use crate::server::batch;
use crate::server::call::{Call, CallFuture};
use crate::server::connections::Connection;
use crate::server::limited::LimitedBody;
use crate::server::listen::PerConnection;
use crate::server::media::refuse_other_protocols;
use crate::server::metrics::CallMetrics;
use crate::settings::{BatchSettings, IncomingTrace, RpcServerSettings};
use crate::status::{Refusal, rejection};

/// When a caller that was refused for load may come again.
pub const OVERLOADED_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Whether a service is healthy.
pub const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
/// Pause between two looks whether calls are in flight.
const IDLE_PAUSE: Duration = Duration::from_millis(10);

/// The routes of a service with all that surrounds them. Clones share everything.
#[derive(Clone)]
pub struct RpcService {
    routes: Routes,
    shared: Arc<Shared>,
    /// The connection that calls come over; none within the process.
    connection: Option<Connection>,
}

struct Shared {
    role: RoleTelemetry,
    metrics: Arc<CallMetrics>,
    in_flight: Arc<Semaphore>,
    in_flight_max: usize,
    health_checks: Arc<Semaphore>,
    request_body_limit_bytes: usize,
    default_timeout: Duration,
    /// None where each call has to come by itself.
    batch: Option<(BatchSettings, BatchMetrics)>,
}

impl RpcService {
    /// Surrounds these routes; their methods are measured under these names.
    #[must_use]
    pub fn new(role: RoleTelemetry, settings: &RpcServerSettings, routes: Routes, metrics: CallMetrics) -> Self {
        let shared = Shared {
            role,
            metrics: Arc::new(metrics),
            in_flight: Arc::new(Semaphore::new(settings.in_flight_requests_max)),
            in_flight_max: settings.in_flight_requests_max,
            health_checks: Arc::new(Semaphore::new(settings.health_checks_max)),
            request_body_limit_bytes: settings.request_body_limit_bytes,
            default_timeout: Duration::from_millis(settings.default_timeout_ms),
            batch: settings.batch.enabled.then(|| (settings.batch.clone(), BatchMetrics::new("answer"))),
        };
        Self { routes: routes.prepare(), shared: Arc::new(shared), connection: None }
    }

    /// Answers one call.
    pub(crate) fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let started = Instant::now();
        let shared = &*self.shared;
        let (mut parts, body) = request.into_parts();
        // Who calls a service is one of ours: the gateway, or another service.
        let mut call = Call::start(&shared.role, &shared.metrics, &parts, started, IncomingTrace::Trust);
        if let Some(connection) = &self.connection {
            call.occupy(connection);
            if let Err(rejected) = connection.admit(&mut parts.headers) {
                return CallFuture::refused(call, rejection(rejected).into_http());
            }
        }
        if let Some(refusal) = refuse_other_protocols(&parts) {
            return CallFuture::refused(call, refusal);
        }
        // A service that is busy is healthy: who asks is not refused together with the others.
        let places = if parts.uri.path() == HEALTH_CHECK { &shared.health_checks } else { &shared.in_flight };
        let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
            return CallFuture::refused(call, Refusal::overloaded(OVERLOADED_RETRY_AFTER).into_http());
        };
        call.hold(permit);
        let deadline = deadline_of(&parts.headers, started).unwrap_or(started + shared.default_timeout);
        let trace = call.trace().clone();
        parts.extensions.insert(ServerCall { trace, deadline: Some(deadline) });
        let body = LimitedBody::new(body, shared.request_body_limit_bytes);
        let inner = self.routes.clone().call(Request::from_parts(parts, Body::new(body)));
        CallFuture::running(call, inner, Some(deadline))
    }

    /// Whether both are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits until no call is in flight.
    pub(crate) async fn idle(&self) {
        while self.shared.in_flight.available_permits() < self.shared.in_flight_max {
            tokio::time::sleep(IDLE_PAUSE).await;
        }
    }
}

/// The answer of a service to come.
pub(crate) type Answer = CallFuture<<Routes as Service<Request<Body>>>::Future>;

impl PerConnection for RpcService {
    fn for_connection(&self, connection: &Connection) -> Self {
        Self { connection: Some(connection.clone()), ..self.clone() }
    }
}

impl hyper::service::Service<Request<Incoming>> for RpcService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<std::future::Ready<Result<Response<Body>, Infallible>>, Answer>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if request.uri().path() == EXCHANGE_CALLS
            && let (Some(connection), Some((settings, metrics))) = (&self.connection, &self.shared.batch)
        {
            // No call, but many: each of them has its span, its measurement and its place.
            let exchange = batch::exchange(self.clone(), connection, settings, metrics, request);
            return Either::Left(std::future::ready(Ok(exchange)));
        }
        Either::Right(RpcService::answer(self, request))
    }
}
