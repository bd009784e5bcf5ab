//! Requests that are not what a gRPC client sends: too large, cut, empty, or no gRPC at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use openorder_rpc::{Outbound, Resend, RpcServerSettings, Upstream, UpstreamBody, reason_of};
use openorder_telemetry::RoleTelemetry;
use support::{client_settings, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};

async fn send(url: &str, content_type: &'static str, body: Bytes) -> Response<UpstreamBody> {
    let upstream = Upstream::new(url, &client_settings()).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    let deadline = Some(Instant::now() + Duration::from_secs(5));
    let path = "/test.Echo/Sleep".parse().unwrap();
    let outbound =
        Outbound { path, headers, body, deadline, body_deadline: deadline, resend: Resend::Unsent, batchable: false };
    upstream.call(outbound).await.unwrap()
}

async fn status_of(answer: Response<UpstreamBody>) -> Status {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap();
    Status::from_header_map(body.trailers().unwrap_or(&head.headers)).unwrap()
}

fn framed(message: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap());
    body.put_slice(message);
    body.freeze()
}

#[tokio::test]
async fn every_wrong_request_gets_a_reason() {
    let settings = RpcServerSettings { request_body_limit_bytes: 1_000, ..RpcServerSettings::default() };
    let server = support::start(RoleTelemetry::disabled("echo"), settings).await;
    let cases = [
        ("empty", Bytes::new(), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("no protobuf", framed(b"\xff\xff\xff"), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("cut", framed(b"\x0a\x03123").slice(..7), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("compressed", Bytes::from_static(b"\x01\0\0\0\0"), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("unknown flag", Bytes::from_static(b"\x07\0\0\0\0"), Code::InvalidArgument, "MALFORMED_REQUEST"),
        ("too large", framed(&[b'x'; 2_000]), Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
        // Says more than tonic would take, and sends little.
        ("a large claim", Bytes::from_static(b"\0\x7f\xff\xff\xff"), Code::ResourceExhausted, "REQUEST_TOO_LARGE"),
    ];
    for (name, body, code, reason) in cases {
        let status = status_of(send(&server.url(), "application/grpc", body).await).await;
        assert_eq!((status.code(), reason_of(&status).as_deref()), (code, Some(reason)), "{name}: {status:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_as_http_says() {
    let server = start(RoleTelemetry::disabled("echo"), RpcServerSettings::default()).await;
    let answer = send(&server.url(), "application/json", Bytes::from_static(b"{}")).await;
    assert_eq!(answer.status(), http::StatusCode::UNSUPPORTED_MEDIA_TYPE);
    server.stop().await;
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// Begins and cancels so many calls in one breath, then pings; returns the kind of the frame that decides.
async fn cancel_at_once(server: &support::Running, calls: u32) -> u8 {
    let (headers, reset, settings, ping, go_away) = (1, 3, 4, 6, 7);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(settings, 0, 0, &[]));
    for stream in (0..calls).map(|call| 2 * call + 1) {
        // POST, http, "/": entries of the static table; then CANCEL.
        bytes.extend(frame(headers, 5, stream, &[0x83, 0x86, 0x84]));
        bytes.extend(frame(reset, 0, stream, &8_u32.to_be_bytes()));
    }
    bytes.extend(frame(ping, 0, 0, b"are you?"));
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(&bytes).await.unwrap();
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        connection.read_exact(&mut payload).await.unwrap();
        if head[3] == go_away || (head[3] == ping && payload == b"are you?") {
            return head[3];
        }
    }
}

#[tokio::test]
async fn callers_that_give_up_at_once_are_borne_up_to_a_bound() {
    let server = start(RoleTelemetry::disabled("echo"), RpcServerSettings::default()).await;
    assert_eq!(cancel_at_once(&server, 200).await, 6, "the ping is answered");
    assert_eq!(cancel_at_once(&server, 1_000).await, 7, "the connection is ended");
    server.stop().await;
}
