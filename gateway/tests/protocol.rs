//! What the gateway says to requests that are not quite gRPC, or more of it than a method takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;

use http::{Method, Request, StatusCode};
use openorder_rpc::reason_of;
use support::raw::{Raw, frame, framed};
use support::{CREATE_ORDER, GET_ORDER, Running, WATCH_ORDER, call, caller, gateway, orders, settings};
use tonic::{Code, Status};

async fn both() -> (Running, Running) {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    (orders, gateway)
}

fn seen(status: &Status) -> (Code, Option<String>) {
    (status.code(), reason_of(status))
}

fn reason(code: Code, reason: &str) -> (Code, Option<String>) {
    (code, Some(reason.to_owned()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_begins_like_grpc_is_another_protocol() {
    let (orders, gateway) = both().await;
    let raw = Raw::connect(&gateway).await;
    for media_type in ["application/grpc+json", "application/grpc-webs", "application/connect+json", "text/plain", ""] {
        let answer = raw.call(GET_ORDER, &[("content-type", media_type)], &framed("hello")).await.head().await;
        assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media_type}");
        let accepted = answer.headers()["accept"].to_str().unwrap().to_owned();
        assert!(accepted.split(", ").any(|one| one == "application/grpc+proto"), "{accepted}");
        let text = answer.into_body().data().await.unwrap().unwrap();
        assert!(std::str::from_utf8(&text).unwrap().contains("UNSUPPORTED_MEDIA_TYPE"), "{text:?}");
    }
    assert_eq!(orders.begun(), 0);
    for media_type in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
        let answer = raw.call(GET_ORDER, &[("content-type", media_type)], &framed("hello")).await;
        assert_eq!(answer.status().await.code(), Code::Ok, "{media_type}");
    }
    for (method, path, allowed) in
        [(Method::GET, CREATE_ORDER, "POST"), (Method::GET, WATCH_ORDER, "POST"), (Method::PUT, GET_ORDER, "GET, POST")]
    {
        let got = raw.request(Request::builder().method(method).uri(format!("http://localhost{path}"))).await;
        assert_eq!((got.status(), got.headers()["allow"].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, allowed));
    }
}

#[tokio::test]
async fn a_unary_call_has_exactly_one_message() {
    let (orders, gateway) = both().await;
    let raw = Raw::connect(&gateway).await;
    let one = framed("hello");
    let cases = [
        ("two messages", [&one[..], &one].concat()),
        ("none", Vec::new()),
        ("a cut prefix", one[..3].to_vec()),
        ("a cut message", one[..7].to_vec()),
        ("bytes behind", [&one[..], b"x"].concat()),
        ("an unknown flag", frame(2, b"")),
        ("compressed, nobody says how", frame(1, b"")),
        ("a length beyond all", b"\0\xff\xff\xff\xff".to_vec()),
    ];
    for (name, body) in cases {
        let status = raw.call(GET_ORDER, &[], &body).await.status().await;
        assert_eq!(seen(&status), reason(Code::InvalidArgument, "MALFORMED_REQUEST"), "{name}: {status:?}");
    }
    assert_eq!(orders.begun(), 0, "no service saw any of them");
    assert_eq!(raw.call(GET_ORDER, &[], &one).await.status().await.code(), Code::Ok);
}

#[tokio::test]
async fn gzip_is_taken_off_within_the_limit_and_others_are_named() {
    let (orders, gateway) = both().await;
    let raw = Raw::connect(&gateway).await;
    let gzipped = [("grpc-encoding", "gzip")];
    let message = &framed("headers")[5..];
    let call = raw.call(GET_ORDER, &gzipped, &frame(1, &gzip(message))).await;
    assert_eq!(call.status().await.code(), Code::Ok);
    assert_eq!(orders.begun(), 1);
    assert_eq!(raw.call(GET_ORDER, &gzipped, &framed("plain")).await.status().await.code(), Code::Ok);
    let bomb = frame(1, &gzip(&vec![0; 100_000_000]));
    assert!(bomb.len() < 200_000);
    let status = raw.call(GET_ORDER, &gzipped, &bomb).await.status().await;
    assert_eq!(seen(&status), reason(Code::ResourceExhausted, "REQUEST_TOO_LARGE"));
    let status = raw.call(GET_ORDER, &gzipped, &frame(1, b"no gzip")).await.status().await;
    assert_eq!(seen(&status), reason(Code::InvalidArgument, "MALFORMED_REQUEST"));
    let answer = raw.call(GET_ORDER, &[("grpc-encoding", "zstd")], &frame(1, b"")).await.head().await;
    assert_eq!(answer.headers()["grpc-accept-encoding"], "identity,gzip");
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(seen(&status), reason(Code::Unimplemented, "UNSUPPORTED_ENCODING"));
}

#[tokio::test]
async fn metadata_has_a_limit_that_the_answer_names() {
    let (orders, gateway) = both().await;
    let raw = Raw::connect(&gateway).await;
    for bytes in [17_000, 70_000, 120_000] {
        let value = "x".repeat(bytes);
        let status = raw.call(GET_ORDER, &[("x-large", &value)], &framed("hello")).await.status().await;
        assert_eq!(seen(&status), reason(Code::ResourceExhausted, "METADATA_TOO_LARGE"), "{bytes}");
        assert!(status.message().contains("16384 bytes"), "{}", status.message());
    }
    assert_eq!(orders.begun(), 0);
    let value = "x".repeat(15_000);
    assert_eq!(raw.call(GET_ORDER, &[("x-large", &value)], &framed("hello")).await.status().await.code(), Code::Ok);
}

#[tokio::test]
async fn a_time_that_is_over_is_a_deadline_wherever_the_service_is() {
    let orders = orders().await;
    for in_memory in [false, true] {
        let mut settings = settings();
        settings.client.in_memory = in_memory;
        let gateway = gateway(&orders.url(), &orders.url(), settings).await;
        assert_eq!(call(&caller(&gateway).await, GET_ORDER, "hello").await.unwrap().into_inner(), "hello");
        let raw = Raw::connect(&gateway).await;
        let begun = orders.begun();
        for timeout in ["0n", "1n"].repeat(10) {
            let call = raw.call(GET_ORDER, &[("grpc-timeout", timeout)], &framed("hello")).await;
            assert_eq!(seen(&call.status().await), reason(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{timeout}");
        }
        assert_eq!(orders.begun(), begun, "nobody waits for it, so no service sees it");
        for timeout in ["0n", "1n", "1u", "20u", "100u", "300u", "1m", "3m"].repeat(10) {
            let call = raw.call(GET_ORDER, &[("grpc-timeout", timeout)], &framed("sleep 1000")).await;
            let status = call.status().await;
            assert_eq!(seen(&status), reason(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{timeout}, {in_memory}");
        }
    }
}
