//! A whole process: spans reach a collector as spans of their own services, metrics are in the text for Prometheus.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openorder_telemetry::api::KeyValue;
use openorder_telemetry::{SpanKind, TelemetryError, TelemetrySettings, TraceContext, init, meter, work_span};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// `service.name service.namespace service.version: span name [events]`.
fn described(spans: &ResourceSpans) -> Vec<String> {
    let attributes = &spans.resource.as_ref().unwrap().attributes;
    let attribute = |key: &str| {
        let found = attributes.iter().find(|one| one.key == key).unwrap();
        match found.value.as_ref().unwrap().value.as_ref().unwrap() {
            any_value::Value::StringValue(text) => text.clone(),
            other => panic!("{other:?}"),
        }
    };
    let service = ["service.name", "service.namespace", "service.version"].map(attribute).join(" ");
    let spans = spans.scope_spans.iter().flat_map(|scope| &scope.spans);
    let described = spans.map(|span| {
        let events: String = span.events.iter().map(|event| format!(" [{}]", event.name)).collect();
        format!("{service}: {}{events}", span.name)
    });
    described.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_metrics_leave_the_process() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let collector = Collector::default();
    let service = TraceServiceServer::new(collector.clone());
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));

    let settings = TelemetrySettings {
        otlp_endpoint: format!("http://{address}"),
        sampling_ratio: 1.0,
        // Spans do not depend on it; warnings are events because they are logged.
        log_level: "warn".to_owned(),
        service_version: "9.9".to_owned(),
        log_stderr: false,
        ..TelemetrySettings::default()
    };
    let telemetry = init(&settings).unwrap();
    assert!(matches!(init(&settings), Err(TelemetryError::AlreadySet)));

    let (order, payment) = (telemetry.role("order"), telemetry.role("payment"));
    let parent = order.start(SpanKind::Server, || "create".into(), &TraceContext::NONE);
    let child = payment.start(SpanKind::Consumer, || "charge".into(), parent.context());
    for role in [&order, &payment] {
        let work =
            role.trace(work_span!("deliver", otel.name = format!("deliver of {}", role.role())), parent.context());
        work.run(async {
            tracing::info!("no event");
            tracing::warn!("it takes long");
        })
        .await;
    }
    drop((child, parent));

    let histogram = meter().f64_histogram("test.call.duration").with_unit("s").build();
    histogram.record(0.0007, &[KeyValue::new("rpc.method", "a.B/C")]);
    meter().u64_counter("test.calls").build().add(2, &[]);
    let text = telemetry.prometheus_text();
    for line in [
        "test_call_duration_seconds_bucket{rpc_method=\"a.B/C\",le=\"0.0005\"} 0",
        "test_call_duration_seconds_bucket{rpc_method=\"a.B/C\",le=\"0.001\"} 1",
        "test_call_duration_seconds_bucket{rpc_method=\"a.B/C\",le=\"30\"} 1",
        "test_calls_total 2",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is missing in\n{text}");
    }

    telemetry.shutdown(Duration::from_secs(5)).await;
    let seen: BTreeSet<_> = collector.0.lock().unwrap().iter().flat_map(described).collect();
    let expected = [
        "order openorder 9.9: create",
        "order openorder 9.9: deliver of order [it takes long]",
        "payment openorder 9.9: charge",
        "payment openorder 9.9: deliver of payment [it takes long]",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);

    // Work that still drains keeps valid contexts.
    let late = order.start(SpanKind::Server, || "late".into(), &TraceContext::NONE);
    assert!(late.context().is_valid());
}
