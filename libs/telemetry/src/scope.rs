//! Whose log line is this? A scope around a future answers for every line that is written while it runs.
//!
//! A scope is three words in a thread-local cell, exchanged on each poll. OpenTelemetry's own context would do the
//! same with two allocations a call and a stack behind a `RefCell`; nothing here reads that one.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use opentelemetry::{SpanId, TraceId};

use crate::context::TraceContext;
use crate::span::RoleTelemetry;

thread_local! {
    static CURRENT: Cell<Option<LogScope>> = const { Cell::new(None) };
}

/// Role and trace of the log lines written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogScope {
    pub(crate) role: &'static str,
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
}

impl LogScope {
    pub(crate) fn current() -> Option<Self> {
        CURRENT.get()
    }

    fn of(role: &RoleTelemetry, context: &TraceContext) -> Self {
        let span_context = context.span_context();
        Self { role: role.role(), trace_id: span_context.trace_id(), span_id: span_context.span_id() }
    }

    fn enter(self) -> Entered {
        Entered(CURRENT.replace(Some(self)))
    }
}

/// The trace id of the scope around this call, as 32 hex characters: the reference that a caller of a failed
/// request is given, and that finds its log lines.
#[must_use]
pub fn current_trace_id() -> Option<String> {
    LogScope::current().filter(|scope| scope.trace_id != TraceId::INVALID).map(|scope| scope.trace_id.to_string())
}

/// Restores the scope around this one, also when the work panics.
struct Entered(Option<LogScope>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl RoleTelemetry {
    /// Runs a future; log lines written inside carry this role, and the trace and span id of `context` if it has any.
    ///
    /// The scope does not follow into spawned tasks: give those one of their own.
    pub fn scope<F: Future>(&self, context: &TraceContext, future: F) -> Scoped<F> {
        Scoped { future, scope: LogScope::of(self, context) }
    }

    /// Like [`Self::scope`], for a function that does not wait.
    pub fn in_scope<T>(&self, context: &TraceContext, work: impl FnOnce() -> T) -> T {
        let _entered = LogScope::of(self, context).enter();
        work()
    }
}

pin_project_lite::pin_project! {
    /// A future inside a log scope, made by [`RoleTelemetry::scope`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        #[pin]
        future: F,
        scope: LogScope,
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.scope.enter();
        this.future.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scope_covers_its_future_and_nothing_else() {
        let outer = RoleTelemetry::disabled("order");
        let inner = RoleTelemetry::disabled("payment");
        let context = TraceContext::unsampled_root();
        let roles = || LogScope::current().map(|scope| scope.role);
        let seen = outer
            .scope(&context, async {
                let before = roles();
                let within = inner.scope(&TraceContext::NONE, async { roles() }).await;
                let trace = LogScope::current().map(|scope| scope.trace_id.to_string());
                (before, within, roles(), trace)
            })
            .await;
        assert_eq!(seen, (Some("order"), Some("payment"), Some("order"), Some(context.trace_id())));
        assert_eq!(roles(), None);
    }

    #[test]
    fn a_panic_leaves_no_scope_behind() {
        let role = RoleTelemetry::disabled("order");
        let work = || role.in_scope(&TraceContext::NONE, || std::panic::resume_unwind(Box::new("boom")));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        assert!(result.is_err());
        assert_eq!(LogScope::current(), None);
    }
}
