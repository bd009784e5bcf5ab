//! Puts traces, logs and metrics of a process together, and takes them down again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exporter::WatchedExporter;
use crate::layer::{SPAN_TARGET, span_layer};
use crate::logs::{LogLayer, LogWriter, LogWriterSettings};
use crate::metrics::Metrics;
use crate::settings::TelemetrySettings;
use crate::span::{Recorder, RoleTelemetry};

/// How long the last log lines may take.
const LOG_FLUSH_BOUND: Duration = Duration::from_secs(1);

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A setting has a value that cannot be used.
    #[error("telemetry.{name}: {detail}")]
    Setting {
        /// The setting's name within `telemetry`.
        name: &'static str,
        /// What is wrong with its value.
        detail: String,
    },
    /// The log directory or a file in it cannot be made.
    #[error("telemetry.log_directory: {0}")]
    LogFiles(#[source] std::io::Error),
    /// Logging was set up before in this process.
    #[error("logging is set up already")]
    AlreadySet,
    /// The metrics registry refused.
    #[error("metrics: {0}")]
    Metrics(String),
}

/// The telemetry of a process.
pub struct Telemetry {
    settings: TelemetrySettings,
    metrics: Metrics,
    writer: Arc<LogWriter>,
    roles: Mutex<HashMap<&'static str, (RoleTelemetry, Option<SdkTracerProvider>)>>,
}

/// Sets up logs, metrics and the means for traces. Once a process; inside a tokio runtime.
///
/// # Errors
///
/// A bad setting, a log directory that cannot be written, or a second call.
pub fn init(settings: &TelemetrySettings) -> Result<Telemetry, TelemetryError> {
    check(settings)?;
    let filter = settings
        .log_level
        .parse::<Targets>()
        .map_err(|error| TelemetryError::Setting { name: "log_level", detail: error.to_string() })?;
    let writer = LogWriter::start(LogWriterSettings {
        stderr: settings.log_stderr,
        directory: (!settings.log_directory.is_empty()).then(|| PathBuf::from(&settings.log_directory)),
        queue_max: settings.log_queue_max,
        format: settings.log_format,
    })
    .map_err(TelemetryError::LogFiles)?;
    let writer = Arc::new(writer);
    tracing_subscriber::registry()
        .with(span_layer())
        .with(LogLayer::new(Arc::clone(&writer), settings.log_format))
        // What is not logged is no event of a span either; spans are exported at every level of the log.
        .with(filter.with_target(SPAN_TARGET, LevelFilter::INFO))
        .try_init()
        .map_err(|_| TelemetryError::AlreadySet)?;
    let metrics = Metrics::install(resource("openorder", &settings.service_version))?;
    Ok(Telemetry { settings: settings.clone(), metrics, writer, roles: Mutex::default() })
}

fn check(settings: &TelemetrySettings) -> Result<(), TelemetryError> {
    let refuse = |name, detail: &str| Err(TelemetryError::Setting { name, detail: detail.to_owned() });
    if !(0.0..=1.0).contains(&settings.sampling_ratio) {
        return refuse("sampling_ratio", "must be between 0 and 1");
    }
    if !settings.otlp_endpoint.is_empty() {
        match settings.otlp_endpoint.parse::<http::Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() => {}
            _ => return refuse("otlp_endpoint", "must look like http://host:4317"),
        }
    }
    Ok(())
}

impl Telemetry {
    /// The telemetry of a role; asked twice, the same.
    #[must_use]
    pub fn role(&self, role: &'static str) -> RoleTelemetry {
        let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
        let (telemetry, _) = roles.entry(role).or_insert_with(|| {
            let provider = self.provider(role);
            let recorder = provider.as_ref().map(|provider| Recorder {
                tracer: provider.tracer("openorder"),
                sampling_ratio: self.settings.sampling_ratio,
            });
            (RoleTelemetry::new(role, recorder), provider)
        });
        telemetry.clone()
    }

    /// The metrics of the process in the Prometheus text format.
    #[must_use]
    pub fn prometheus_text(&self) -> String {
        self.metrics.text()
    }

    /// Sends the spans that wait, within `bound`, and then writes the log lines that wait, in a second at most. Spans
    /// started afterwards are not recorded.
    pub async fn shutdown(&self, bound: Duration) {
        let providers: Vec<_> = {
            let mut roles = self.roles.lock().unwrap_or_else(PoisonError::into_inner);
            roles.values_mut().filter_map(|(_, provider)| provider.take()).collect()
        };
        // Each blocks its thread, and its exporter needs the runtime's workers meanwhile.
        let exports: Vec<_> = providers
            .into_iter()
            .map(|provider| tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(bound)))
            .collect();
        let exported = async {
            for export in exports {
                if let Ok(Err(error)) = export.await {
                    tracing::warn!(%error, "spans were lost at shutdown");
                }
            }
        };
        if tokio::time::timeout(bound, exported).await.is_err() {
            tracing::warn!("spans were lost at shutdown: the collector did not take them in time");
        }
        let writer = Arc::clone(&self.writer);
        let _ = tokio::task::spawn_blocking(move || writer.flush(LOG_FLUSH_BOUND)).await;
    }

    /// The role's own provider: in one process with others it stays a service of its own in Jaeger.
    fn provider(&self, role: &'static str) -> Option<SdkTracerProvider> {
        let settings = &self.settings;
        if settings.otlp_endpoint.is_empty() {
            return None;
        }
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&settings.otlp_endpoint)
            .with_timeout(Duration::from_millis(settings.span_export_timeout_ms))
            .build()
            .inspect_err(|error| tracing::error!(%error, role, "spans cannot be exported"))
            .ok()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(settings.span_queue_max)
            .with_max_export_batch_size(settings.span_batch_max)
            .with_scheduled_delay(Duration::from_millis(settings.span_flush_interval_ms))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(WatchedExporter::new(exporter, role)).with_batch_config(batches).build(),
            )
            // Whether a trace is recorded is decided before a span is built: see `RoleTelemetry::start`.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource(role, &settings.service_version))
            .build();
        Some(provider)
    }
}

impl Drop for Telemetry {
    /// A process that ends early, with an error, still shows its last lines.
    fn drop(&mut self) {
        self.writer.flush(LOG_FLUSH_BOUND);
    }
}

fn resource(service: &'static str, version: &str) -> Resource {
    Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.namespace", "openorder"))
        .with_attribute(KeyValue::new("service.version", version.to_owned()))
        .build()
}
