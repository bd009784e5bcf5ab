//! An outage of a runner: one span from its first failure until it works again, with its warnings and its end.

use std::fmt::Display;

use openorder_telemetry::{RoleTelemetry, TraceContext, Traced, work_span};

/// Failures from one warning to the next.
const WARN_EVERY: u32 = 20;

/// The failures in a row of a runner that goes on trying.
pub(crate) struct Outage {
    telemetry: RoleTelemetry,
    name: &'static str,
    text: &'static str,
    failures: u32,
    work: Option<Traced>,
}

impl Outage {
    /// None yet. `name` is the span's, `text` the warning's.
    pub(crate) fn new(telemetry: &RoleTelemetry, name: &'static str, text: &'static str) -> Self {
        Self { telemetry: telemetry.clone(), name, text, failures: 0, work: None }
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Records another failure, and logs it unless others in a row were logged just before.
    pub(crate) fn record(&mut self, error: &dyn Display) {
        self.failures = self.failures.saturating_add(1);
        let work = self.work.get_or_insert_with(|| {
            let work = self.telemetry.trace(work_span!("outage", otel.name = self.name), &TraceContext::NONE);
            work.fail("outage", self.text);
            work
        });
        let (failures, text) = (self.failures, self.text);
        if failures == 1 || failures.is_multiple_of(WARN_EVERY) {
            work.in_scope(|| tracing::warn!(%error, failures, "{text}"));
        }
    }

    /// The runner works: an outage ends here.
    pub(crate) fn end(&mut self) {
        let failures = std::mem::take(&mut self.failures);
        if let Some(work) = self.work.take() {
            // Also the end of the span's time.
            work.in_scope(|| tracing::info!(failures, "{} is over", self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use openorder_telemetry::testing::recording;

    use super::*;

    #[test]
    fn an_outage_is_one_span_with_some_warnings_however_often_it_is_tried() {
        let (telemetry, spans) = recording("ledger", 0.0);
        let mut outage = Outage::new(&telemetry, "relay outage", "events wait");
        outage.end();
        for _ in 0..45 {
            outage.record(&"refused");
        }
        assert_eq!(outage.failures(), 45);
        assert!(spans.all().is_empty(), "it is not over");
        outage.end();
        outage.end();
        let all = spans.all();
        assert_eq!(all.len(), 1, "recorded although its trace is not sampled: {all:?}");
        assert_eq!((all[0].name.as_ref(), all[0].events.len()), ("relay outage", 4));
        assert!(format!("{:?}", all[0].status).contains("events wait"));
        assert_eq!(outage.failures(), 0);
    }
}
