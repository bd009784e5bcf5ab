//! Exports spans, and says in one line, not in thousands, that a collector is away.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// How often a collector that stays away is mentioned.
const REMINDER: Duration = Duration::from_secs(30);

/// An exporter whose failures are told once, and again from time to time.
#[derive(Debug)]
pub(crate) struct WatchedExporter<E> {
    inner: E,
    role: &'static str,
    outage: Mutex<Option<Outage>>,
}

#[derive(Debug)]
struct Outage {
    logged: Instant,
    lost_spans: usize,
}

impl<E> WatchedExporter<E> {
    pub(crate) fn new(inner: E, role: &'static str) -> Self {
        Self { inner, role, outage: Mutex::default() }
    }

    fn note(&self, spans: usize, result: &OTelSdkResult) {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, &mut *outage) {
            (Ok(()), None) => {}
            (Ok(()), Some(ended)) => {
                tracing::info!(role = self.role, lost_spans = ended.lost_spans, "spans are exported again");
                *outage = None;
            }
            (Err(error), None) => {
                tracing::warn!(role = self.role, lost_spans = spans, %error, "spans cannot be exported");
                *outage = Some(Outage { logged: Instant::now(), lost_spans: spans });
            }
            (Err(error), Some(going_on)) => {
                going_on.lost_spans += spans;
                if going_on.logged.elapsed() >= REMINDER {
                    going_on.logged = Instant::now();
                    let lost_spans = going_on.lost_spans;
                    tracing::warn!(role = self.role, lost_spans, %error, "spans still cannot be exported");
                }
            }
        }
    }
}

impl<E: SpanExporter> SpanExporter for WatchedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.note(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fmt::Debug;
    use std::sync::Arc;

    use opentelemetry_sdk::error::OTelSdkError;
    use tracing::field::{Field, Visit};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    /// All fields of all events, an event a line.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0 += &format!("{}={value:?} ", field.name());
        }
    }

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }

    #[test]
    fn an_outage_is_told_once_and_its_end_with_the_sum() {
        let logged = Lines::default();
        let exporter = WatchedExporter::new((), "order");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logged.clone()), || {
            exporter.note(5, &Ok(()));
            for _ in 0..100 {
                exporter.note(2, &Err(OTelSdkError::InternalFailure("refused".to_owned())));
            }
            exporter.note(5, &Ok(()));
            exporter.note(5, &Ok(()));
        });
        let lines = logged.0.lock().unwrap().clone();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("cannot be exported") && lines[0].contains("refused"), "{lines:?}");
        assert!(lines[1].contains("exported again") && lines[1].contains("lost_spans=200"), "{lines:?}");
    }
}
