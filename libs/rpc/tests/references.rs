//! The reference that a caller is given of a failure of ours is found in the log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use openorder_rpc::{query_failed, status};
use openorder_types::{CallError, Fault};

/// The traces under which errors were logged, with what was logged.
#[derive(Default)]
struct Errors(std::sync::Mutex<Vec<(Option<String>, String)>>);

impl tracing::field::Visit for Errors {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.get_mut().unwrap().push((openorder_telemetry::current_trace_id(), format!("{value:?}")));
    }
}

struct Subscriber(std::sync::Arc<Errors>);

impl tracing::Subscriber for Subscriber {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut of_event = Errors::default();
        event.record(&mut of_event);
        self.0.0.lock().unwrap().extend(of_event.0.into_inner().unwrap());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_reference_that_a_caller_is_given_is_found_in_the_log_with_its_cause() {
    let role = openorder_telemetry::RoleTelemetry::disabled("order");
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let trace = openorder_telemetry::TraceContext::parse(text, None).unwrap();
    let reference = "0af7651916cd43dd8448eb211c80319c";
    for error in
        [CallError::Internal, query_failed(Fault::permanent("the cause")), Fault::retryable("the cause").into()]
    {
        let errors = std::sync::Arc::new(Errors::default());
        let has_cause = error != CallError::Internal;
        let made = tracing::subscriber::with_default(Subscriber(std::sync::Arc::clone(&errors)), || {
            role.in_scope(&trace, || status(error))
        });
        assert!(made.message().ends_with(reference) && !made.message().contains("cause"));
        let logged = errors.0.lock().unwrap();
        assert!(!logged.is_empty() && logged.iter().all(|(of, _)| of.as_deref() == Some(reference)), "{logged:?}");
        assert_eq!(logged.iter().any(|(_, line)| line.contains("the cause")), has_cause, "{logged:?}");
    }
}
