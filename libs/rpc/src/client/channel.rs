//! What generated clients take as their channel.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use http_body_util::BodyExt;
use openorder_telemetry::{RoleTelemetry, Span, SpanKind, TraceContext};
use tonic::Status;
use tonic::body::Body;

use crate::caller::{OutgoingCall, deadline_of, write_trace};
use crate::client::upstream::{Outbound, Resend, Upstream};
use crate::status::{Refusal, code_name, code_of_head};
use crate::timeout;

/// A channel to a service, for generated clients: `ProductServiceClient::new(channel.clone())`.
///
/// Requests made by [`crate::CallContext::request`] carry caller, trace and deadline on; each is a CLIENT span.
#[derive(Clone)]
pub struct UpstreamChannel {
    role: RoleTelemetry,
    upstream: Arc<Upstream>,
}

impl UpstreamChannel {
    /// Calls of this role to that upstream.
    #[must_use]
    pub fn new(role: RoleTelemetry, upstream: Arc<Upstream>) -> Self {
        Self { role, upstream }
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let call = parts.extensions.remove::<OutgoingCall>();
        let (trace, asked, retry_safe) = match &call {
            Some(call) => (&call.trace, call.deadline, call.retry_safe),
            None => (&TraceContext::NONE, None, false),
        };
        let mut span = self.span(parts.uri.path(), trace);
        let now = Instant::now();
        let deadline =
            earlier(asked, deadline_of(&parts.headers, now)).unwrap_or(now + self.upstream.default_timeout());
        let left = deadline.saturating_duration_since(now);
        parts.headers.insert(timeout::GRPC_TIMEOUT, timeout::header(left));
        write_trace(span.context(), &mut parts.headers);
        let outbound = Outbound {
            path: parts.uri.into_parts().path_and_query.ok_or_else(Refusal::internal)?,
            headers: parts.headers,
            body,
            deadline: Some(deadline),
            body_deadline: Some(deadline),
            resend: if retry_safe { Resend::Safe } else { Resend::Unsent },
            batchable: false,
        };
        let outcome = self.upstream.call(outbound).await;
        if span.is_recording() {
            let code = match &outcome {
                Ok(answer) => code_of_head(answer.headers()),
                Err(status) => Some(status.code()),
            };
            let failed = code.map(code_name).filter(|name| *name != "OK");
            span.set("rpc.response.status_code", failed.unwrap_or("OK"));
            if let Some(name) = failed {
                span.fail(name, "");
            }
        }
        outcome.map(|answer| answer.map(Body::new))
    }

    fn span(&self, path: &str, parent: &TraceContext) -> Span {
        let name = path.trim_start_matches('/');
        let mut span = self.role.start(SpanKind::Client, || name.to_owned().into(), parent);
        if span.is_recording() {
            span.set("rpc.system.name", "grpc");
            span.set("rpc.method", name.to_owned());
            span.set("server.address", self.upstream.authority().host().to_owned());
            span.set("server.port", i64::from(self.upstream.authority().port_u16().unwrap_or(80)));
        }
        span
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl tower::Service<Request<Body>> for UpstreamChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}
