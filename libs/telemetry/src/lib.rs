//! Traces, logs and metrics of every role of OpenOrder.
//!
//! Reading guide:
//!
//! * [`TraceContext`] (`context.rs`) is what travels: in gRPC metadata, in Kafka headers, in the event log.
//! * [`RoleTelemetry`] and [`Span`] (`span.rs`) make spans. Hot paths use nothing else: the sampled flag of the
//!   parent is tested before anything is built, so the span of an unsampled parent costs a copy of 64 bytes.
//! * [`work_span!`], [`RoleTelemetry::trace`] and [`Traced`] (`traced.rs`) are for all work off the hot path: `tracing`
//!   spans, whose events are the lines that are logged inside. `layer.rs` exports them by their role's
//!   tracer, as the spans of `role_span.rs`.
//! * [`RoleTelemetry::scope`] (`scope.rs`) tells log lines whose they are.
//! * [`init`] and [`Telemetry`] (`setup.rs`) put it together: one tracer provider a role, one meter provider and
//!   one log stream a process.
//! * `logs/` turns `tracing` events into lines, and writes them from a thread of its own.
//!
//! Semantic conventions: OpenTelemetry 1.44. Formats: W3C Trace Context, Prometheus text.

mod context;
mod exporter;
mod gauge;
mod layer;
mod logs;
mod metrics;
mod role_span;
mod scope;
mod settings;
mod setup;
mod span;
pub mod testing;
mod traced;

pub use context::TraceContext;
pub use gauge::{OwnedGauge, Series};
pub use layer::SPAN_TARGET;
pub use metrics::meter;
pub use opentelemetry::trace::SpanKind;
pub use scope::{Scoped, current_trace_id};
pub use settings::{LogFormat, TelemetrySettings};
pub use setup::{Telemetry, TelemetryError, init};
pub use span::{RoleTelemetry, Span};
pub use traced::{Traced, fail_work};
#[doc(hidden)]
pub use tracing as __tracing;

/// Values of attributes, and the instruments of [`meter`]: the part of the OpenTelemetry API that users of this crate need.
pub mod api {
    pub use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};
    pub use opentelemetry::{KeyValue, Value};
}
