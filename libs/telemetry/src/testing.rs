//! Spans that a test can look at.

use std::future::{Future, ready};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
pub use opentelemetry_sdk::trace::SpanData;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanExporter};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::layer::span_layer;
use crate::span::{Recorder, RoleTelemetry};

/// The spans that ended so far.
#[derive(Clone, Debug, Default)]
pub struct RecordedSpans(Arc<Mutex<Vec<SpanData>>>);

impl RecordedSpans {
    /// All spans that ended, in the order of their end.
    #[must_use]
    pub fn all(&self) -> Vec<SpanData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SpanExporter for RecordedSpans {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        ready(Ok(()))
    }
}

/// Telemetry of a role that records every span into memory; `sampling_ratio` is that of new traces.
///
/// The first of a process also sets up the layer that exports the spans of [`RoleTelemetry::trace`], unless the process
/// has a subscriber of its own.
#[must_use]
pub fn recording(role: &'static str, sampling_ratio: f64) -> (RoleTelemetry, RecordedSpans) {
    let _ = tracing_subscriber::registry().with(layer()).try_init();
    let spans = RecordedSpans::default();
    let provider =
        SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_simple_exporter(spans.clone()).build();
    let recorder = Recorder { tracer: provider.tracer("openorder"), sampling_ratio };
    (RoleTelemetry::new(role, Some(recorder)), spans)
}

/// Exports the spans of [`RoleTelemetry::trace`], in a subscriber of the test's own.
pub fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    span_layer()
}
