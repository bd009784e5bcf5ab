//! A collector that does not answer holds nobody up, and a process that ends shows its last lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use openorder_telemetry::{SpanKind, TelemetryError, TelemetrySettings, TraceContext, init};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_collector_bounds_the_end_and_no_line_is_lost() {
    // Takes connections and says nothing.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = std::env::temp_dir().join(format!("openorder-telemetry-{}", std::process::id()));
    let settings = TelemetrySettings {
        otlp_endpoint: format!("http://{}", mute.local_addr().unwrap()),
        sampling_ratio: 1.0,
        log_stderr: false,
        log_directory: directory.to_str().unwrap().to_owned(),
        ..TelemetrySettings::default()
    };
    for (wrong, name) in [
        (TelemetrySettings { otlp_endpoint: "127.0.0.1:4317".to_owned(), ..settings.clone() }, "otlp_endpoint"),
        (TelemetrySettings { log_level: "order=nonsense".to_owned(), ..settings.clone() }, "log_level"),
        (TelemetrySettings { sampling_ratio: 1.5, ..settings.clone() }, "sampling_ratio"),
    ] {
        let Err(TelemetryError::Setting { name: told, .. }) = init(&wrong) else { panic!("{name} was taken") };
        assert_eq!(told, name);
    }
    let telemetry = init(&settings).unwrap();
    let role = telemetry.role("order");
    role.scope(&TraceContext::NONE, async { tracing::info!("the last words") }).await;
    drop(role.start(SpanKind::Server, || "unheard".into(), &TraceContext::NONE));
    let started = Instant::now();
    telemetry.shutdown(Duration::from_millis(500)).await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let lines = std::fs::read_to_string(directory.join("order.log")).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(lines.contains("the last words"), "{lines}");
}
