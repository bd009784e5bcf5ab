//! One incoming call, from its head to its last byte.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Response};
use openorder_telemetry::{RoleTelemetry, Span, SpanKind, TraceContext};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::caller::trace_of_headers;
use crate::server::connections::{Connection, InUse};
use crate::server::metrics::{CallMetrics, MethodMetrics, OTHER};
use crate::server::observed::{ObservedBody, adopt_foreign_status};
use crate::settings::IncomingTrace;
use crate::status::{Refusal, code_name};

/// So many characters of a method's name that is not in the contract are kept in its span.
const MADE_UP_NAME_MAX: usize = 128;

/// In the extensions of an answer's head: the answer succeeded and is there as a whole, and nothing in it says so as gRPC
/// does.
#[derive(Clone, Copy, Debug)]
pub struct Complete;

/// The span, the measurement and the place of a call. Dropped before it is finished, the call was cancelled.
pub struct Call {
    role: RoleTelemetry,
    metrics: Arc<CallMetrics>,
    method: Arc<MethodMetrics>,
    span: Option<Span>,
    started: Instant,
    _permit: Option<OwnedSemaphorePermit>,
    _in_use: Option<InUse>,
}

impl Call {
    /// Begins a call: a SERVER span inside the caller's own where that is trusted, else the root of a new trace.
    pub fn start(
        role: &RoleTelemetry,
        metrics: &Arc<CallMetrics>,
        parts: &http::request::Parts,
        started: Instant,
        incoming: IncomingTrace,
    ) -> Self {
        Self::start_as(parts.uri.path().trim_start_matches('/'), role, metrics, &parts.headers, started, incoming)
    }

    /// As [`Self::start`], for a call whose path is not its method's: by the method's name, `package.Service/Method`.
    pub fn start_as(
        name: &str,
        role: &RoleTelemetry,
        metrics: &Arc<CallMetrics>,
        headers: &HeaderMap,
        started: Instant,
        incoming: IncomingTrace,
    ) -> Self {
        let method = Arc::clone(metrics.method(name));
        let is_other = metrics.is_other(&method);
        let known = if is_other { OTHER } else { name };
        let sent = match incoming {
            IncomingTrace::Ignore => TraceContext::NONE,
            IncomingTrace::Trust | IncomingTrace::Link => trace_of_headers(headers),
        };
        let parent = if incoming == IncomingTrace::Trust { &sent } else { &TraceContext::NONE };
        let named = || known.to_owned().into();
        let mut span = if is_upkeep(known) {
            role.start_within(SpanKind::Server, named, parent)
        } else {
            role.start(SpanKind::Server, named, parent)
        };
        if span.is_recording() {
            if incoming == IncomingTrace::Link {
                span.link(&sent);
            }
            span.set("rpc.system.name", "grpc");
            span.set("rpc.method", known.to_owned());
            if is_other {
                span.set("rpc.method_original", name.chars().take(MADE_UP_NAME_MAX).collect::<String>());
            }
        }
        Self {
            role: role.clone(),
            metrics: Arc::clone(metrics),
            method,
            span: Some(span),
            started,
            _permit: None,
            _in_use: None,
        }
    }

    /// Keeps the call's place among those in flight until its end.
    pub fn hold(&mut self, permit: OwnedSemaphorePermit) {
        self._permit = Some(permit);
    }

    /// Keeps the connection that the call came over from being idle until the call's end.
    pub fn occupy(&mut self, connection: &Connection) {
        self._in_use = Some(connection.in_use());
    }

