//! Spans of the hot path; see `traced.rs` for those of all other work.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

use crate::context::TraceContext;

/// The telemetry of one role (`order`, `gateway`, …): its name and its own tracer. Clones share one allocation.
#[derive(Clone)]
pub struct RoleTelemetry(Arc<Inner>);

struct Inner {
    role: &'static str,
    recorder: Option<Recorder>,
}

/// What makes recorded spans; there is none when nothing is exported.
pub(crate) struct Recorder {
    pub(crate) tracer: SdkTracer,
    /// The share of traces started here that are recorded, 0 to 1.
    pub(crate) sampling_ratio: f64,
}

impl RoleTelemetry {
    pub(crate) fn new(role: &'static str, recorder: Option<Recorder>) -> Self {
        Self(Arc::new(Inner { role, recorder }))
    }

    /// Telemetry that records nothing and still hands on every context: for tests and tools.
    #[must_use]
    pub fn disabled(role: &'static str) -> Self {
        Self::new(role, None)
    }

    /// The role's name, which is its `service.name`.
    #[must_use]
    pub fn role(&self) -> &'static str {
        self.0.role
    }

    /// What makes recorded spans; `None` when nothing is exported.
    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        self.0.recorder.as_ref()
    }

    /// Starts a span now.
    ///
    /// * An unsampled parent: the span *is* the parent's context; `name` is not called and nothing is built.
    /// * A sampled parent: a recorded child.
    /// * No valid parent: the root of a new trace. The sampling ratio decides whether it is recorded; its ids are
    ///   valid either way.
    #[must_use]
    pub fn start(&self, kind: SpanKind, name: impl FnOnce() -> Cow<'static, str>, parent: &TraceContext) -> Span {
        self.start_with(kind, name, parent, None)
    }

    /// A span that is recorded only within a trace that is: for calls that nobody looks for, such as health checks.
    #[must_use]
    pub fn start_within(
        &self,
        kind: SpanKind,
        name: impl FnOnce() -> Cow<'static, str>,
        parent: &TraceContext,
    ) -> Span {
        if parent.is_sampled() {
            return self.start(kind, name, parent);
        }
        Span::unrecorded(parent.clone().or_unsampled_root())
    }

    /// Like [`Self::start`], for work that began earlier (spans of a batch, made afterwards).
    #[must_use]
    pub fn start_at(
        &self,
        kind: SpanKind,
        name: impl FnOnce() -> Cow<'static, str>,
        parent: &TraceContext,
        start: SystemTime,
    ) -> Span {
        self.start_with(kind, name, parent, Some(start))
    }

    /// Like [`Self::start_at`], for work that failed: recorded whatever the parent and the sampling ratio say, as long as
    /// anything is exported. What follows from it is recorded as well.
    #[must_use]
    pub fn start_failing(
        &self,
        kind: SpanKind,
        name: impl FnOnce() -> Cow<'static, str>,
        parent: &TraceContext,
        start: SystemTime,
    ) -> Span {
        match self.0.recorder.as_ref() {
            Some(recorder) => recorder.record(kind, name(), parent, Some(start)),
            None => self.start_with(kind, name, parent, Some(start)),
        }
    }

    #[inline]
    fn start_with(
        &self,
        kind: SpanKind,
        name: impl FnOnce() -> Cow<'static, str>,
        parent: &TraceContext,
        start: Option<SystemTime>,
    ) -> Span {
        let recorder = self.0.recorder.as_ref();
        if parent.is_valid() {
            return match recorder {
                Some(recorder) if parent.is_sampled() => recorder.record(kind, name(), parent, start),
                _ => Span::unrecorded(parent.clone()),
            };
        }
        match recorder {
            Some(recorder) if rand::random::<f64>() < recorder.sampling_ratio => {
                recorder.record(kind, name(), parent, start)
            }
            _ => Span::unrecorded(TraceContext::unsampled_root()),
        }
    }
}

impl fmt::Debug for RoleTelemetry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RoleTelemetry")
            .field("role", &self.0.role)
            .field("recording", &self.0.recorder.is_some())
            .finish()
    }
}

impl Recorder {
    /// Whether a span below `parent`, or the root of a new trace, is recorded.
    pub(crate) fn samples(&self, parent: &TraceContext) -> bool {
        match parent.is_valid() {
            true => parent.is_sampled(),
            false => rand::random::<f64>() < self.sampling_ratio,
        }
    }

    fn record(
        &self,
        kind: SpanKind,
        name: Cow<'static, str>,
        parent: &TraceContext,
        start: Option<SystemTime>,
    ) -> Span {
        let mut builder = SpanBuilder::from_name(name).with_kind(kind);
        builder.start_time = start;
        let around = match parent.is_valid() {
            true => Context::new().with_remote_span_context(parent.span_context().clone()),
            false => Context::new(),
        };
        let span = self.tracer.build_with_context(builder, &around);
        let context = TraceContext::from(span.span_context().clone());
        if context.is_valid() {
            return Span { context, recorded: Some(Box::new(span)) };
        }
        // The provider was shut down: work that still drains keeps valid ids.
        Span::unrecorded(parent.clone().or_unsampled_root())
    }
}

/// A span, recorded or not. It ends when it is dropped, unless it was ended before.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    // Boxed: unrecorded spans, most of them, stay small.
    recorded: Option<Box<SdkSpan>>,
}

impl Span {
    /// A span that only carries `context`.
    #[must_use]
    pub fn unrecorded(context: TraceContext) -> Self {
        Self { context, recorded: None }
    }

