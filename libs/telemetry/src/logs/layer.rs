//! The `tracing` layer that hands lines to the writer.

use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::logs::{LogWriter, line};
use crate::scope::LogScope;
use crate::settings::LogFormat;

/// Makes a line of each event, with the role and trace of the current scope.
pub(crate) struct LogLayer {
    writer: Arc<LogWriter>,
    format: LogFormat,
}

impl LogLayer {
    pub(crate) fn new(writer: Arc<LogWriter>, format: LogFormat) -> Self {
        Self { writer, format }
    }
}

/// Events of the OpenTelemetry SDK that come with each failed export; `WatchedExporter` tells them once.
const LOGGED_ELSEWHERE: [&str; 2] = ["BatchSpanProcessor.ExportError", "Export.Failed."];

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let name = event.metadata().name();
        if LOGGED_ELSEWHERE.iter().any(|target| name.starts_with(target)) {
            return;
        }
        let scope = LogScope::current();
        let role = scope.map(|scope| scope.role);
        self.writer.write(role, line::of_event(event, scope, self.format));
    }
}
