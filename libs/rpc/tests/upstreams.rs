//! Upstreams that are away, come back, fail for a moment, or break off; servers that go down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use openorder_rpc::status::retry_after_of;
use openorder_rpc::{
    CallContext, ConnectionSettings, Outbound, Refusal, Resend, Resume, RpcClientSettings, RpcServerSettings, Upstream,
    channel, listen, reason_of,
};
use openorder_telemetry::RoleTelemetry;
use openorder_testing::free_address;
use support::{call, client, client_settings, service_call, start, start_at, start_quiet, text};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

#[tokio::test]
async fn a_dead_upstream_is_unavailable_and_says_when_to_come_again() {
    let address = free_address().to_string();
    let started = Instant::now();
    let dead = client(&format!("http://{address}"));
    let refused = call(dead.clone(), "Sleep", service_call().request(text(1))).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::Unavailable, Some("UPSTREAM_UNAVAILABLE")));
    assert_eq!(retry_after_of(&refused), Some(Duration::from_secs(1)));
    assert!(!refused.message().contains("127.0.0.1") && !refused.message().contains("refused"), "no internals");
    assert!(started.elapsed() < Duration::from_secs(2));
    // The same channel serves again once the upstream is there.
    let server = start_at(&address, RoleTelemetry::disabled("echo"), RpcServerSettings::default()).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(call(dead, "Sleep", service_call().request(text(1))).await.unwrap(), "slept");
    server.stop().await;
}

#[tokio::test]
async fn a_restarted_upstream_is_found_again() {
    let address = free_address().to_string();
    let url = format!("http://{address}");
    let channel = client(&url);
    for _ in 0..3 {
        let server = start_at(&address, RoleTelemetry::disabled("echo"), RpcServerSettings::default()).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        for _ in 0..5 {
            assert_eq!(call(channel.clone(), "Sleep", service_call().request(text(1))).await.unwrap(), "slept");
        }
        let started = Instant::now();
        server.stop().await;
        assert!(started.elapsed() < Duration::from_secs(2), "an idle connection does not hold the server up");
    }
}

#[tokio::test]
async fn a_call_waits_for_an_upstream_that_is_about_to_come() {
    let address = free_address().to_string();
    let settings = RpcClientSettings { attempts_max: 20, backoff_min_ms: 60, ..client_settings() };
    let channel = channel(&RoleTelemetry::disabled("test"), &format!("http://{address}"), &settings).unwrap();
    // Not retry safe: what was never sent may be sent.
    let waiting = tokio::spawn(call(channel, "Sleep", service_call().request(text(1))));
    tokio::time::sleep(Duration::from_millis(150)).await;
    let server = start_at(&address, RoleTelemetry::disabled("echo"), RpcServerSettings::default()).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "slept");
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 1);
    server.stop().await;
}

#[tokio::test]
async fn only_a_retry_safe_call_is_sent_again() {
    let server = start_quiet().await;
    let refused = call(client(&server.url()), "Flaky", service_call().request(text(2))).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("DEPENDENCY_UNAVAILABLE"));
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 1);
    let answer = call(client(&server.url()), "Flaky", service_call().retry_safe_request(text(3))).await.unwrap();
    assert_eq!(answer, "3", "the fourth call: one above, then three attempts");
    server.stop().await;
}

