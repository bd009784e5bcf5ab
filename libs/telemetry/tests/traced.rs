//! Work off the hot path: its spans, and what is logged inside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use openorder_telemetry::testing::{RecordedSpans, SpanData, recording};
use openorder_telemetry::{RoleTelemetry, SpanKind, TraceContext, current_trace_id, work_span};
use opentelemetry::trace::Status;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn parent(text: &str) -> TraceContext {
    TraceContext::parse(text, None).unwrap()
}

fn attributes(span: &SpanData) -> Vec<String> {
    span.attributes.iter().map(|one| format!("{}={}", one.key, one.value)).collect()
}

/// Each event as its name and its fields.
fn events(span: &SpanData) -> Vec<String> {
    let fields = |event: &opentelemetry::trace::Event| {
        event.attributes.iter().map(|one| format!(" {}={}", one.key, one.value)).collect::<String>()
    };
    span.events.iter().map(|event| format!("{}{}", event.name, fields(event))).collect()
}

fn only(spans: &RecordedSpans) -> SpanData {
    let mut all = spans.all();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn work_is_a_child_of_its_parent_and_hands_its_own_place_on() {
    let (role, spans) = recording("order", 0.0);
    let parent = parent(SAMPLED);
    let work = role.trace(work_span!("deliver", otel.name = "deliver email", otel.kind = "client", items = 2), &parent);
    work.set("transport", "smtp");
    work.link(&role.trace(work_span!("other"), &TraceContext::NONE).context().clone());
    let context = work.context().clone();
    assert!(context.is_sampled() && context.trace_id() == parent.trace_id() && context != parent);
    drop(work);
    let seen = only(&spans);
    assert_eq!((seen.name.as_ref(), seen.span_kind.clone()), ("deliver email", SpanKind::Client));
    assert_eq!(seen.span_context, *context.span_context());
    assert_eq!(seen.parent_span_id, parent.span_context().span_id());
    assert_eq!(attributes(&seen), ["items=2", "transport=smtp"]);
    assert_eq!((seen.status, seen.links.len()), (Status::Unset, 1));
}

#[tokio::test]
async fn lines_inside_are_events_and_fail_nothing() {
    let (role, spans) = recording("order", 1.0);
    let work = role.trace(work_span!("round"), &TraceContext::NONE);
    let trace_id = work.context().trace_id();
    let logged = work.run(async {
        tracing::debug!("no event");
        tracing::info!("it begins");
        tokio::task::yield_now().await;
        tracing::warn!(order_id = 7, error = %"away", "it waits");
        current_trace_id()
    });
    assert_eq!(logged.await, Some(trace_id), "log lines have the trace");
    tracing::warn!("outside");
    work.in_scope(|| tracing::warn!("again"));
    drop(work);
    let seen = only(&spans);
    let target = module_path!();
    let expected = [
        format!("it begins level=INFO target={target}"),
        format!("it waits level=WARN target={target} order_id=7 error=away"),
        format!("again level=WARN target={target}"),
    ];
    assert_eq!(events(&seen), expected);
    let count = attributes(&seen).len();
    assert_eq!((seen.status, count), (Status::Unset, 0), "a warning is no failure");
}

#[test]
fn an_error_inside_marks_the_work_as_failed_by_its_type() {
    for (named, known, expected) in
        [(false, false, "error.type=_OTHER"), (true, false, "error.type=timeout"), (true, true, "error.type=outage")]
    {
        let (role, spans) = recording("order", 1.0);
        let work = role.trace(work_span!("round"), &TraceContext::NONE);
        if known {
            work.fail("outage", "the database is away");
        }
        work.in_scope(|| match named {
            true => tracing::error!(error.type = "timeout", "it broke"),
            false => tracing::error!("it broke"),
        });
        drop(work);
        let seen = only(&spans);
        assert_eq!(seen.status, Status::error(if known { "the database is away" } else { "it broke" }));
        assert_eq!(attributes(&seen), [expected]);
        assert_eq!(seen.events.len(), 1);
    }
}

#[test]
fn work_in_an_unsampled_trace_is_recorded_with_all_it_had_only_if_it_fails() {
    for (text, fails) in [(Some(UNSAMPLED), false), (Some(UNSAMPLED), true), (None, false), (None, true)] {
        let (role, spans) = recording("order", 0.0);
        let parent = text.map_or(TraceContext::NONE, parent);
        let work = role.trace(work_span!("round", due = 3), &parent);
        let context = work.context().clone();
        assert!(context.is_valid() && !context.is_sampled());
        assert!(!parent.is_valid() || context == parent, "its parent's place is handed on");
        work.set("more", 4);
        work.in_scope(|| tracing::warn!("at first"));
        if fails {
            work.in_scope(|| tracing::error!("in the end"));
        }
        drop(work);
        if !fails {
            assert!(spans.all().is_empty());
            continue;
        }
        let seen = only(&spans);
        assert_eq!(seen.span_context.trace_id(), context.span_context().trace_id(), "the trace of its log lines");
        assert_eq!(seen.parent_span_id, context.span_context().span_id());
        assert_eq!(attributes(&seen), ["due=3", "more=4", "error.type=_OTHER"]);
        assert_eq!(seen.events.iter().map(|event| event.name.as_ref()).collect::<Vec<_>>(), ["at first", "in the end"]);
    }
}

#[test]
fn each_role_of_a_process_exports_its_own_and_what_is_within_is_its_as_well() {
    let ((order, of_order), (payment, of_payment)) = (recording("order", 1.0), recording("payment", 1.0));
    let outer = order.trace(work_span!("outer"), &TraceContext::NONE);
    outer.in_scope(|| {
        let other = payment.trace(work_span!("other"), outer.context());
        other.in_scope(|| tracing::warn!("of payment"));
        drop(tracing::info_span!(target: openorder_telemetry::SPAN_TARGET, "within"));
        drop(tracing::info_span!("of a library"));
    });
    let trace_id = outer.context().span_context().trace_id();
    drop(outer);
    let names = |spans: &RecordedSpans| spans.all().iter().map(|span| span.name.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names(&of_order), names(&of_payment)),
        (vec!["within".to_owned(), "outer".to_owned()], vec!["other".to_owned()])
    );
    let mut all = [of_order.all(), of_payment.all()].concat();
    assert!(all.iter().all(|span| span.span_context.trace_id() == trace_id));
    assert_eq!(events(&all.pop().unwrap()).len(), 1);
}

