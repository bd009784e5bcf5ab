//! From an event to a file, through the layer and the writer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use super::{LogLayer, LogWriter, LogWriterSettings};
use crate::{LogFormat, RoleTelemetry, TraceContext};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("openorder-logs-{}-{:x}", std::process::id(), rand::random::<u64>());
        Self(std::env::temp_dir().join(name))
    }

    fn read(&self, role: &str) -> String {
        fs::read_to_string(self.0.join(format!("{role}.log"))).unwrap_or_default()
    }

    fn json(&self, role: &str) -> Vec<Value> {
        self.read(role).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn writer(directory: &Path, queue_max: usize, format: LogFormat) -> Arc<LogWriter> {
    let directory = Some(directory.to_owned());
    Arc::new(LogWriter::start(LogWriterSettings { stderr: false, directory, queue_max, format }).unwrap())
}

/// Writes what `work` logs into the directory.
fn logged(directory: &Directory, format: LogFormat, work: impl FnOnce()) {
    let writer = writer(&directory.0, 1_000, format);
    let subscriber = tracing_subscriber::registry().with(LogLayer::new(Arc::clone(&writer), format));
    tracing::subscriber::with_default(subscriber, work);
    writer.flush(Duration::from_secs(5));
}

#[derive(Debug, thiserror::Error)]
#[error("the relay stopped")]
struct Outer(#[source] std::io::Error);

#[test]
fn an_event_is_one_json_line_with_role_and_trace() {
    let directory = Directory::new();
    let trace = TraceContext::parse(TRACEPARENT, None).unwrap();
    logged(&directory, LogFormat::Json, || {
        RoleTelemetry::disabled("order").in_scope(&trace, || {
            let error = Outer(std::io::Error::other("disk \"full\""));
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                count = 3,
                big = u64::MAX,
                ratio = 0.5,
                nan = f64::NAN,
                yes = true,
                text = "a\nb",
                other = ?Some(1),
                error,
                "it {}",
                "happened"
            );
        });
    });
    let line = directory.json("order").remove(0);
    assert_eq!((line["level"].as_str(), line["role"].as_str()), (Some("WARN"), Some("order")));
    assert_eq!(line["message"], "it happened");
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["span_id"], "b7ad6b7169203331");
    assert_eq!(line["target"], module_path!());
    let time = line["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    let expected = serde_json::json!({
        "count": 3, "big": u64::MAX, "ratio": 0.5, "nan": "NaN", "yes": true, "text": "a\nb", "other": "Some(1)",
        "error": "the relay stopped: disk \"full\"",
    });
    assert_eq!(line["fields"], expected);
}

#[test]
fn each_role_has_its_file_and_the_process_one_for_the_rest() {
    let directory = Directory::new();
    logged(&directory, LogFormat::Json, || {
        let none = TraceContext::NONE;
        RoleTelemetry::disabled("order").in_scope(&none, || tracing::info!("of the order service"));
        RoleTelemetry::disabled("payment").in_scope(&none, || tracing::info!("of the payment service"));
        tracing::info!("of nobody");
    });
    for (role, message) in [("order", "of the order service"), ("payment", "of the payment service")] {
        let lines = directory.json(role);
        assert_eq!((lines.len(), lines[0]["message"].as_str()), (1, Some(message)));
        assert!(lines[0].get("trace_id").is_none(), "there is no trace");
    }
    let lines = directory.json("openorder");
    assert_eq!((lines.len(), lines[0].get("role")), (1, None));
}

#[test]
fn files_are_appended_to() {
    let directory = Directory::new();
    for _ in 0..2 {
        logged(&directory, LogFormat::Json, || tracing::info!("again"));
    }
    assert_eq!(directory.json("openorder").len(), 2);
}

#[test]
fn text_is_for_eyes_and_still_one_line_an_event() {
    let directory = Directory::new();
    let trace = TraceContext::parse(TRACEPARENT, None).unwrap();
    logged(&directory, LogFormat::Text, || {
        RoleTelemetry::disabled("order")
            .in_scope(&trace, || tracing::info!(sku = "A\nB", n = 1, "line one\nline \"two\""));
    });
    let text = directory.read("order");
    let (_, after) = text.split_once(" INFO order ").expect(&text);
    let expected = format!(
        "{}: line one\\nline \"two\" sku=\"A\\nB\" n=1 trace_id=0af7651916cd43dd8448eb211c80319c\n",
        module_path!()
    );
    assert_eq!(after, expected);
}

#[test]
fn a_flood_loses_lines_and_says_how_many() {
    let directory = Directory::new();
    let writer = writer(&directory.0, 4, LogFormat::Json);
    let sent = 20_000_u64;
    for _ in 0..sent {
        writer.write(Some("order"), b"{\"x\":1}\n".to_vec());
    }
    writer.flush(Duration::from_secs(5));
    let written = directory.json("order").len() as u64;
    let lost: u64 = directory.json("openorder").iter().map(|line| line["fields"]["count"].as_u64().unwrap()).sum();
    assert_eq!(written + lost, sent);
    assert!(lost > 0, "twenty thousand lines did not fill a queue of four");
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let settings = LogWriterSettings {
        stderr: false,
        directory: Some(PathBuf::from("/proc/nowhere")),
        queue_max: 1,
        format: LogFormat::Json,
    };
    assert!(LogWriter::start(settings).is_err());
}
