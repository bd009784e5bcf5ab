//! The admin port as a probe and a scraper see it.
#![allow(clippy::unwrap_used)]

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use openorder_runtime::{Readiness, Shutdown, admin, has_all_but, serve_admin};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

struct World {
    readiness: Readiness,
    shutdown: Shutdown,
    config: Option<String>,
}

impl World {
    fn new() -> Self {
        Self { readiness: Readiness::new(), shutdown: Shutdown::new(), config: None }
    }

    async fn get(&self, path: &str) -> (StatusCode, String, Vec<u8>) {
        let metrics = || "orders_total 7\n".to_owned();
        let router = admin::router(self.readiness.clone(), metrics, self.config.clone(), self.shutdown.clone());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, kind, body.to_vec())
    }

    async fn readyz(&self) -> (StatusCode, Value) {
        let (status, _, body) = self.get("/readyz").await;
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn alive_does_not_mean_ready() {
    let world = World::new();
    assert_eq!(world.get("/livez").await.0, StatusCode::OK);
    let (status, answer) = world.readyz().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer, json!({"status": "waiting", "dependencies": []}));
}

#[tokio::test]
async fn readyz_shows_each_dependency() {
    let world = World::new();
    let postgres = world.readiness.dependency("order", "postgres");
    let kafka = world.readiness.dependency("order", "kafka");
    postgres.ready();
    kafka.down("no broker answers");
    let (status, answer) = world.readyz().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer,
        json!({"status": "waiting", "dependencies": [
            {"role": "order", "name": "postgres", "need": "required", "state": "ready", "detail": ""},
            {"role": "order", "name": "kafka", "need": "required", "state": "down", "detail": "no broker answers"},
        ]})
    );

    kafka.ready();
    let (status, answer) = world.readyz().await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["status"], "ready");
}

#[tokio::test]
async fn a_process_that_answers_calls_is_ready_for_them() {
    let world = World::new();
    world.readiness.dependency("order", "postgres").ready();
    let kafka = world.readiness.background("order", "kafka");
    kafka.down("no broker answers");
    let (status, answer) = world.readyz().await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["status"], "degraded");
    assert_eq!(
        answer["dependencies"][1],
        json!({"role": "order", "name": "kafka", "need": "background", "state": "down", "detail": "no broker answers"})
    );
    kafka.ready();
    assert_eq!(world.readyz().await.1["status"], "ready");
}

#[tokio::test]
async fn a_process_that_stops_is_not_ready() {
    let world = World::new();
    world.readiness.dependency("order", "postgres").ready();
    world.shutdown.trigger();
    let (status, answer) = world.readyz().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer["status"], "stopping");
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let (status, kind, body) = World::new().get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(body, b"orders_total 7\n");
}

#[tokio::test]
async fn the_server_answers_on_its_port_and_stops_when_asked() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving =
        tokio::spawn(serve_admin(listener, world.readiness.clone(), String::new, None, world.shutdown.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    world.shutdown.trigger();
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn settings_are_shown_where_they_are_known() {
    let mut world = World::new();
    assert_eq!(world.get("/config").await.0, StatusCode::NOT_FOUND);
    world.config = Some("{\"settings\": []}".to_owned());
    let (status, kind, body) = world.get("/config").await;
    assert_eq!(
        (status, kind.as_str(), body.as_slice()),
        (StatusCode::OK, "application/json", &b"{\"settings\": []}"[..])
    );
}

#[tokio::test]
async fn who_started_a_process_is_told_what_it_lacks_but_for_roles_that_nobody_serves() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = serve_admin(listener, world.readiness.clone(), String::new, None, world.shutdown.clone());
    let serving = tokio::spawn(serving);
    assert!(!has_all_but(address, &[]).await, "it is starting");
    let (kafka, order) = (world.readiness.background("order", "kafka"), world.readiness.background("gateway", "order"));
    kafka.ready();
    order.down("nobody is there");
    assert!(has_all_but(address, &["order"]).await && !has_all_but(address, &["payment"]).await);
    order.ready();
    assert!(has_all_but(address, &[]).await);
    kafka.down("no broker answers");
    assert!(!has_all_but(address, &["kafka", "order"]).await, "calls are answered, and something is missing");
    world.shutdown.trigger();
    serving.await.unwrap().unwrap();
}
