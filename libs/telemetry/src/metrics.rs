//! One meter provider a process, read by Prometheus.

use opentelemetry::global;
use opentelemetry::metrics::Meter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};

use crate::setup::TelemetryError;

/// Buckets of every histogram in seconds: half a millisecond to half a minute.
const SECONDS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The meter of this process.
///
/// Instruments made before [`crate::init`] stay silent: make them when a service is built, not in statics.
#[must_use]
pub fn meter() -> Meter {
    global::meter("openorder")
}

/// The Prometheus side of the meter provider.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    // Held for the life of the process: the exporter ends with it.
    _provider: SdkMeterProvider,
}

impl Metrics {
    /// Makes the global meter provider.
    pub(crate) fn install(resource: Resource) -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(exporter)
            .with_view(buckets_of_seconds)
            .build();
        global::set_meter_provider(provider.clone());
        Ok(Self { registry, _provider: provider })
    }

    /// All metrics in the Prometheus text format.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics cannot be encoded");
            String::new()
        })
    }
}

fn buckets_of_seconds(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram || instrument.unit() != "s" {
        return None;
    }
    let aggregation = Aggregation::ExplicitBucketHistogram { boundaries: SECONDS.to_vec(), record_min_max: false };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::*;
    use crate::OwnedGauge;

    #[test]
    fn a_series_is_shown_while_it_has_an_owner_and_ends_with_it() {
        let metrics = Metrics::install(Resource::builder_empty().build()).unwrap();
        let gauge = OwnedGauge::new("owned", "{piece}", "A gauge with owners");
        let labels = |of: &'static str| vec![KeyValue::new("of", of)];
        let shown = || {
            let text = metrics.text();
            let lines = text.lines().filter(|line| line.starts_with("owned"));
            lines.map(|line| line.replace("owned", "")).collect::<Vec<_>>()
        };
        let (first, second) = (gauge.series(labels("a")), gauge.series(labels("a")));
        assert_eq!(shown(), [""; 0], "nothing was set yet");
        first.set(7.0);
        second.set(3.0);
        assert_eq!(shown(), [r#"{of="a"} 7"#], "the largest of two owners");
        drop(first);
        assert_eq!(shown(), [r#"{of="a"} 3"#]);
        second.end();
        assert_eq!(shown(), [""; 0], "its value is not known");
        second.set(0.0);
        assert_eq!(shown(), [r#"{of="a"} 0"#]);
        drop(second);
        assert_eq!(shown(), [""; 0]);
    }
}
