//! Spans and log lines of handled messages.

use std::{borrow::Cow, time::SystemTime};

use openorder_telemetry::{RoleTelemetry, Span, SpanKind};
use openorder_types::Fault;

use crate::{
    Backbone, Received,
    consumer::failure::{self, Failure},
    metrics::Metrics,
};

/// Attributes are as long as others liked, and cut: so many bytes of a key.
const KEY_MAX_BYTES: usize = 256;

/// The span of one message's handling, in the trace of the event.
pub(crate) fn process(telemetry: &RoleTelemetry, message: &Received, started: SystemTime) -> Span {
    let mut span = telemetry.start_at(SpanKind::Consumer, || name(message), &message.trace, started);
    describe(&mut span, telemetry, message);
    span
}

/// The same of a message that has failed before: recorded also where its trace is not.
pub(crate) fn process_again(telemetry: &RoleTelemetry, message: &Received, started: SystemTime) -> Span {
    let mut span = telemetry.start_failing(SpanKind::Consumer, || name(message), &message.trace, started);
    describe(&mut span, telemetry, message);
    span
}

fn name(message: &Received) -> Cow<'static, str> {
    format!("process {}", message.topic).into()
}

fn describe(span: &mut Span, telemetry: &RoleTelemetry, message: &Received) {
    if !span.is_recording() {
        return;
    }
    if message.trace.is_sampled() {
        span.link(&message.trace);
    }
    let key = &message.key[..message.key.len().min(KEY_MAX_BYTES)];
    let key = String::from_utf8_lossy(key).into_owned();
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
    span.set("openorder.event.type", failure::cut(&message.event_type).to_owned());
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

/// Logs that a message failed, and what becomes of it, and records it: also where the message belongs to no trace, or to
/// one that is not recorded, and where it never came to be handled.
pub(crate) fn record_failure(
    telemetry: &RoleTelemetry,
    message: &Received,
    failure: &Failure,
    attempts: i32,
    text: &'static str,
) {
    let mut span = telemetry.start_failing(SpanKind::Consumer, || name(message), &message.trace, SystemTime::now());
    describe(&mut span, telemetry, message);
    span.set("openorder.failure.class", failure.class.as_str());
    span.set("openorder.failure.outcome", text);
    span.set("openorder.failure.attempts", i64::from(attempts));
    span.fail(failure.reason, &failure.text);
    tracing::error!(
        topic = &*message.topic,
        partition = message.partition,
        offset = message.offset,
        event_id = %message.event_id,
        event_type = failure::cut(&message.event_type),
        trace_id = span.context().trace_id(),
        class = failure.class.as_str(),
        reason = failure.reason,
        error = failure.text,
        attempts,
        "{text}"
    );
}
