//! Work off the hot path: a `tracing` span that has its place in a trace.

use std::future::Future;

use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, Value};
use tracing::instrument::{Instrument, Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::context::TraceContext;
use crate::scope::Scoped;
use crate::span::RoleTelemetry;

/// Makes the span of a piece of work for [`RoleTelemetry::trace`]: its name, and fields as `tracing` writes them.
///
/// The fields `otel.name` and `otel.kind` (`client`, `producer`, …) say name and kind where they differ. Fields are
/// attributes of the exported span: no secrets, no personal data.
#[macro_export]
macro_rules! work_span {
    ($name:literal $(, $($fields:tt)*)?) => {
        $crate::__tracing::info_span!(target: $crate::SPAN_TARGET, parent: None, $name $(, $($fields)*)?)
    };
}

/// A piece of work with its span, made by [`RoleTelemetry::trace`]. The span ends with the last that holds it: this
/// and the futures of [`Self::run`].
#[derive(Clone, Debug)]
pub struct Traced {
    role: RoleTelemetry,
    span: tracing::Span,
    context: TraceContext,
}

impl RoleTelemetry {
    /// Gives the span of [`work_span!`] its role and its place in a trace, and starts it.
    ///
    /// * A sampled parent: a recorded child.
    /// * An unsampled parent: kept in memory, and recorded if the work fails.
    /// * No valid parent: the root of a new trace, for which the sampling ratio decides between the two.
    ///
    /// Lines that are logged inside, down to INFO, are its events; an error, or [`Traced::fail`], marks it as failed.
    #[must_use]
    pub fn trace(&self, span: tracing::Span, parent: &TraceContext) -> Traced {
        let around = Context::new().with_value(self.clone());
        let around = match parent.is_valid() {
            true => around.with_remote_span_context(parent.span_context().clone()),
            false => around,
        };
        // A span without a layer, or one that has started, stays as it is: then the parent is handed on.
        let joined = span.set_parent(around).is_ok();
        let context = match joined {
            true => TraceContext::from(span.context().span().span_context().clone()),
            false => parent.clone(),
        };
        Traced { role: self.clone(), span, context: context.or_unsampled_root() }
    }
}

impl Traced {
    /// What to hand on: to callees, into commands, into the event log.
    #[must_use]
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Runs a future inside: what it logs has the role, the trace and the span.
    pub fn run<F: Future>(&self, future: F) -> Instrumented<Scoped<F>> {
        self.role.scope(&self.context, future).instrument(self.span.clone())
    }

    /// Like [`Self::run`], for a function that does not wait.
    pub fn in_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        self.span.in_scope(|| self.role.in_scope(&self.context, work))
    }

    /// Sets an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(key, value);
    }

    /// Links to another span.
    pub fn link(&self, other: &TraceContext) {
        self.span.add_link(other.span_context().clone());
    }

    /// Marks the work as failed, so that it is recorded whatever its parent and the sampling ratio say. `error_type` is
    /// of low cardinality (`error.type`); `description` holds no secret.
    pub fn fail(&self, error_type: &str, description: &str) {
        fail(&self.span, error_type, description);
    }
}

/// Marks the work that this is done within as failed, as [`Traced::fail`] does; outside of any, it does nothing.
pub fn fail_work(error_type: &str, description: &str) {
    fail(&tracing::Span::current(), error_type, description);
}

fn fail(span: &tracing::Span, error_type: &str, description: &str) {
    span.set_attribute("error.type", error_type.to_owned());
    span.set_status(Status::error(description.to_owned()));
}
