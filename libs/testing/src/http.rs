//! The one HTTP call that tests make of others' servers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(10);

/// The JSON that `http://host:port/path` answers with 200; nothing for any other answer, or none within 10 s. In HTTP/1.0,
/// whose answers end with the connection: a client's library would be built for every test.
pub async fn get_json(url: &str) -> Option<serde_json::Value> {
    let (address, path) = url.strip_prefix("http://")?.split_once('/')?;
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    let answer = tokio::time::timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Some(answer)
    });
    let answer = String::from_utf8(answer.await.ok()??).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split_ascii_whitespace().nth(1).filter(|code| *code == "200")?;
    serde_json::from_str(body).ok()
}