#[tokio::test]
async fn attempts_and_budget_are_bounds() {
    let server = start_quiet().await;
    let attempts = async |settings: RpcClientSettings| {
        server.echo.calls.store(0, Ordering::SeqCst);
        let channel = channel(&RoleTelemetry::disabled("test"), &server.url(), &settings).unwrap();
        let refused = call(channel, "Flaky", service_call().retry_safe_request(text(1_000))).await.unwrap_err();
        assert_eq!(reason_of(&refused).as_deref(), Some("DEPENDENCY_UNAVAILABLE"));
        server.echo.calls.load(Ordering::SeqCst)
    };
    assert_eq!(attempts(RpcClientSettings { attempts_max: 3, ..client_settings() }).await, 3);
    let no_budget = RpcClientSettings { retry_percent: 0, retries_per_second_min: 0, ..client_settings() };
    assert_eq!(attempts(no_budget).await, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_call_waits_for_room_until_its_deadline_where_the_settings_say_so() {
    let server = start_quiet().await;
    let settings = RpcClientSettings { waits_for_room: true, attempts_max: 1, ..client_settings() };
    let patient = channel(&RoleTelemetry::disabled("test"), &server.url(), &settings).unwrap();
    let within = |milliseconds| {
        let deadline = Some(Instant::now() + Duration::from_millis(milliseconds));
        CallContext { deadline, ..service_call() }
    };
    // Not retry safe, and more often than a call is attempted: it was never taken up.
    let answer = call(patient.clone(), "Full", within(60_000).request(text(30))).await.unwrap();
    assert_eq!(answer, "30");

    let never = text(1_000_000);
    let begin = Instant::now();
    let refused = call(patient.clone(), "Full", within(400).request(never.clone())).await.unwrap_err();
    assert!(matches!(reason_of(&refused).as_deref(), Some("OVERLOADED" | "DEADLINE_EXCEEDED")), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(server.echo.calls.load(Ordering::SeqCst) > 32, "it was tried again");

    server.echo.calls.store(0, Ordering::SeqCst);
    // No waiting makes room for what names no time; and who does not wait hears of it at once.
    let quota = call(patient, "Quota", within(60_000).request(text(0))).await.unwrap_err();
    assert_eq!(reason_of(&quota).as_deref(), Some("RESOURCE_EXHAUSTED"));
    let impatient = call(client(&server.url()), "Full", within(60_000).retry_safe_request(never)).await.unwrap_err();
    assert_eq!(reason_of(&impatient).as_deref(), Some("OVERLOADED"));
    assert_eq!(server.echo.calls.load(Ordering::SeqCst), 2);
    server.stop().await;
}

#[tokio::test]
async fn a_caller_counts_what_is_sent_again_and_stops_it() {
    let server = start_quiet().await;
    let settings = RpcClientSettings { attempts_max: 20, ..client_settings() };
    let upstream = Upstream::new(&server.url(), &settings).unwrap();
    let mut again = 0;
    let outbound = Outbound {
        path: http::uri::PathAndQuery::from_static("/test.Echo/Flaky"),
        headers: http::HeaderMap::from_iter([
            (http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc")),
            (http::header::TE, http::HeaderValue::from_static("trailers")),
        ]),
        // A message with a field of one text: "9".
        body: bytes::Bytes::from_static(b"\0\0\0\0\x03\x0a\x01\x39"),
        deadline: Some(Instant::now() + Duration::from_secs(60)),
        body_deadline: None,
        resend: Resend::Safe,
        batchable: false,
    };
    let goes_on = || {
        again += 1;
        again <= 3
    };
    let answer = upstream.call_while(outbound, goes_on).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "14", "the refusal that it stopped at");
    assert_eq!((again, server.echo.calls.load(Ordering::SeqCst)), (4, 4));
    server.stop().await;
}

#[tokio::test]
async fn a_stream_arrives_as_it_is_made_with_its_last_status() {
    let server = start_quiet().await;
    let read = async |number: u32| {
        let mut grpc = tonic::client::Grpc::new(client(&server.url()));
        grpc.ready().await.unwrap();
        let path = "/test.Echo/Count".parse().unwrap();
        let codec = ProstCodec::<String, String>::default();
        let answer = grpc.server_streaming(Request::new(text(number)), path, codec).await.unwrap();
        answer.into_inner().collect::<Vec<_>>().await
    };
    let even: Vec<_> = read(4).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(even, ["0", "1", "2", "3"]);
    let mut odd = read(3).await;
    let last = odd.pop().unwrap().unwrap_err();
    // A status that a library made gets its reason on the way out, in trailers too.
    assert_eq!((last.code(), reason_of(&last).as_deref()), (Code::NotFound, Some("NOT_FOUND")));
    assert!(odd.len() == 3 && odd.iter().all(Result::is_ok));
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_opened_again_within_its_bounds() {
    let server = start_quiet().await;
    let follow = async |refusals: u32, number: u32, enough: usize| {
        let (opened, mut answers, mut interruptions) = (AtomicU32::new(0), Vec::new(), 0);
        let open = || {
            let is_refused = opened.fetch_add(1, Ordering::SeqCst) < refusals;
            let channel = client(&server.url());
            async move {
                if is_refused {
                    return Err(Refusal::upstream_unavailable(Duration::from_millis(1)));
                }
                let mut grpc = tonic::client::Grpc::new(channel);
                grpc.ready().await.unwrap();
                let path = "/test.Echo/Count".parse().unwrap();
                let codec = ProstCodec::<String, String>::default();
                grpc.server_streaming(Request::new(text(number)), path, codec).await.map(Response::into_inner)
            }
        };
        let each = |answer: String| {
            answers.push(answer);
            if answers.len() < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let resume = Resume { pause: Duration::from_millis(1), times_max: 3, deadline: None };
        let ended: Result<(), Status> = resume.follow(open, each, |_| interruptions += 1).await;
        (ended.map_err(|status| status.code()), answers.len(), interruptions)
    };
    assert_eq!(follow(3, 4, usize::MAX).await, (Ok(()), 4, 3));
    assert_eq!(follow(4, 4, usize::MAX).await, (Err(Code::Unavailable), 0, 3), "no more often than it may");
    assert_eq!(follow(0, 4, 2).await, (Ok(()), 2, 0), "it was enough");
    assert_eq!(follow(0, 3, usize::MAX).await, (Err(Code::NotFound), 3, 0), "another refusal is one");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_down_lets_calls_end() {
    let server = start_quiet().await;
    let channel = client(&server.url());
    let running = tokio::spawn(call(channel, "Sleep", service_call().request(text(300))));
    while server.echo.calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let address = server.address;
    server.shutdown.trigger();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
    assert_eq!(running.await.unwrap().unwrap(), "slept");
    server.stop().await;
}

#[tokio::test]
async fn a_drain_is_bounded_and_what_it_cuts_is_told() {
    let connection = ConnectionSettings { drain_timeout_ms: 100, ..ConnectionSettings::default() };
    let server = start(RoleTelemetry::disabled("echo"), RpcServerSettings { connection, ..Default::default() }).await;
    let running = tokio::spawn(call(client(&server.url()), "Sleep", service_call().request(text(60_000))));
    while server.echo.calls.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(2));
    let cut = running.await.unwrap().unwrap_err();
    assert_eq!((cut.code(), reason_of(&cut).as_deref()), (Code::Unavailable, Some("UPSTREAM_UNAVAILABLE")));
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let listener = listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = listen(&address).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
}

#[test]
fn what_is_no_upstream_address_is_refused() {
    let role = RoleTelemetry::disabled("test");
    for url in ["", "127.0.0.1:1", "https://127.0.0.1:1", "http://", "http://127.0.0.1:1/path"] {
        assert!(channel(&role, url, &client_settings()).is_err(), "{url}");
    }
    assert!(channel(&role, "http://localhost:1/", &client_settings()).is_ok());
}
