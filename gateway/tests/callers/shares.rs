//! Callers that take more than their part, beside one that does not.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::join_all;
use openorder_rpc::reason_of;
use tonic::Code;

use crate::support::raw::{Raw, framed};
use crate::support::{
    GET_ORDER, HEALTH_CHECK, HEALTH_WATCH, REFLECTION, WATCH_ORDER, call, caller, gateway, orders, settings, until,
    watch,
};

#[tokio::test]
async fn bodies_that_never_come_keep_nobody_out() {
    let orders = orders().await;
    let mut settings = settings();
    // As few places as a slow service has: 70 calls would fill them many times over.
    (settings.admission_in_flight_min, settings.in_flight_requests_max) = (8, 16);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let outside = caller(&gateway).await;
    let mut silent = Vec::new();
    for _ in 0..70 {
        let raw = Raw::connect(&gateway).await;
        silent.push((raw.begin(GET_ORDER, &[]).await, raw));
    }
    for _ in 0..200 {
        assert_eq!(call(&outside, GET_ORDER, "hello").await.unwrap().into_inner(), "hello");
    }
    assert_eq!(watch(&outside, "1 1").await.unwrap().message().await.unwrap().as_deref(), Some("0"));
    assert_eq!(orders.begun(), 201, "a request that is not whole is no call");
}

#[tokio::test]
async fn a_body_has_its_time_to_arrive() {
    let orders = orders().await;
    let mut settings = settings();
    settings.request_read_timeout_ms = 200;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let raw = Raw::connect(&gateway).await;
    let started = Instant::now();
    let status = raw.begin(GET_ORDER, &[]).await.status().await;
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::DeadlineExceeded, Some("REQUEST_TOO_SLOW")));
    assert!(started.elapsed() >= Duration::from_millis(200));
    // One that comes in pieces, in time, is a request like any other.
    let mut call = raw.begin(GET_ORDER, &[]).await;
    for piece in framed("hello").chunks(2) {
        call.send(piece, false);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    call.send(&[], true);
    assert_eq!(call.status().await.code(), Code::Ok);
}

#[tokio::test]
async fn one_connection_has_its_share_of_arriving_requests() {
    let orders = orders().await;
    let mut settings = settings();
    settings.requests_arriving_max = 20;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let raw = Raw::connect(&gateway).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(raw.begin(GET_ORDER, &[]).await);
    }
    let status = raw.begin(GET_ORDER, &[]).await.status().await;
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
    let other = Raw::connect(&gateway).await;
    let mut other_call = other.begin(GET_ORDER, &[]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    other_call.send(&framed("hello"), true);
    assert_eq!(other_call.status().await.code(), Code::Ok);
    // Whoever goes away gives its part back.
    drop(held);
    until(async || {
        let mut call = raw.begin(GET_ORDER, &[]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        call.send(&framed("hello"), true);
        call.status().await.code() == Code::Ok
    })
    .await;
}

#[tokio::test]
async fn bytes_of_requests_in_memory_are_bounded() {
    let orders = orders().await;
    let mut settings = settings();
    (settings.request_body_limit_bytes, settings.request_bytes_in_flight_max) = (100_000, 400_000);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let outside = caller(&gateway).await;
    let raw = Raw::connect(&gateway).await;
    let mut held = Vec::new();
    // All but the last bytes of two and a half times its share.
    for _ in 0..5 {
        let mut call = raw.begin(GET_ORDER, &[]).await;
        call.send(&framed(&"x".repeat(90_000))[..90_000], false);
        held.push(call);
    }
    assert_eq!(call(&outside, GET_ORDER, "x".repeat(50_000)).await.unwrap().into_inner().len(), 50_000);
    let mut refused = 0;
    for call in held {
        let status = call.status_within(Duration::from_millis(300)).await;
        refused += u32::from(status.is_some_and(|status| reason_of(&status).as_deref() == Some("OVERLOADED")));
    }
    assert!(refused > 0, "a share of 200,000 bytes cannot hold 450,000");
}

#[tokio::test]
async fn one_connection_has_its_share_of_streams() {
    let orders = orders().await;
    let mut settings = settings();
    settings.streams_max = 20;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let raw = Raw::connect(&gateway).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut call = raw.begin(WATCH_ORDER, &[]).await;
        call.send(&framed("1000000 10"), true);
        held.push(call);
    }
    until(async || orders.begun() == 10).await;
    let mut more = raw.begin(WATCH_ORDER, &[]).await;
    more.send(&framed("1000000 10"), true);
    let status = more.status().await;
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
    let outside = caller(&gateway).await;
    assert_eq!(watch(&outside, "1 1").await.unwrap().message().await.unwrap().as_deref(), Some("0"));
}

