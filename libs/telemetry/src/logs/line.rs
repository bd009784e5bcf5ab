//! One event as one line, JSON or text.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;

use chrono::{SecondsFormat, Utc};
use opentelemetry::TraceId;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::scope::LogScope;
use crate::settings::LogFormat;

/// The line of an event, with its line feed.
pub(crate) fn of_event(event: &Event<'_>, scope: Option<LogScope>, format: LogFormat) -> Vec<u8> {
    let metadata = event.metadata();
    let mut fields =
        Fields { format, target: Cow::Borrowed(metadata.target()), message: String::new(), rest: Vec::new() };
    event.record(&mut fields);
    match format {
        LogFormat::Json => json(*metadata.level(), scope, &fields),
        LogFormat::Text => text(*metadata.level(), scope, &fields),
    }
}

/// A line of the log writer itself, about lines that it could not take.
pub(crate) fn of_lost_lines(count: u64, format: LogFormat) -> Vec<u8> {
    let mut fields = Fields {
        format,
        target: Cow::Borrowed(module_path!()),
        message: "log lines were dropped: the writer could not keep up".to_owned(),
        rest: Vec::new(),
    };
    fields.number("count", &count);
    match format {
        LogFormat::Json => json(Level::WARN, None, &fields),
        LogFormat::Text => text(Level::WARN, None, &fields),
    }
}

fn json(level: Level, scope: Option<LogScope>, fields: &Fields<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(256 + fields.message.len() + fields.rest.len());
    line.extend_from_slice(b"{\"timestamp\":\"");
    line.extend_from_slice(timestamp().as_bytes());
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(level.as_str().as_bytes());
    line.push(b'"');
    if let Some(scope) = scope {
        line.extend_from_slice(b",\"role\":");
        json_string(&mut line, scope.role);
    }
    line.extend_from_slice(b",\"target\":");
    json_string(&mut line, &fields.target);
    line.extend_from_slice(b",\"message\":");
    json_string(&mut line, &fields.message);
    if !fields.rest.is_empty() {
        line.extend_from_slice(b",\"fields\":{");
        line.extend_from_slice(&fields.rest);
        line.push(b'}');
    }
    if let Some(scope) = traced(scope) {
        // Writing to a Vec cannot fail.
        let _ = write!(line, ",\"trace_id\":\"{}\",\"span_id\":\"{}\"", scope.trace_id, scope.span_id);
    }
    line.extend_from_slice(b"}\n");
    line
}

fn text(level: Level, scope: Option<LogScope>, fields: &Fields<'_>) -> Vec<u8> {
    let mut line = Vec::with_capacity(160 + fields.message.len() + fields.rest.len());
    let role = scope.map_or("-", |scope| scope.role);
    let _ = write!(line, "{} {level:>5} {role} {}: ", timestamp(), fields.target);
    // A line stays a line, whatever somebody put into a value.
    let _ =
        write!(line, "{}", fields.message.escape_debug().collect::<String>().replace("\\\"", "\"").replace("\\'", "'"));
    line.extend_from_slice(&fields.rest);
    if let Some(scope) = traced(scope) {
        let _ = write!(line, " trace_id={}", scope.trace_id);
    }
    line.push(b'\n');
    line
}

fn traced(scope: Option<LogScope>) -> Option<LogScope> {
    scope.filter(|scope| scope.trace_id != TraceId::INVALID)
}

fn timestamp() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn json_string(line: &mut Vec<u8>, text: &str) {
    // Neither a string nor a Vec can make this fail.
    let _ = serde_json::to_writer(line, text);
}

/// Collects the fields of an event: message apart, the others already in their final form.
struct Fields<'a> {
    format: LogFormat,
    target: Cow<'a, str>,
    message: String,
    rest: Vec<u8>,
}

impl Fields<'_> {
    fn key(&mut self, name: &str) {
        match self.format {
            LogFormat::Json => {
                if !self.rest.is_empty() {
                    self.rest.push(b',');
                }
                json_string(&mut self.rest, name);
                self.rest.push(b':');
            }
            LogFormat::Text => {
                let _ = write!(self.rest, " {name}=");
            }
        }
    }

    fn number(&mut self, name: &str, value: &dyn fmt::Display) {
        self.key(name);
        let _ = write!(self.rest, "{value}");
    }

    fn string(&mut self, name: &str, value: &str) {
        match name {
            "message" => self.message.push_str(value),
            // Events that come through the `log` crate bring their origin as fields.
            "log.target" => self.target = Cow::Owned(value.to_owned()),
            _ if name.starts_with("log.") => {}
            _ => {
                self.key(name);
                match self.format {
                    LogFormat::Json => json_string(&mut self.rest, value),
                    LogFormat::Text => {
                        let _ = write!(self.rest, "{value:?}");
                    }
                }
            }
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.string(field.name(), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if !field.name().starts_with("log.") {
            self.number(field.name(), &value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.number(field.name(), &value),
            // JSON knows no infinity.
            false => self.string(field.name(), &value.to_string()),
        }
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.string(field.name(), &text);
    }
}
