//! A caller that speaks HTTP/1.1 as curl does: text over a socket.

use std::time::Duration;

use http::HeaderMap;
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Running;

/// Longer than anything that a test waits for.
const BOUND: Duration = Duration::from_secs(20);

/// A connection, protected or not.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub struct Http1 {
    stream: Box<dyn Stream>,
    /// Arrived, and not read yet.
    arrived: Vec<u8>,
}

/// An answer with its whole body.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answered {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The fields that a refusal over REST names as wrong.
    pub fn wrong_fields(&self) -> Vec<String> {
        let json = self.json();
        let details = json["details"].as_array().unwrap();
        let bad = details.iter().find(|detail| detail["@type"].as_str().unwrap().ends_with("BadRequest"));
        let violations = bad.unwrap()["fieldViolations"].as_array().unwrap();
        violations.iter().map(|violation| violation["field"].as_str().unwrap().to_owned()).collect()
    }

    /// The reason of a refusal over REST.
    pub fn reason(&self) -> String {
        self.json()["details"][0]["reason"].as_str().unwrap_or_default().to_owned()
    }
}

impl Http1 {
    pub async fn connect(server: &Running) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    pub fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { stream: Box::new(stream), arrived: Vec::new() }
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// A request; a body of nothing has no length.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.send_raw(&[head.as_bytes(), body].concat()).await;
    }

    pub async fn call(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answered {
        self.send(method, path, headers, body).await;
        self.answer().await
    }

    pub async fn get(&mut self, path: &str) -> Answered {
        self.call("GET", path, &[], b"").await
    }

    pub async fn post(&mut self, path: &str, body: &Json) -> Answered {
        self.call("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes()).await
    }

    pub async fn answer(&mut self) -> Answered {
        let (status, headers) = self.head().await;
        let body = match headers.get("content-length") {
            Some(length) => self.take(length.to_str().unwrap().parse().unwrap()).await,
            None if headers.contains_key("transfer-encoding") => {
                let mut body = Vec::new();
                while let Some(chunk) = self.chunk().await {
                    body.extend(chunk);
                }
                body
            }
            None => Vec::new(),
        };
        Answered { status, headers, body }
    }

    /// Status and headers of the next answer.
    pub async fn head(&mut self) -> (u16, HeaderMap) {
        let head = self.until(b"\r\n\r\n").await;
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
        };
        (status, lines.map(header).collect())
    }

    /// The next chunk of a body whose length nobody knows; none at its end.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n").await;
        let digits = std::str::from_utf8(&line).unwrap().trim();
        let length = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{digits:?} is no length"));
        let chunk = self.take(length).await;
        self.until(b"\r\n").await;
        (length > 0).then_some(chunk)
    }

    /// Whether the other side has ended the connection, within the time.
    pub async fn is_over_within(&mut self, bound: Duration) -> bool {
        tokio::time::timeout(bound, async { while self.read().await > 0 {} }).await.is_ok()
    }

    async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.arrived.windows(end.len()).position(|window| window == end) {
                return self.arrived.drain(..at + end.len()).collect();
            }
            assert!(self.read().await > 0, "the connection ended: {:?}", String::from_utf8_lossy(&self.arrived));
        }
    }

    async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.arrived.len() < length {
            assert!(self.read().await > 0, "the connection ended");
        }
        self.arrived.drain(..length).collect()
    }

    async fn read(&mut self) -> usize {
        let mut bytes = vec![0; 65_536];
        let read = tokio::time::timeout(BOUND, self.stream.read(&mut bytes)).await.expect("an answer");
        let length = read.unwrap_or(0);
        self.arrived.extend_from_slice(&bytes[..length]);
        length
    }
}
