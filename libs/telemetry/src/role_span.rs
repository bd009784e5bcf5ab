//! The OpenTelemetry span behind a `tracing` span: recorded, or kept in case that its work fails.

use std::borrow::Cow;
use std::time::SystemTime;

use opentelemetry::trace::{Event, Link, Span, SpanBuilder, SpanContext, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

use crate::context::TraceContext;
use crate::span::Recorder;

const ERROR_TYPE: &str = "error.type";
/// What the semantic conventions want where nothing better is known.
const ERROR_TYPE_UNKNOWN: &str = "_OTHER";
/// Attributes, events or links that a kept span holds; the SDK's own limit for a recorded one.
const KEPT_MAX: usize = 128;

/// A span of work off the hot path.
///
/// Of a trace that is not recorded the span is kept in memory while its work lasts, and recorded when the work fails:
/// like [`crate::RoleTelemetry::start_failing`], whatever the parent and the sampling ratio say. What it hands on
/// stays what it was at the start: work below it that does not fail itself stays unrecorded.
pub(crate) struct RoleSpan {
    /// What is handed on.
    context: SpanContext,
    state: State,
    failure: Option<Failure>,
    error_type: Option<Value>,
}

enum State {
    Nothing,
    Kept(Box<Kept>),
    Recorded(Box<SdkSpan>),
}

struct Kept {
    tracer: SdkTracer,
    builder: SpanBuilder,
    parent: SpanContext,
}

#[derive(Default)]
struct Failure {
    description: Cow<'static, str>,
}

impl RoleSpan {
    /// A span that only hands `context` on, or the ids of a new trace.
    pub(crate) fn unrecorded(context: TraceContext) -> Self {
        Self::new(context, State::Nothing)
    }

    /// A span of a trace that is recorded.
    pub(crate) fn recorded(recorder: &Recorder, builder: SpanBuilder, parent: &Context) -> Self {
        let span = recorder.tracer.build_with_context(builder, parent);
        let own = TraceContext::from(span.span_context().clone());
        // A provider that was shut down makes spans without ids: work that still drains keeps valid ones.
        let context = if own.is_valid() { own } else { TraceContext::from(parent.span().span_context().clone()) };
        Self::new(context, State::Recorded(Box::new(span)))
    }

    /// A span of a trace that is not recorded, at the place `above`.
    pub(crate) fn kept(recorder: &Recorder, builder: SpanBuilder, above: TraceContext) -> Self {
        let above = above.or_unsampled_root();
        let kept = Kept { tracer: recorder.tracer.clone(), builder, parent: above.span_context().clone() };
        Self::new(above, State::Kept(Box::new(kept)))
    }

    fn new(context: TraceContext, state: State) -> Self {
        let context = context.or_unsampled_root().span_context().clone();
        Self { context, state, failure: None, error_type: None }
    }

    /// Has failed: what was kept is recorded from now on.
    fn fail(&mut self, description: Cow<'static, str>) {
        let failure = self.failure.get_or_insert_with(Failure::default);
        if !description.is_empty() {
            failure.description = description;
        }
        self.state = match std::mem::replace(&mut self.state, State::Nothing) {
            State::Kept(kept) => State::Recorded(Box::new(kept.record())),
            other => other,
        };
    }

    /// An error that was logged says how the work failed, unless that is known better.
    fn explain(&mut self, message: &str, attributes: &[KeyValue]) {
        let Some(failure) = &mut self.failure else { return };
        if !attributes.iter().any(|one| one.key.as_str() == "level" && one.value.as_str() == "ERROR") {
            return;
        }
        if failure.description.is_empty() {
            failure.description = message.to_owned().into();
        }
        if self.error_type.is_none() {
            let named = attributes.iter().find(|one| one.key.as_str() == ERROR_TYPE);
            self.error_type = named.map(|one| one.value.clone());
        }
    }
}

impl Kept {
    fn record(self) -> SdkSpan {
        let around = Context::new().with_remote_span_context(self.parent);
        self.tracer.build_with_context(self.builder, &around)
    }
}

/// Adds to a list of a kept span, within its bound.
fn keep<T>(list: &mut Option<Vec<T>>, item: T) {
    let list = list.get_or_insert_with(Vec::new);
    if list.len() < KEPT_MAX {
        list.push(item);
    }
}

impl Span for RoleSpan {
    fn add_event_with_timestamp<T>(&mut self, name: T, timestamp: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        let name = name.into();
        self.explain(&name, &attributes);
        match &mut self.state {
            State::Nothing => {}
            State::Kept(kept) => keep(&mut kept.builder.events, Event::new(name, timestamp, attributes, 0)),
            State::Recorded(span) => span.add_event_with_timestamp(name, timestamp, attributes),
        }
    }

    fn span_context(&self) -> &SpanContext {
        &self.context
    }

    fn is_recording(&self) -> bool {
        matches!(self.state, State::Recorded(_))
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        if attribute.key.as_str() == ERROR_TYPE {
            self.error_type = Some(attribute.value);
            return;
        }
        match &mut self.state {
            State::Nothing => {}
            State::Kept(kept) => keep(&mut kept.builder.attributes, attribute),
            State::Recorded(span) => span.set_attribute(attribute),
        }
    }

    fn set_status(&mut self, status: Status) {
        if let Status::Error { description } = status {
            self.fail(description);
        }
    }

    fn update_name<T>(&mut self, new_name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        match &mut self.state {
            State::Nothing => {}
            State::Kept(kept) => kept.builder.name = new_name.into(),
            State::Recorded(span) => span.update_name(new_name),
        }
    }

    fn add_link(&mut self, span_context: SpanContext, attributes: Vec<KeyValue>) {
        match &mut self.state {
            State::Nothing => {}
            State::Kept(kept) => keep(&mut kept.builder.links, Link::new(span_context, attributes, 0)),
            State::Recorded(span) => span.add_link(span_context, attributes),
        }
    }

    fn end_with_timestamp(&mut self, timestamp: SystemTime) {
        if let State::Recorded(span) = &mut self.state {
            // Once, and now: attributes are not replaced but stand there twice.
            if let Some(failure) = self.failure.take() {
                let error_type = self.error_type.take().unwrap_or_else(|| ERROR_TYPE_UNKNOWN.into());
                span.set_attribute(KeyValue::new(ERROR_TYPE, error_type));
                span.set_status(Status::Error { description: failure.description });
            }
            span.end_with_timestamp(timestamp);
        }
    }
}