    /// The call's span: parent of all that is done for it.
    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        self.span.as_ref().map_or(&TraceContext::NONE, Span::context)
    }

    /// Runs work of this call: its log lines carry role and trace.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        self.role.in_scope(self.trace(), work)
    }

    /// Ends the call; the first end counts.
    pub fn finish(&mut self, code: Code) {
        let Some(mut span) = self.span.take() else { return };
        self.metrics.record(&self.method, code, self.started.elapsed());
        if span.is_recording() {
            span.set("rpc.response.status_code", code_name(code));
            if is_server_error(code) {
                span.fail(code_name(code), "");
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.finish(Code::Cancelled);
    }
}

/// The codes that count as the server's failure (OpenTelemetry's conventions for gRPC server spans).
fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

pin_project_lite::pin_project! {
    /// The answer of a call to come. It keeps the deadline and turns a panic into an answer.
    pub struct CallFuture<F> {
        #[pin]
        inner: Option<F>,
        // Made when the first poll did not bring the answer: a timer costs more than many a handler.
        #[pin]
        timer: Option<Sleep>,
        deadline: Option<Instant>,
        refusal: Option<Response<Body>>,
        call: Option<Call>,
    }
}

impl<F> CallFuture<F> {
    /// A call that is worked on; its head must come before the deadline.
    pub fn running(call: Call, inner: F, deadline: Option<Instant>) -> Self {
        Self { inner: Some(inner), timer: None, deadline, refusal: None, call: Some(call) }
    }

    /// A call that nobody works on.
    pub fn refused(call: Call, refusal: Response<Body>) -> Self {
        Self { inner: None, timer: None, deadline: None, refusal: Some(refusal), call: Some(call) }
    }
}

impl<F, B> Future for CallFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: http_body::Body<Data = Bytes, Error = Status> + Send + Unpin + 'static,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(call) = this.call.as_ref() else {
            // Polled after its end, which no executor does.
            return Poll::Pending;
        };
        let polled = call.in_scope(|| {
            let inner = this.inner.as_mut().as_pin_mut()?;
            Some(catch_unwind(AssertUnwindSafe(|| inner.poll(context))).map_err(|panic| panicked(panic.as_ref())))
        });
        let refusal = match polled {
            Some(Ok(Poll::Ready(Ok(answer)))) => {
                this.inner.set(None);
                return Poll::Ready(Ok(match this.call.take() {
                    Some(call) => observed(answer, call),
                    None => answer.map(Body::new),
                }));
            }
            Some(Ok(Poll::Pending)) => {
                let Some(deadline) = *this.deadline else { return Poll::Pending };
                if this.timer.is_none() {
                    this.timer.set(Some(tokio::time::sleep_until(deadline.into())));
                }
                match this.timer.as_mut().as_pin_mut().map(|timer| timer.poll(context)) {
                    Some(Poll::Ready(())) => Refusal::deadline_exceeded().into_http(),
                    _ => return Poll::Pending,
                }
            }
            Some(Err(panicked)) => panicked,
            None => this.refusal.take().unwrap_or_default(),
        };
        // The work ends here, whatever still runs in it.
        this.inner.set(None);
        Poll::Ready(Ok(match this.call.take() {
            Some(call) => observed(refusal, call),
            None => refusal,
        }))
    }
}

/// The answer, with its call ended where it ends: in its head, or with its body.
fn observed<B>(answer: Response<B>, mut call: Call) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Send + Unpin + 'static,
{
    let (mut head, body) = answer.into_parts();
    if head.status != http::StatusCode::OK {
        call.finish(Code::Unknown);
        return Response::from_parts(head, Body::new(body));
    }
    if head.extensions.remove::<Complete>().is_some() {
        call.finish(Code::Ok);
        // The call's connection is in use until the body is gone.
        return Response::from_parts(head, Body::new(ObservedBody::new(body, call)));
    }
    if !head.headers.contains_key("grpc-status") {
        return Response::from_parts(head, Body::new(ObservedBody::new(body, call)));
    }
    let code = call.in_scope(|| adopt_foreign_status(&mut head.headers));
    call.finish(code);
    Response::from_parts(head, Body::new(body))
}

fn panicked(panic: &(dyn Any + Send)) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("of unknown kind"), "a handler panicked");
    Refusal::internal().into_http()
}

/// Health checks and reflection come all the time, and would fill the search for traces.
fn is_upkeep(method: &str) -> bool {
    method.starts_with("grpc.health.") || method.starts_with("grpc.reflection.")
}
