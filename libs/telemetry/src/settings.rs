//! What an operator may say about telemetry.

use openorder_config::{Value, settings, value::Raw};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For eyes: time, level, role, target, message, fields.
    Text,
}

impl Value for LogFormat {
    type Given = Self;

    fn given(default: Self) -> Self {
        default
    }

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) if text == "json" => Some(Self::Json),
            Raw::Text(text) if text == "text" => Some(Self::Text),
            _ => None,
        }
    }

    fn allowed() -> String {
        "json or text".to_owned()
    }

    fn shown(&self) -> String {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
        .to_owned()
    }
}

settings! {
    /// Settings of traces and logs.
    pub struct TelemetrySettings {
        /// OTLP/gRPC endpoint that spans are sent to, such as `http://127.0.0.1:4317`; empty: none are recorded.
        otlp_endpoint: String = "";
        /// The share of traces started here that are recorded, 0 to 1. What a caller from outside decides stands only
        /// where `gateway.incoming_trace` is `trust`.
        sampling_ratio: f64 = 0.1, 0.0..=1.0;
        /// Spans that wait for export, a role; more are dropped (and counted in the log).
        span_queue_max: usize = 16_384, 1..=10_000_000;
        /// Spans sent at once.
        span_batch_max: usize = 2_048, 1..=100_000;
        /// How long a span waits for others, in milliseconds.
        span_flush_interval_ms: u64 = 1_000, 1..=60_000;
        /// How long one export may take, in milliseconds.
        span_export_timeout_ms: u64 = 5_000, 1..=60_000;
        /// What is logged: a level, or levels of modules, such as `info,openorder_messaging=debug,h2=off`. At first, what
        /// PostgreSQL remarks about migrations that were done before is left out.
        log_level: String = "info,sqlx::postgres::notice=warn";
        /// How log lines look.
        log_format: LogFormat = LogFormat::Json;
        /// Whether log lines go to standard error.
        log_stderr: bool = true;
        /// Directory of one appended file a role, `<role>.log`; empty: no files.
        log_directory: String = "";
        /// Lines that wait for the log writer; more are dropped (and their number is logged).
        log_queue_max: usize = 65_536, 1..=10_000_000;
        /// `service.version` of all spans.
        service_version: String = env!("CARGO_PKG_VERSION");
    }
    keeps {
        span_batch_max <= span_queue_max;
    }
}