#[tokio::test]
async fn health_is_told_whoever_watches_and_calls() {
    let orders = orders().await;
    let mut settings = settings();
    (settings.streams_max, settings.in_flight_requests_max, settings.requests_arriving_max) = (20, 1, 1);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let raw = Raw::connect(&gateway).await;
    let mut held = Vec::new();
    for path in [HEALTH_WATCH, WATCH_ORDER].repeat(5) {
        let text = if path == WATCH_ORDER { "1000000 10" } else { "" };
        held.push(raw.call(path, &[], &framed(text)).await);
    }
    until(async || orders.begun() == 5).await;
    // What is held by one connection is its share, of whatever kind the streams are.
    for path in [HEALTH_WATCH, WATCH_ORDER, REFLECTION] {
        let status = raw.call(path, &[], &framed("")).await.status().await;
        assert_eq!(
            (status.code(), reason_of(&status).as_deref()),
            (Code::ResourceExhausted, Some("OVERLOADED")),
            "{path}"
        );
    }
    let busy = Raw::connect(&gateway).await;
    held.push(busy.call(GET_ORDER, &[], &framed("sleep 60000")).await);
    until(async || orders.begun() == 6).await;
    held.push(busy.begin(GET_ORDER, &[]).await);
    // One that is refused for calls and one that is refused for streams can both ask.
    for raw in [&raw, &busy] {
        assert_eq!(raw.call(HEALTH_CHECK, &[], &framed("")).await.status().await.code(), Code::Ok);
    }
    let status = busy.call(HEALTH_WATCH, &[], &framed("")).await.status_within(Duration::from_millis(300)).await;
    assert!(status.is_none(), "another connection can watch: {status:?}");
}

#[tokio::test]
async fn beside_another_caller_calls_beyond_a_share_wait_in_the_gateway() {
    const CALLS: u32 = 40;
    let orders = orders().await;
    let mut settings = settings();
    settings.admission_wait_max_ms = 60_000;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let (single, greedy) = (caller(&gateway).await, Raw::connect(&gateway).await);
    let competing = tokio::spawn(async move {
        loop {
            call(&single, GET_ORDER, "hello").await.unwrap();
        }
    });
    // Where the machine stalls for a second they are not seen to compete.
    let mut peak = CALLS;
    for _ in 0..5 {
        let asked = join_all(
            (0..CALLS).map(|_| async { greedy.call(GET_ORDER, &[], &framed("sleep 20")).await.status().await.code() }),
        );
        assert!(asked.await.into_iter().all(|code| code == Code::Ok), "whoever waits is answered");
        peak = peak.min(orders.seen.sleeping_max.swap(0, Ordering::SeqCst));
        if peak < CALLS / 2 {
            break;
        }
    }
    assert!(peak < CALLS / 2, "{peak} of {CALLS} calls at the service at a time");
    // Those that give up while they wait take no place with them.
    let mut gone = Vec::new();
    for _ in 0..CALLS {
        gone.push(greedy.call(GET_ORDER, &[], &framed("sleep 60000")).await);
    }
    until(async || orders.seen.sleeping.load(Ordering::SeqCst) > 0).await;
    drop((gone, greedy));
    competing.abort();
    until(async || orders.seen.sleeping.load(Ordering::SeqCst) == orders.dropped()).await;
    let next = Raw::connect(&gateway).await;
    let asked = join_all(
        (0..CALLS).map(|_| async { next.call(GET_ORDER, &[], &framed("sleep 20")).await.status().await.code() }),
    );
    assert!(asked.await.into_iter().all(|code| code == Code::Ok));
}

#[tokio::test]
async fn a_call_that_waits_too_long_is_refused() {
    let orders = orders().await;
    let mut settings = settings();
    (settings.admission_wait_max_ms, settings.admission_caller_in_flight_min) = (50, 1);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let (single, greedy) = (caller(&gateway).await, Raw::connect(&gateway).await);
    let mut held = Vec::new();
    // Where the machine stalls for a second they are not seen to compete, and nobody waits.
    for _ in 0..20 {
        call(&single, GET_ORDER, "hello").await.unwrap();
        held.push(greedy.call(GET_ORDER, &[], &framed("sleep 60000")).await);
        let more = greedy.call(GET_ORDER, &[], &framed("sleep 60000")).await;
        if let Some(status) = more.status_within(Duration::from_millis(500)).await {
            assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::ResourceExhausted, Some("OVERLOADED")));
            return;
        }
    }
    panic!("nobody was refused");
}
