//! A provider of text messages or messages to apps: an HTTP server on loopback that answers as a test wants it to.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::post,
};
use openorder_notification::HttpProviderSettings;
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) at: Instant,
    pub(crate) idempotency_key: String,
    pub(crate) authorization: String,
    pub(crate) message: Value,
}

/// What the provider says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Say {
    /// This status.
    Status(u16),
    /// This status, and this many seconds to wait.
    After(u16, u64),
    /// Nothing for a long time.
    Nothing,
}

type Policy = Arc<dyn Fn(&Posted, usize) -> Say + Send + Sync>;

#[derive(Clone)]
struct Shared {
    posted: Arc<Mutex<Vec<Posted>>>,
    policy: Policy,
}

/// The server; it stands until it is dropped.
pub(crate) struct HttpProvider {
    url: String,
    shared: Shared,
    serving: AbortHandle,
}

impl HttpProvider {
    /// Answers by request and number, from 1.
    pub(crate) async fn start(policy: impl Fn(&Posted, usize) -> Say + Send + Sync + 'static) -> Self {
        let shared = Shared { posted: Arc::default(), policy: Arc::new(policy) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/messages", listener.local_addr().unwrap());
        let app = Router::new().route("/messages", post(take)).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }).abort_handle();
        Self { url, shared, serving }
    }

    /// Settings that reach it.
    pub(crate) fn settings(&self) -> HttpProviderSettings {
        HttpProviderSettings {
            url: self.url.clone(),
            bearer_token: "a-token".into(),
            timeout_ms: 500,
            ..HttpProviderSettings::default()
        }
    }

    /// All requests, in their order.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().unwrap().clone()
    }
}

impl Drop for HttpProvider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, Json(message): Json<Value>) -> Response {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default().to_owned();
    let posted = Posted {
        at: Instant::now(),
        idempotency_key: header("idempotency-key"),
        authorization: header("authorization"),
        message,
    };
    let number = {
        let mut all = shared.posted.lock().unwrap();
        all.push(posted.clone());
        all.len()
    };
    let said =
        |status, to: &Value| (StatusCode::from_u16(status).unwrap(), format!("about {to}: {}", "x".repeat(9_000)));
    match (shared.policy)(&posted, number) {
        Say::Status(status) => said(status, &posted.message["to"]).into_response(),
        Say::After(status, seconds) => {
            let (status, text) = said(status, &posted.message["to"]);
            (status, [(RETRY_AFTER, seconds.to_string())], text).into_response()
        }
        Say::Nothing => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            StatusCode::NO_CONTENT.into_response()
        }
    }
}
