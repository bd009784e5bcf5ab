//! Exports `tracing` spans of work off the hot path, each by the tracer of its role.
//!
//! A process has one layer, and may run several roles with a tracer provider each. Which role a span belongs to, and
//! whether its trace is recorded, stands in the OpenTelemetry context that it is given as its parent (see
//! `traced.rs`); spans within it inherit both. A span that was given none records nothing.

use opentelemetry::Context;
use opentelemetry::trace::{SpanBuilder, TraceContextExt, Tracer};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context as LayerContext, Filter};
use tracing_subscriber::registry::LookupSpan;

use crate::context::TraceContext;
use crate::role_span::RoleSpan;
use crate::span::RoleTelemetry;

/// The target of exported spans: spans of libraries, which are written for other eyes, are not exported.
pub const SPAN_TARGET: &str = "openorder.span";

/// The layer. It goes right upon the registry: only then are the interests of log lines cached as they are without it.
pub(crate) fn span_layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    tracing_opentelemetry::layer()
        // What an event has in the log it has in Jaeger, and nothing else.
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Contexts are handed on as `TraceContext`; OpenTelemetry's own stack is read by nobody.
        .with_context_activation(false)
        .with_error_records_to_exceptions(false)
        .with_tracer(RoleTracer)
        .with_filter(OwnSpans)
}

/// Lets our own spans through, and log lines down to INFO.
///
/// Decided once for each call site: `tracing` caches its interest as it does without the layer, and a log line of the
/// hot path costs a look for a span around it, which there is none. To take WARN and ERROR alone would cost more: all
/// filters are asked at each line that one layer wants and another does not.
struct OwnSpans;

fn is_ours(metadata: &Metadata<'_>) -> bool {
    match metadata.is_event() {
        true => *metadata.level() <= Level::INFO,
        false => metadata.target() == SPAN_TARGET,
    }
}

impl<S> Filter<S> for OwnSpans {
    fn enabled(&self, metadata: &Metadata<'_>, _: &LayerContext<'_, S>) -> bool {
        is_ours(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_ours(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }
}

/// Builds each span with the tracer of the role that stands in its parent's context.
struct RoleTracer;

impl Tracer for RoleTracer {
    type Span = RoleSpan;

    fn build_with_context(&self, builder: SpanBuilder, parent: &Context) -> RoleSpan {
        let above = TraceContext::from(parent.span().span_context().clone());
        match parent.get::<RoleTelemetry>().and_then(RoleTelemetry::recorder) {
            None => RoleSpan::unrecorded(above),
            Some(recorder) if recorder.samples(&above) => RoleSpan::recorded(recorder, builder, parent),
            Some(recorder) => RoleSpan::kept(recorder, builder, above),
        }
    }
}
