//! Requests that are not what a gRPC client sends: too large, cut, empty, or no gRPC at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use openorder_rpc::{Outbound, RpcServerSettings, Upstream, UpstreamBody, reason_of};
use openorder_telemetry::RoleTelemetry;
use support::{client_settings, start};
use tonic::{Code, Status};

async fn send(url: &str, content_type: &'static str, body: Bytes) -> Response<UpstreamBody> {
    let upstream = Upstream::new(url, &client_settings()).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    let deadline = Some(Instant::now() + Duration::from_secs(5));
    let path = "/test.Echo/Sleep".parse().unwrap();
    let outbound = Outbound { path, headers, body, deadline, body_deadline: deadline, retry_safe: false };
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