    /// What to hand on: to callees, into message headers, into the event log.
    #[must_use]
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Whether attributes go anywhere. Test it before computing a costly value.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.recorded.is_some()
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Links to another span.
    pub fn link(&mut self, other: &TraceContext) {
        if let Some(span) = &mut self.recorded
            && other.is_valid()
        {
            span.add_link(other.span_context().clone(), Vec::new());
        }
    }

    /// Marks the span as failed. `error_type` is of low cardinality (`error.type`); `description` holds no secret.
    pub fn fail(&mut self, error_type: &str, description: &str) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new("error.type", error_type.to_owned()));
            span.set_status(Status::error(description.to_owned()));
        }
    }

    /// Ends the span now.
    pub fn end(self) {
        drop(self);
    }

    /// Ends the span at an earlier time.
    pub fn end_at(mut self, time: SystemTime) {
        if let Some(span) = &mut self.recorded {
            span.end_with_timestamp(time);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::time::Duration;

    use super::*;
    use crate::testing::recording;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn parent(text: &str) -> TraceContext {
        TraceContext::parse(text, None).unwrap()
    }

    #[test]
    fn the_span_of_an_unsampled_parent_is_the_parent_and_its_name_is_never_made() {
        let (role, spans) = recording("order", 1.0);
        let parent = parent(UNSAMPLED);
        let mut span = role.start(SpanKind::Server, || panic!("the name was made"), &parent);
        span.set("key", "value");
        span.link(&parent);
        span.fail("timeout", "too late");
        assert!(!span.is_recording());
        assert_eq!(*span.context(), parent);
        span.end();
        assert!(spans.all().is_empty());
    }

    #[test]
    fn the_span_of_a_sampled_parent_is_its_recorded_child() {
        let (role, spans) = recording("order", 0.0);
        let (parent, other) = (parent(SAMPLED), TraceContext::unsampled_root());
        let mut span = role.start(SpanKind::Consumer, || "process".into(), &parent);
        span.set("key", 7);
        span.link(&other);
        span.link(&TraceContext::NONE);
        span.fail("timeout", "too late");
        let context = span.context().clone();
        drop(span);
        let seen = spans.all().remove(0);
        assert_eq!((seen.name.as_ref(), seen.span_kind.clone()), ("process", SpanKind::Consumer));
        assert_eq!(seen.span_context, *context.span_context());
        assert_eq!(seen.span_context.trace_id(), parent.span_context().trace_id());
        assert_eq!(seen.parent_span_id, parent.span_context().span_id());
        assert!(seen.parent_span_is_remote && context.is_sampled());
        assert_eq!(seen.links.len(), 1, "nothing is no link");
        assert_eq!(seen.status, Status::error("too late"));
        let attributes: Vec<_> = seen.attributes.iter().map(|one| format!("{}={}", one.key, one.value)).collect();
        assert_eq!(attributes, ["key=7", "error.type=timeout"]);
    }

    #[test]
    fn what_failed_is_recorded_whatever_its_parent_says() {
        for (text, ratio) in [(Some(UNSAMPLED), 0.0), (Some(SAMPLED), 0.0), (None, 0.0)] {
            let (role, spans) = recording("order", ratio);
            let parent = text.map_or(TraceContext::NONE, parent);
            let span = role.start_failing(SpanKind::Consumer, || "process".into(), &parent, SystemTime::now());
            assert!(span.is_recording() && span.context().is_sampled());
            assert!(!parent.is_valid() || span.context().trace_id() == parent.trace_id());
            drop(span);
            assert_eq!(spans.all().len(), 1);
        }
        let disabled = RoleTelemetry::disabled("order");
        let span =
            disabled.start_failing(SpanKind::Consumer, || "process".into(), &parent(UNSAMPLED), SystemTime::now());
        assert!(!span.is_recording());
    }

    #[test]
    fn the_ratio_decides_about_new_traces_alone() {
        for (ratio, recorded) in [(0.0, false), (1.0, true)] {
            let (role, spans) = recording("order", ratio);
            let span = role.start(SpanKind::Server, || "root".into(), &TraceContext::NONE);
            assert!(span.context().is_valid());
            assert_eq!((span.is_recording(), span.context().is_sampled()), (recorded, recorded));
            drop(span);
            assert_eq!(spans.all().len(), usize::from(recorded));
        }
    }

    #[test]
    fn about_the_asked_share_is_recorded() {
        let (role, spans) = recording("order", 0.25);
        for _ in 0..4_000 {
            drop(role.start(SpanKind::Server, || "root".into(), &TraceContext::NONE));
        }
        // Seven standard deviations around 1,000.
        assert!((800..=1_200).contains(&spans.all().len()), "{}", spans.all().len());
    }

    #[test]
    fn nothing_is_recorded_without_an_exporter_and_contexts_go_on() {
        let role = RoleTelemetry::disabled("order");
        let span = role.start(SpanKind::Server, || panic!("the name was made"), &parent(SAMPLED));
        assert_eq!(*span.context(), parent(SAMPLED));
        let root = role.start(SpanKind::Server, || panic!("the name was made"), &TraceContext::NONE);
        assert!(root.context().is_valid() && !root.context().is_sampled());
    }

    #[test]
    fn a_span_made_afterwards_has_its_own_times() {
        let (role, spans) = recording("order", 1.0);
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let span = role.start_at(SpanKind::Internal, || "batch".into(), &parent(SAMPLED), start);
        span.end_at(start + Duration::from_secs(5));
        let seen = spans.all().remove(0);
        assert_eq!((seen.start_time, seen.end_time), (start, start + Duration::from_secs(5)));
    }
}
