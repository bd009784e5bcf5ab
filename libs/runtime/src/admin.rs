//! The admin port: is the process alive, is it ready, what does it measure, which settings does it run with.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::readiness::{Condition, DependencyState, Readiness};
use crate::shutdown::Shutdown;

/// The text format of Prometheus, version 0.0.4.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

struct Admin {
    readiness: Readiness,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
    config: Option<String>,
    shutdown: Shutdown,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct ReadyAnswer {
    /// `ready`, `degraded` (calls are answered, background work waits), `waiting` or `stopping`.
    status: &'static str,
    dependencies: Vec<DependencyState>,
}

/// Serves `/livez` (200 as long as the process can answer), `/readyz` (200 when every role
/// answers calls, else 503; JSON that names what is missing), `/metrics` (what the closure returns) and `/config` (the
/// document that is given, JSON and without secrets; 404 without one) until a stop is requested. The port has no
/// authentication: bind it where only operators reach it.
///
/// # Errors
/// When the listener fails.
pub async fn serve_admin(
    listener: TcpListener,
    readiness: Readiness,
    metrics: impl Fn() -> String + Send + Sync + 'static,
    config: Option<String>,
    shutdown: Shutdown,
) -> io::Result<()> {
    let stop = shutdown.requested_owned();
    axum::serve(listener, router(readiness, metrics, config, shutdown)).with_graceful_shutdown(stop).await
}

/// The routes of the admin port.
pub fn router(
    readiness: Readiness,
    metrics: impl Fn() -> String + Send + Sync + 'static,
    config: Option<String>,
    shutdown: Shutdown,
) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/config", get(config_document))
        .with_state(Arc::new(Admin { readiness, metrics: Box::new(metrics), config, shutdown }))
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let (code, status) = match admin.readiness.condition() {
        _ if admin.shutdown.is_requested() => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        Condition::Ready => (StatusCode::OK, "ready"),
        Condition::Degraded => (StatusCode::OK, "degraded"),
        Condition::Waiting => (StatusCode::SERVICE_UNAVAILABLE, "waiting"),
    };
    let dependencies = admin.readiness.snapshot();
    (code, Json(ReadyAnswer { status, dependencies })).into_response()
}

async fn metrics_text(State(admin): State<Arc<Admin>>) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], (admin.metrics)()).into_response()
}

async fn config_document(State(admin): State<Arc<Admin>>) -> Response {
    match &admin.config {
        Some(document) => ([(header::CONTENT_TYPE, JSON)], document.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
