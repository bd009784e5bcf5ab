//! Connections that nobody uses: they keep no new caller out, and they come to an end. Those between roles, at which both
//! ends prove who they are: `roles.rs`, with the certificates of `authority.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authority;
mod roles;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use openorder_rpc::{ConnectionSettings, RpcServerSettings};
use openorder_telemetry::RoleTelemetry;
use support::{Running, call, client, service_call, start, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

const BOUND: Duration = Duration::from_secs(20);

async fn server(connection: ConnectionSettings) -> Running {
    start(RoleTelemetry::disabled("echo"), RpcServerSettings { connection, ..RpcServerSettings::default() }).await
}

async fn silent(server: &Running) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// A client that answers pings and asks for nothing.
async fn idle(server: &Running, from: &str) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let (sender, connection) = h2::client::handshake(socket.connect(server.address).await.unwrap()).await.unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

async fn is_answered(server: &Running) {
    let answer = call(client(&server.url()), "Sleep", service_call().request(text(0)));
    assert_eq!(tokio::time::timeout(BOUND, answer).await.expect("an answer").unwrap(), "slept");
}

/// Waits until the server has ended the connection.
async fn is_ended(stream: &mut TcpStream) {
    let mut byte = [0];
    // Ended is ended, whether gently or not.
    let read = tokio::time::timeout(BOUND, stream.read(&mut byte)).await.expect("an end");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let server = server(ConnectionSettings { connections_max: 8, ..ConnectionSettings::default() }).await;
    let mut held = Vec::new();
    for _ in 0..30 {
        held.push(silent(&server).await);
    }
    is_answered(&server).await;
    // The longest silent ones gave way.
    is_ended(&mut held[0]).await;
    drop(held);
    server.stop().await;
}

#[tokio::test]
async fn connections_that_only_answer_pings_keep_nobody_out() {
    let connection =
        ConnectionSettings { connections_max: 8, keepalive_interval_ms: 100, ..ConnectionSettings::default() };
    let server = server(connection).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(idle(&server, "127.0.0.1").await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    is_answered(&server).await;
    let (_, first) = held.swap_remove(0);
    tokio::time::timeout(BOUND, first).await.expect("the longest idle one gave way").unwrap();
    assert!(held.iter().filter(|(_, driver)| !driver.is_finished()).count() >= 6);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_with_a_call_does_not_give_way() {
    let connection =
        ConnectionSettings { connections_max: 2, peer_share_percent: 100, ..ConnectionSettings::default() };
    let server = server(connection).await;
    let long = |millis: u32| tokio::spawn(call(client(&server.url()), "Sleep", service_call().request(text(millis))));
    let (first, second) = (long(2_000), long(2_000));
    while server.echo.calls.load(std::sync::atomic::Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut third = silent(&server).await;
    is_ended(&mut third).await;
    assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), ("slept".into(), "slept".into()));
    is_answered(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_peer_above_its_share_ends_its_own_connections() {
    let connection = ConnectionSettings { connections_max: 8, peer_share_percent: 50, ..ConnectionSettings::default() };
    let server = server(connection).await;
    let (_kept, other) = idle(&server, "127.0.0.2").await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(idle(&server, "127.0.0.1").await);
    }
    let until = Instant::now() + BOUND;
    while held.iter().filter(|(_, driver)| !driver.is_finished()).count() > 4 {
        assert!(Instant::now() < until, "its own connections do not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!other.is_finished(), "the longest idle one of all, and of another peer");
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_begin_in_time_is_ended() {
    let connection = ConnectionSettings { handshake_timeout_ms: 200, ..ConnectionSettings::default() };
    let server = server(connection).await;
    let started = Instant::now();
    let (mut nothing, mut half) = (silent(&server).await, silent(&server).await);
    half.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    is_ended(&mut nothing).await;
    is_ended(&mut half).await;
    assert!(started.elapsed() >= Duration::from_millis(200));
    // What cannot become HTTP/2 is ended at once.
    let mut other = silent(&server).await;
    other.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    is_ended(&mut other).await;
    // One that comes byte by byte, and in time, is taken.
    let mut slow = silent(&server).await;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" {
        slow.write_all(&[*byte]).await.unwrap();
    }
    let mut head = [0; 9];
    tokio::time::timeout(BOUND, slow.read_exact(&mut head)).await.expect("an answer").unwrap();
    assert_eq!(head[3], 4, "the server's own settings");
    server.stop().await;
}

#[tokio::test]
async fn a_connection_without_calls_is_ended_after_a_time_and_one_with_a_call_is_not() {
    let connection = ConnectionSettings { idle_timeout_ms: 200, ..ConnectionSettings::default() };
    let server = server(connection).await;
    let started = Instant::now();
    let (_sender, driver) = idle(&server, "127.0.0.1").await;
    let busy = call(client(&server.url()), "Sleep", service_call().request(text(1_000)));
    let (answer, ended) = tokio::join!(busy, tokio::time::timeout(BOUND, driver));
    ended.expect("an end").unwrap();
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(answer.unwrap(), "slept");
    // A client that comes again finds everything as it was.
    is_answered(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_silent_connections() {
    let server = server(ConnectionSettings::default()).await;
    let _held = [silent(&server).await, silent(&server).await];
    is_answered(&server).await;
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}
