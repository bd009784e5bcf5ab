//! A caller that speaks HTTP/2 itself, and so can do what no gRPC client does.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::Running;

/// Longer than anything that a test waits for.
const BOUND: Duration = Duration::from_secs(20);

/// A connection of one's own; it ends when it is dropped.
pub struct Raw {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Raw {
    pub async fn connect(server: &Running) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await
    }

    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.max_header_list_size(1 << 20).initial_max_send_streams(10_000);
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        Self { sender, driver: tokio::spawn(async move { drop(connection.await) }) }
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.driver.is_finished()
    }

    /// The head of a call; the headers stand instead of those of a gRPC client.
    pub async fn begin(&self, path: &str, headers: &[(&str, &str)]) -> RawCall {
        let mut request = Request::post(format!("http://localhost{path}"));
        let given = |name: &str| headers.iter().any(|(known, _)| *known == name);
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
            if !given(name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (answer, body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        RawCall { answer, body }
    }

    /// A request without a body, whatever it is.
    pub async fn request(&self, request: http::request::Builder) -> Response<RecvStream> {
        let mut sender = self.sender.clone().ready().await.unwrap();
        let (answer, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        tokio::time::timeout(BOUND, answer).await.expect("an answer").unwrap()
    }

    /// A whole call, with this body as it is.
    pub async fn call(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> RawCall {
        let mut call = self.begin(path, headers).await;
        call.send(body, true);
        call
    }
}

/// A call under way; it is cancelled when it is dropped.
pub struct RawCall {
    answer: ResponseFuture,
    body: SendStream<Bytes>,
}

impl RawCall {
    pub fn send(&mut self, bytes: &[u8], ends: bool) {
        // An answer that came early ends the request.
        drop(self.body.send_data(Bytes::copy_from_slice(bytes), ends));
    }

    pub async fn head(self) -> Response<RecvStream> {
        tokio::time::timeout(BOUND, self.answer).await.expect("an answer").unwrap()
    }

    /// How the call ended.
    pub async fn status(self) -> Status {
        self.status_within(BOUND).await.expect("an answer")
    }

    #[expect(clippy::disallowed_methods, reason = "for an answer without any")]
    pub async fn status_within(self, bound: Duration) -> Option<Status> {
        let Self { answer, body } = self;
        let status = tokio::time::timeout(bound, async {
            let (head, mut received) = answer.await.unwrap().into_parts();
            if let Some(status) = Status::from_header_map(&head.headers) {
                return status;
            }
            while let Some(data) = received.data().await {
                let length = data.unwrap().len();
                let _ = received.flow_control().release_capacity(length);
            }
            let trailers: HeaderMap = received.trailers().await.unwrap().unwrap_or_default();
            Status::from_header_map(&trailers).unwrap_or_else(|| Status::new(Code::Unknown, "no status"))
        });
        let status = status.await.ok();
        drop(body);
        status
    }
}

/// A message as gRPC frames it: a text in the field that the services of the tests read.
pub fn framed(text: &str) -> Vec<u8> {
    let mut message = vec![0x0a];
    prost::encoding::encode_varint(text.len() as u64, &mut message);
    message.extend(text.as_bytes());
    frame(0, &message)
}

/// Any bytes, framed.
pub fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = vec![flag];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed
}
