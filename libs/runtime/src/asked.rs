//! What an admin port says of its process, to whoever started it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an admin port may take to answer.
const ANSWER_BOUND: Duration = Duration::from_secs(2);

/// The part of the answer of `/readyz` that is looked at.
#[derive(Deserialize)]
struct ReadyAnswer {
    status: String,
    dependencies: Vec<DependencyState>,
}

#[derive(Deserialize)]
struct DependencyState {
    role: String,
    name: String,
    state: String,
}

/// Whether the process with this admin port has everything, not only what it needs to answer calls, but for these roles,
/// which nobody serves and the gateway misses. `false` also where nobody answers within 2 s.
pub async fn has_all_but(admin: SocketAddr, absent: &[&str]) -> bool {
    let answered = tokio::time::timeout(ANSWER_BOUND, get(admin, "/readyz")).await;
    let Some(answer) = answered.ok().flatten() else { return false };
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).is_ok_and(|answer: ReadyAnswer| is_complete_without(&answer, absent))
}

/// The whole answer of an admin port, its head included; `None` when nobody answers.
pub async fn get(admin: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    String::from_utf8(answer).ok()
}

fn is_complete_without(answer: &ReadyAnswer, absent: &[&str]) -> bool {
    let is_absent = |one: &DependencyState| one.role == "gateway" && absent.contains(&one.name.as_str());
    let mut lacks = answer.dependencies.iter().filter(|one| one.state != "ready");
    ["ready", "degraded"].contains(&answer.status.as_str()) && lacks.all(is_absent)
}
