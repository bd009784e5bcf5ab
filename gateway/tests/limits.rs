//! What the gateway does not let through: too large, too late, too much, or from too far away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use openorder_gateway::{Anonymous, GatewaySettings, serve};
use openorder_rpc::reason_of;
use openorder_rpc::status::retry_after_of;
use openorder_runtime::{Readiness, Shutdown};
use openorder_telemetry::RoleTelemetry;
use openorder_testing::free_address;
use support::tls::{Authority, Says};
use support::{GET_ORDER, call, call_with, caller, gateway, orders, orders_at, settings, until, watch};
use tonic::{Code, Request, Status};

fn told(status: &Status) -> (Code, Option<String>) {
    (status.code(), reason_of(status))
}

fn reason(code: Code, reason: &str) -> (Code, Option<String>) {
    (code, Some(reason.to_owned()))
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_before_the_service_sees_it() {
    let orders = orders().await;
    let mut settings = settings();
    settings.request_body_limit_bytes = 100_000;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let outside = caller(&gateway).await;
    let refused = call(&outside, GET_ORDER, "x".repeat(100_000)).await.unwrap_err();
    assert_eq!(told(&refused), reason(Code::ResourceExhausted, "REQUEST_TOO_LARGE"));
    assert_eq!(orders.begun(), 0);
    let whole = "x".repeat(99_000);
    assert_eq!(call(&outside, GET_ORDER, whole.clone()).await.unwrap().into_inner(), whole, "in several frames");
}

#[tokio::test]
async fn a_call_ends_at_the_default_timeout_and_the_work_behind_with_it() {
    let orders = orders().await;
    let mut settings = settings();
    settings.default_timeout_ms = 100;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let started = Instant::now();
    let late = call(&caller(&gateway).await, GET_ORDER, "sleep 60000").await.unwrap_err();
    assert_eq!(told(&late), reason(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    assert!(started.elapsed() < Duration::from_secs(5));
    until(async || orders.dropped() == 1).await;
}

#[tokio::test]
async fn the_service_hears_how_much_time_is_left() {
    let orders = orders().await;
    let mut settings = settings();
    (settings.default_timeout_ms, settings.timeout_max_ms) = (5_000, 9_000);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let outside = caller(&gateway).await;
    for (asked, low, high) in [(None, 4_000, 5_000), (Some(2), 1_000, 2_000), (Some(3_600), 8_000, 9_000)] {
        let mut request = Request::new("headers".to_owned());
        if let Some(seconds) = asked {
            request.set_timeout(Duration::from_secs(seconds));
        }
        let seen = call_with(&outside, GET_ORDER, request).await.unwrap().into_inner();
        let line = seen.lines().find_map(|line| line.strip_prefix("grpc-timeout: ")).unwrap();
        let millis: u64 = line.strip_suffix('u').unwrap().parse::<u64>().unwrap() / 1_000;
        assert!((low..=high).contains(&millis), "asked {asked:?}, left {line}");
    }
}

#[tokio::test]
async fn a_dead_service_is_unavailable_until_it_is_back() {
    let address = free_address().to_string();
    let url = format!("http://{address}");
    let gateway = gateway(&url, &url, settings()).await;
    let outside = caller(&gateway).await;
    for _ in 0..2 {
        let started = Instant::now();
        let refused = call(&outside, GET_ORDER, "hello").await.unwrap_err();
        assert_eq!(told(&refused), reason(Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
        assert_eq!(retry_after_of(&refused), Some(Duration::from_secs(1)));
        assert!(!refused.message().contains("127.0.0.1"), "no internals");
        assert!(started.elapsed() < Duration::from_secs(2));
        let orders = orders_at(&address, RoleTelemetry::disabled("order")).await;
        until(async || call(&outside, GET_ORDER, "hello").await.is_ok()).await;
        orders.stop().await;
    }
}

#[tokio::test]
async fn a_service_that_dies_with_a_call_in_its_hands_makes_it_unavailable() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let outside = caller(&gateway).await;
    let waiting = tokio::spawn(async move { call(&outside, GET_ORDER, "sleep 60000").await });
    until(async || orders.begun() == 1).await;
    // As a killed process: its connections end, whatever runs over them.
    orders.task.abort();
    let refused = waiting.await.unwrap().unwrap_err();
    assert_eq!(told(&refused), reason(Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
    assert_eq!(orders.begun(), 1, "a call that may have been carried out is not sent again");
}

#[tokio::test]
async fn more_calls_than_the_limit_are_refused_at_once() {
    let orders = orders().await;
    let mut settings = settings();
    (settings.in_flight_requests_max, settings.connection_share_percent) = (2, 100);
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let outside = caller(&gateway).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let outside = outside.clone();
            tokio::spawn(async move { call(&outside, GET_ORDER, "sleep 500").await })
        })
        .collect();
    until(async || orders.begun() == 2).await;
    let started = Instant::now();
    let refused = call(&outside, GET_ORDER, "hello").await.unwrap_err();
    assert_eq!(told(&refused), reason(Code::ResourceExhausted, "OVERLOADED"));
    assert!(retry_after_of(&refused).is_some());
    assert!(started.elapsed() < Duration::from_millis(400));
    // Streams have places of their own.
    assert_eq!(watch(&outside, "1 1").await.unwrap().message().await.unwrap().as_deref(), Some("0"));
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    until(async || call(&outside, GET_ORDER, "hello").await.is_ok()).await;
}

#[tokio::test]
async fn a_storm_of_callers_that_give_up_breaks_no_connection() {
    let orders = orders().await;
    let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
    let outside = caller(&gateway).await;
    let patient = tokio::spawn({
        let outside = outside.clone();
        async move { call(&outside, GET_ORDER, "sleep 1500").await }
    });
    until(async || orders.begun() == 1).await;
    let storm: Vec<_> = (0..1_000)
        .map(|_| {
            let outside = outside.clone();
            tokio::spawn(async move {
                let mut request = Request::new("sleep 60000".to_owned());
                request.set_timeout(Duration::from_millis(300));
                call_with(&outside, GET_ORDER, request).await.unwrap_err().code()
            })
        })
        .collect();
    for call in storm {
        // tonic's own client says CANCELLED when its timer is first.
        let code = call.await.unwrap();
        assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    }
    assert_eq!(patient.await.unwrap().unwrap().into_inner(), "slept", "a call beside the storm");
    until(async || orders.dropped() + 1 == orders.begun()).await;
}

#[tokio::test]
async fn open_streams_are_bounded() {
    let orders = orders().await;
    let mut settings = settings();
    settings.streams_max = 1;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    let outside = caller(&gateway).await;
    let mut first = watch(&outside, "1000000 10").await.unwrap();
    first.message().await.unwrap();
    let refused = watch(&outside, "1 1").await.unwrap_err();
    assert_eq!(told(&refused), reason(Code::ResourceExhausted, "OVERLOADED"));
    assert_eq!(call(&outside, GET_ORDER, "hello").await.unwrap().into_inner(), "hello");
    drop(first);
    until(async || watch(&outside, "1 1").await.is_ok()).await;
}

#[tokio::test]
async fn beyond_this_machine_callers_sign_in_over_tls_or_through_a_proxy() {
    let authority = Authority::new();
    authority.certify(Says::default());
    let run = async |address: &str, change: &dyn Fn(&mut GatewaySettings)| {
        let mut settings = GatewaySettings { listen_address: address.to_owned(), ..GatewaySettings::default() };
        change(&mut settings);
        let shutdown = Shutdown::new();
        // Stopped before it begins: what is asked is whether it would begin.
        shutdown.trigger();
        serve(RoleTelemetry::disabled("gateway"), &Readiness::new(), settings, Vec::new(), &shutdown).await
    };
    let nothing = |_: &mut GatewaySettings| {};
    let operator = |settings: &mut GatewaySettings| settings.anonymous = Anonymous::Operator;
    let proxied = |settings: &mut GatewaySettings| settings.trusted_proxies = vec!["10.0.0.0/8".to_owned()];
    let protected = |settings: &mut GatewaySettings| settings.tls = authority.settings();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refusal = run(address, &nothing).await.unwrap_err().to_string();
        for named in [address, "gateway.tls.certificate_file", "gateway.trusted_proxies"] {
            assert!(refusal.contains(named), "{refusal}");
        }
        run(address, &proxied).await.unwrap();
        run(address, &protected).await.unwrap();
        for more in [&nothing as &dyn Fn(&mut GatewaySettings), &proxied, &protected] {
            let both = |settings: &mut GatewaySettings| {
                operator(settings);
                more(settings);
            };
            let refusal = run(address, &both).await.unwrap_err().to_string();
            assert!(refusal.contains("gateway.anonymous") && refusal.contains("create-operator"), "{refusal}");
        }
    }
    for address in ["127.0.0.1:0", "localhost:0"] {
        run(address, &nothing).await.unwrap();
        run(address, &operator).await.unwrap();
        run(address, &proxied).await.unwrap();
    }
    let from_elsewhere = |settings: &mut GatewaySettings| {
        operator(settings);
        proxied(settings);
    };
    let refusal = run("127.0.0.1:0", &from_elsewhere).await.unwrap_err().to_string();
    assert!(refusal.contains("gateway.trusted_proxies"), "{refusal}");
    let wrong = |settings: &mut GatewaySettings| settings.trusted_proxies = vec!["proxy".to_owned()];
    assert!(format!("{:#}", run("127.0.0.1:0", &wrong).await.unwrap_err()).contains("\"proxy\""));
    assert!(run("nonsense", &proxied).await.is_err());
}