#[test]
fn a_secret_prints_nothing() {
    let (role, spans) = recording("order", 1.0);
    let secret = openorder_config::Secret::new("hunter2");
    let work = role.trace(work_span!("connect", password = ?secret), &TraceContext::NONE);
    work.in_scope(|| tracing::error!(password = ?secret, "refused"));
    drop(work);
    let seen = format!("{:?}", only(&spans));
    assert!(seen.contains("password") && !seen.contains("hunter2"), "{seen}");
}

#[test]
fn without_an_exporter_or_a_layer_contexts_go_on() {
    let (recorded, spans) = recording("order", 1.0);
    for (layer, role) in [(true, RoleTelemetry::disabled("order")), (false, recorded)] {
        let _none = (!layer).then(|| tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new()));
        let work = role.trace(work_span!("round"), &parent(SAMPLED));
        assert_eq!(*work.context(), parent(SAMPLED));
        work.fail("outage", "away");
        assert!(role.trace(work_span!("round"), &TraceContext::NONE).context().is_valid());
    }
    assert!(spans.all().is_empty());
}

/// The hot path's spans do not go through the layer, and its log lines cost what they did.
#[test]
fn what_others_log_and_trace_is_left_alone() {
    let (role, spans) = recording("order", 1.0);
    let hot = role.start(SpanKind::Server, || "create".into(), &TraceContext::NONE);
    role.in_scope(hot.context(), || tracing::error!("outside of all work"));
    drop(hot);
    let seen = only(&spans);
    assert!(seen.events.is_empty() && seen.status == Status::Unset);
}

#[tokio::test]
async fn work_ends_when_its_future_does() {
    let (role, spans) = recording("order", 1.0);
    let future =
        role.trace(work_span!("round"), &TraceContext::NONE).run(tokio::time::sleep(Duration::from_millis(20)));
    assert!(spans.all().is_empty());
    future.await;
    let seen = only(&spans);
    assert!(seen.end_time.duration_since(seen.start_time).unwrap() >= Duration::from_millis(15));
}
