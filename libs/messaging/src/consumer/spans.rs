//! Spans and log lines of handled messages.

use std::time::SystemTime;

use openorder_telemetry::{RoleTelemetry, Span, SpanKind};
use openorder_types::Fault;

use crate::{
    Backbone, Received,
    consumer::failure::{self, Failure},
    metrics::Metrics,
};

/// The span of one message's handling, in the trace of the event.
pub(crate) fn process(telemetry: &RoleTelemetry, message: &Received, started: SystemTime) -> Span {
    let mut span =
        telemetry.start_at(SpanKind::Consumer, || format!("process {}", message.topic).into(), &message.trace, started);
    if span.is_recording() {
        span.link(&message.trace);
        let key = String::from_utf8_lossy(&message.key).into_owned();
        span.set("messaging.system", "kafka");
        span.set("messaging.operation.name", "process");
        span.set("messaging.operation.type", "process");
        span.set("messaging.destination.name", message.topic.clone());
        span.set("messaging.destination.partition.id", message.partition.to_string());
        span.set("messaging.kafka.offset", message.offset);
        span.set("messaging.kafka.message.key", key.clone());
        span.set("messaging.consumer.group.name", telemetry.role());
        span.set("messaging.message.id", message.event_id.to_string());
        span.set("messaging.message.conversation_id", key);
        span.set("openorder.event.type", message.event_type.clone());
    }
    span
}

/// Ends the spans of a batch, each with its own database span of the batch's times.
pub(crate) fn finish(backbone: &Backbone, spans: Vec<Span>, started: SystemTime, size: usize, fault: Option<&Fault>) {
    let ended = SystemTime::now();
    let telemetry = backbone.telemetry();
    Metrics::get().batch(telemetry.role(), "consumer", size, started, ended);
    for mut span in spans {
        if !span.is_recording() {
            continue;
        }
        let mut commit = telemetry.start_at(SpanKind::Client, || "commit batch".into(), span.context(), started);
        commit.set("db.system.name", "postgresql");
        commit.set("db.namespace", backbone.database_name().to_owned());
        commit.set("db.operation.name", "COMMIT");
        commit.set("db.operation.batch.size", i64::try_from(size).unwrap_or(i64::MAX));
        if let Some(fault) = fault {
            commit.fail(fault.kind(), "the batch failed");
            span.fail(fault.kind(), "the batch failed");
        }
        commit.end_at(ended);
        span.end_at(ended);
    }
}

/// Tells that a message failed, and what becomes of it.
pub(crate) fn log_failure(message: &Received, failure: &Failure, attempts: i32, text: &str) {
    tracing::error!(
        topic = message.topic,
        partition = message.partition,
        offset = message.offset,
        event_id = %message.event_id,
        event_type = failure::cut(&message.event_type),
        trace_id = message.trace.trace_id(),
        class = failure.class.as_str(),
        reason = failure.reason,
        error = failure.text,
        attempts,
        "{text}"
    );
}
