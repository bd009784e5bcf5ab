//! An upstream whose name has several addresses, and others a moment later.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use openorder_rpc::{Resolver, RpcClientSettings, RpcServerSettings, Upstream, UpstreamChannel};
use openorder_telemetry::RoleTelemetry;
use openorder_testing::free_address;
use support::{Running, call, client_settings, service_call, start_at, text};

const LONG: Duration = Duration::from_secs(20);

/// The addresses that the name has, for the test to change.
type Name = Arc<Mutex<Vec<SocketAddr>>>;

fn settings() -> RpcClientSettings {
    RpcClientSettings { resolve_interval_ms: 100, connect_timeout_ms: 300, ..client_settings() }
}

fn name(addresses: &[SocketAddr], settings: &RpcClientSettings) -> (Name, UpstreamChannel) {
    let name: Name = Arc::new(Mutex::new(addresses.to_vec()));
    let resolved = Arc::clone(&name);
    let resolver: Resolver = Arc::new(move || {
        let addresses = resolved.lock().unwrap().clone();
        Box::pin(async move { Ok(addresses) })
    });
    let upstream = Upstream::new("http://echo:80", settings).unwrap().resolved_by(resolver, settings);
    (name, UpstreamChannel::new(RoleTelemetry::disabled("test"), Arc::new(upstream)))
}

async fn server(address: &str) -> Running {
    start_at(address, RoleTelemetry::disabled("echo"), RpcServerSettings::default()).await
}

fn seen(server: &Running) -> u32 {
    server.echo.calls.load(Ordering::SeqCst)
}

async fn ask(channel: &UpstreamChannel, milliseconds: u64) -> String {
    call(channel.clone(), "Sleep", service_call().request(text(milliseconds))).await.unwrap()
}

/// Calls, one after the other, until it is so.
async fn ask_until(channel: &UpstreamChannel, what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        ask(channel, 0).await;
        assert!(begun.elapsed() < LONG, "it never came to be");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn calls_are_shared_over_all_addresses() {
    let servers = [server("127.0.0.1:0").await, server("127.0.0.2:0").await, server("127.0.0.3:0").await];
    let (_, channel) = name(&servers.each_ref().map(|one| one.address), &settings());
    ask_until(&channel, || servers.iter().all(|one| seen(one) > 0)).await;
    let before = servers.each_ref().map(seen);
    for _ in 0..30 {
        ask(&channel, 0).await;
    }
    for (server, before) in servers.iter().zip(before) {
        assert_eq!(seen(server) - before, 10, "in turn");
    }
}

#[tokio::test]
async fn calls_go_where_the_fewest_are_on_their_way() {
    let servers = [server("127.0.0.1:0").await, server("127.0.0.2:0").await];
    let (_, channel) = name(&servers.each_ref().map(|one| one.address), &settings());
    ask_until(&channel, || servers.iter().all(|one| seen(one) > 0)).await;
    let before = servers.each_ref().map(seen);
    let slow = tokio::spawn({
        let channel = channel.clone();
        async move { call(channel, "Sleep", service_call().request(text(60_000))).await }
    });
    let begun = Instant::now();
    while servers.each_ref().map(seen) == before {
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let with_slow = servers.each_ref().map(seen);
    let busy = usize::from(with_slow[1] > before[1]);
    for _ in 0..20 {
        ask(&channel, 0).await;
    }
    assert_eq!(seen(&servers[busy]), with_slow[busy], "it has a call already");
    assert_eq!(seen(&servers[1 - busy]), with_slow[1 - busy] + 20);
    // Its end gives the place back.
    slow.abort();
    ask_until(&channel, || seen(&servers[busy]) > with_slow[busy]).await;
}

#[tokio::test]
async fn an_address_that_comes_is_called_and_one_that_goes_is_not() {
    let (first, second) = (server("127.0.0.1:0").await, server("127.0.0.2:0").await);
    let (name, channel) = name(&[first.address], &settings());
    ask_until(&channel, || seen(&first) > 3).await;
    assert_eq!(seen(&second), 0);
    *name.lock().unwrap() = vec![first.address, second.address];
    ask_until(&channel, || seen(&second) > 3).await;
    *name.lock().unwrap() = vec![second.address];
    let (begun, mut last) = (Instant::now(), seen(&first));
    loop {
        for _ in 0..10 {
            ask(&channel, 1).await;
        }
        let now = seen(&first);
        if now == last {
            break;
        }
        last = now;
        assert!(begun.elapsed() < LONG, "it is still called");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Its connection ended with its last call, though nobody closed it.
    tokio::time::timeout(LONG, first.stop()).await.expect("no connection is left");
    ask(&channel, 0).await;
}

#[tokio::test]
async fn a_dead_address_costs_nobody_time() {
    let alive = server("127.0.0.1:0").await;
    let dead = free_address();
    let settings = RpcClientSettings { attempts_max: 1, ..settings() };
    let (_, channel) = name(&[dead, alive.address], &settings);
    for _ in 0..50 {
        ask(&channel, 0).await;
    }
    assert_eq!(seen(&alive), 50);
    // It comes back by itself.
    let back = server(&dead.to_string()).await;
    ask_until(&channel, || seen(&back) > 0).await;
}

#[tokio::test]
async fn an_upstream_that_moved_is_found_within_the_call() {
    let first = server("127.0.0.1:0").await;
    let settings = RpcClientSettings { attempts_max: 1, resolve_interval_ms: 3_600_000, ..settings() };
    let (name, channel) = name(&[first.address], &settings);
    ask(&channel, 0).await;
    first.stop().await;
    let second = server("127.0.0.2:0").await;
    *name.lock().unwrap() = vec![second.address];
    ask(&channel, 0).await;
    assert_eq!(seen(&second), 1);
}
