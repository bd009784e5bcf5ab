//! What an operator may say about telemetry.

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For eyes: time, level, role, target, message, fields.
    Text,
}

/// Settings of traces and logs.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetrySettings {
    /// OTLP/gRPC endpoint that spans are sent to, such as `http://127.0.0.1:4317`; empty: none are recorded.
    pub otlp_endpoint: String,
    /// The share of traces started here that are recorded, 0 to 1. A caller's own decision always stands.
    pub sampling_ratio: f64,
    /// Spans that wait for export, a role; more are dropped (and counted in the log).
    pub span_queue_max: usize,
    /// Spans sent at once.
    pub span_batch_max: usize,
    /// How long a span waits for others, in milliseconds.
    pub span_flush_interval_ms: u64,
    /// How long one export may take, in milliseconds.
    pub span_export_timeout_ms: u64,
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Whether log lines go to standard error.
    pub log_stderr: bool,
    /// Directory of one appended file a role, `<role>.log`; empty: no files.
    pub log_directory: String,
    /// Lines that wait for the log writer; more are dropped (and their number is logged).
    pub log_queue_max: usize,
    /// `service.version` of all spans.
    pub service_version: String,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            otlp_endpoint: String::new(),
            sampling_ratio: 0.1,
            span_queue_max: 16_384,
            span_batch_max: 2_048,
            span_flush_interval_ms: 1_000,
            span_export_timeout_ms: 5_000,
            log_level: "info".to_owned(),
            log_format: LogFormat::Json,
            log_stderr: true,
            log_directory: String::new(),
            log_queue_max: 65_536,
            service_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
