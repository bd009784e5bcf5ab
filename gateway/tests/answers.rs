//! Callers that do not read their answers: what that costs others, how much is held for them, and for how long.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use openorder_gateway::GatewaySettings;
use openorder_rpc::reason_of;
use openorder_rpc::status::retry_after_of;
use prost::Message;
use support::{GET_ORDER, Running, WATCH_ORDER, call, caller, gateway, orders, settings, until, watch};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Status};

/// Long enough for an overloaded machine.
const LONG: Duration = Duration::from_secs(20);

/// A caller that takes this many bytes of each answer, and no more until it says so.
struct Reluctant {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    authority: String,
}

impl Reluctant {
    async fn new(gateway: &Running, window: u32) -> Self {
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (sender, connection) = builder.initial_window_size(window).handshake(stream).await.unwrap();
        Self { sender, connection: tokio::spawn(connection), authority: gateway.address.to_string() }
    }

    async fn call(&mut self, path: &str, text: &str) -> ResponseFuture {
        let request = Request::post(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let message = text.to_owned().encode_to_vec();
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(message.len() as u32);
        body.put_slice(&message);
        std::future::poll_fn(|context| self.sender.poll_ready(context)).await.unwrap();
        let (answer, mut sending) = self.sender.send_request(request, false).unwrap();
        sending.send_data(body.freeze(), true).unwrap();
        answer
    }

    /// The head of the answer, whose body nobody reads.
    async fn head(&mut self, path: &str, text: &str) -> (HeaderMap, h2::RecvStream) {
        let answer = self.call(path, text).await;
        let (head, body) = timeout(LONG, answer).await.expect("a head in time").unwrap().into_parts();
        (head.headers, body)
    }
}

fn refusal(head: &HeaderMap) -> Option<Status> {
    head.get("grpc-status")?;
    Status::from_header_map(head)
}

/// The same over a socket between gateway and service, and within one process.
fn both(change: impl Fn(&mut GatewaySettings)) -> [GatewaySettings; 2] {
    [false, true].map(|in_memory| {
        let mut settings = settings();
        settings.client.in_memory = in_memory;
        change(&mut settings);
        settings
    })
}

/// Room for one answer of a megabyte a connection.
fn little(settings: &mut GatewaySettings) {
    settings.answer_bytes_max = 1_200_000;
    settings.answer_bytes_unread_max = 3_000_000;
}

#[tokio::test]
async fn answers_that_nobody_reads_keep_nobody_else_waiting() {
    let orders = orders().await;
    for window in [0, 100] {
        let gateway = gateway(&orders.url(), &orders.url(), settings()).await;
        let mut reluctant = Reluctant::new(&gateway, window).await;
        let mut unread = Vec::new();
        for _ in 0..6 {
            unread.push(reluctant.call(GET_ORDER, "size 1000000").await);
        }
        for answer in &mut unread {
            timeout(LONG, answer).await.expect("a head in time").unwrap();
        }
        let outside = caller(&gateway).await;
        for _ in 0..3 {
            let answer = timeout(LONG, call(&outside, GET_ORDER, "size 1000000")).await.unwrap().unwrap();
            assert_eq!(answer.into_inner().len(), 1_000_000);
        }
        gateway.stop_at_once();
    }
}

#[tokio::test]
async fn what_is_held_for_a_caller_is_bounded_and_others_have_their_own() {
    let orders = orders().await;
    for settings in both(little) {
        let gateway = gateway(&orders.url(), &orders.url(), settings).await;
        let mut reluctant = Reluctant::new(&gateway, 1).await;
        let (head, first) = reluctant.head(GET_ORDER, "size 1000000").await;
        assert!(refusal(&head).is_none());
        let (head, _) = reluctant.head(GET_ORDER, "size 1000000").await;
        let refused = refusal(&head).expect("the second one does not fit");
        assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::ResourceExhausted, Some("ANSWERS_UNREAD")));
        assert!(retry_after_of(&refused).is_some());
        let other = call(&caller(&gateway).await, GET_ORDER, "size 1000000").await.unwrap();
        assert_eq!(other.into_inner().len(), 1_000_000);
        // What is given up is free again.
        drop(first);
        let mut again = async || refusal(&reluctant.head(GET_ORDER, "size 1000000").await.0).is_none();
        let begun = Instant::now();
        while !again().await {
            assert!(begun.elapsed() < LONG);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        gateway.stop_at_once();
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_in_time_is_taken_back() {
    let orders = orders().await;
    let short = |settings: &mut GatewaySettings| {
        little(settings);
        settings.answer_read_timeout_ms = 300;
    };
    for settings in both(short) {
        let gateway = gateway(&orders.url(), &orders.url(), settings).await;
        for window in [0, 5, 20_000] {
            let mut reluctant = Reluctant::new(&gateway, window).await;
            // Each has the share of the one before it.
            for _ in 0..2 {
                let (head, mut body) = reluctant.head(GET_ORDER, "size 1000000").await;
                assert!(refusal(&head).is_none(), "{window}: what was taken back is free");
                let reset = async {
                    loop {
                        match body.data().await.expect("no end without an error") {
                            Ok(_) => {}
                            Err(error) => return error,
                        }
                    }
                };
                let error = timeout(LONG, reset).await.expect("a reset in time");
                assert!(error.is_reset() && error.is_remote(), "{window}: {error}");
            }
            assert!(!reluctant.connection.is_finished(), "{window}: its other calls go on");
        }
        gateway.stop_at_once();
    }
}

#[tokio::test]
async fn a_connection_that_takes_not_even_small_answers_is_cut() {
    let orders = orders().await;
    for settings in both(|settings| settings.answer_read_timeout_ms = 200) {
        let gateway = gateway(&orders.url(), &orders.url(), settings).await;
        let mut reluctant = Reluctant::new(&gateway, 1).await;
        let (head, _body) = reluctant.head(GET_ORDER, "hello").await;
        assert!(refusal(&head).is_none());
        timeout(LONG, reluctant.connection).await.expect("the connection ends").ok();
        let outside = caller(&gateway).await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            call(&outside, GET_ORDER, "hello").await.expect("who reads is not cut");
        }
        gateway.stop_at_once();
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_ends_and_says_why() {
    let orders = orders().await;
    for settings in both(|settings| settings.stream_unread_bytes_max = 1_024) {
        let dropped = orders.dropped();
        let gateway = gateway(&orders.url(), &orders.url(), settings).await;
        let mut reluctant = Reluctant::new(&gateway, 0).await;
        let (_, body) = reluctant.head(WATCH_ORDER, "1000000 1").await;
        until(async || orders.dropped() == dropped + 1).await;
        drop(body);
        gateway.stop_at_once();
    }
}

#[tokio::test]
async fn a_stream_whose_caller_reads_too_late_hears_what_it_missed() {
    let orders = orders().await;
    let mut settings = settings();
    settings.stream_unread_bytes_max = 1_024;
    let gateway = gateway(&orders.url(), &orders.url(), settings).await;
    // Room for some answers; more when they were read.
    let mut reluctant = Reluctant::new(&gateway, 100).await;
    let (_, mut body) = reluctant.head(WATCH_ORDER, "1000000 1").await;
    until(async || orders.dropped() == 1).await;
    let mut read = 0;
    while let Some(data) = timeout(LONG, body.data()).await.unwrap() {
        let data = data.unwrap();
        read += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers = timeout(LONG, body.trailers()).await.unwrap().unwrap().unwrap();
    let end = Status::from_header_map(&trailers).unwrap();
    assert_eq!((end.code(), reason_of(&end).as_deref()), (Code::ResourceExhausted, Some("ANSWERS_UNREAD")));
    assert!((800..=1_500).contains(&read), "{read} bytes");
}

#[tokio::test]
async fn a_stream_that_is_read_goes_on_beyond_every_limit() {
    let orders = orders().await;
    let short = |settings: &mut GatewaySettings| {
        settings.answer_read_timeout_ms = 200;
        settings.stream_unread_bytes_max = 1_024;
    };
    for settings in both(short) {
        let gateway = gateway(&orders.url(), &orders.url(), settings).await;
        let outside = caller(&gateway).await;
        // More bytes than may be unread; then answers that come more seldom than they have to be read.
        for (asked, number) in [("300 2", 300), ("3 500", 3)] {
            let mut stream = watch(&outside, asked).await.unwrap();
            for expected in 0..number {
                let message = timeout(LONG, stream.message()).await.unwrap().unwrap();
                assert_eq!(message, Some(expected.to_string()));
            }
            let end = stream.message().await.unwrap_err();
            assert_eq!(reason_of(&end).as_deref(), Some("STREAM_OVER"));
        }
        gateway.stop_at_once();
    }
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_refused_whole() {
    let orders = orders().await;
    for settings in both(|settings| settings.answer_bytes_max = 100_000) {
        let gateway = gateway(&orders.url(), &orders.url(), settings).await;
        let outside = caller(&gateway).await;
        let refused = call(&outside, GET_ORDER, "size 100000").await.unwrap_err();
        assert_eq!(
            (refused.code(), reason_of(&refused).as_deref()),
            (Code::ResourceExhausted, Some("ANSWER_TOO_LARGE"))
        );
        assert_eq!(call(&outside, GET_ORDER, "size 99000").await.unwrap().into_inner().len(), 99_000);
        gateway.stop_at_once();
    }
}
