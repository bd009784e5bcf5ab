//! A client that sends calls together, before a server of the contract's own making that does with each what it asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use openorder_proto::internal::rpc::v1::batch_service_server::{BatchService, BatchServiceServer};
use openorder_proto::internal::rpc::v1::{Answer, Call, ExchangeCallsRequest, ExchangeCallsResponse, Metadata};
use openorder_rpc::server::{CallMetrics, serve_measured};
use openorder_rpc::{BatchSettings, Outbound, Resend, RpcServerSettings, Upstream, listen, reason_of};
use openorder_runtime::Shutdown;
use openorder_telemetry::RoleTelemetry;
use prost::Message;
use support::{Echo, client_settings};
use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

/// What came to the server together. What came alone, its echo has counted.
#[derive(Clone, Default)]
struct Peer {
    echo: Echo,
    streams: Arc<AtomicU32>,
    /// Streams that have not ended.
    open: Arc<AtomicU32>,
    messages: Arc<Mutex<Vec<ExchangeCallsRequest>>>,
}

struct Open(Arc<AtomicU32>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Answers = Pin<Box<dyn futures::Stream<Item = Result<ExchangeCallsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl BatchService for Peer {
    type ExchangeCallsStream = Answers;

    async fn exchange_calls(
        &self,
        request: Request<Streaming<ExchangeCallsRequest>>,
    ) -> Result<Response<Answers>, Status> {
        self.streams.fetch_add(1, Ordering::SeqCst);
        let (mut requests, messages) = (request.into_inner(), Arc::clone(&self.messages));
        let (answers, receiver) = mpsc::channel::<ExchangeCallsResponse>(64);
        let open = Arc::clone(&self.open);
        open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let _open = Open(open);
            while let Ok(Some(message)) = requests.message().await {
                messages.lock().unwrap().push(message.clone());
                for call in message.calls {
                    for answer in answers_to(&call) {
                        answers.send(answer).await.unwrap();
                    }
                    if asks(&call, "lose") || asks(&call, "half") {
                        return;
                    }
                }
            }
        });
        let answers = futures::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|answer| (Ok(answer), receiver))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn asks(call: &Call, what: &str) -> bool {
    call.metadata.iter().any(|entry| entry.name == "x-do" && entry.value == what)
}

fn answers_to(call: &Call) -> Vec<ExchangeCallsResponse> {
    let id = call.id;
    let success = vec![Metadata { name: "grpc-status".to_owned(), value: "0".into() }];
    let whole = Answer { call_id: id, body: frame("together"), trailers: success, ..Answer::default() };
    let one = |answer| ExchangeCallsResponse { answers: vec![answer], ..Default::default() };
    let part = |bytes: &[u8], has_more| Answer {
        body: Bytes::copy_from_slice(bytes),
        has_more,
        trailers: if has_more { Vec::new() } else { whole.trailers.clone() },
        ..whole.clone()
    };
    if asks(call, "refuse") {
        vec![one(Answer { call_id: id, is_refused: true, ..Answer::default() })]
    } else if asks(call, "parts") {
        // An answer to a call that nobody made is passed over.
        let parts = [part(&whole.body[..4], true), part(&[], true), part(&whole.body[4..], false)];
        std::iter::once(Answer { call_id: u64::MAX, ..whole.clone() }).chain(parts).map(one).collect()
    } else if asks(call, "half") {
        vec![one(part(&whole.body[..4], true))]
    } else if asks(call, "close") {
        vec![ExchangeCallsResponse { answers: vec![whole], is_closing: true }]
    } else if asks(call, "hold") || asks(call, "lose") {
        Vec::new()
    } else {
        vec![one(whole)]
    }
}

fn frame(text: &str) -> Bytes {
    let message = text.to_owned().encode_to_vec();
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat().into()
}

impl Peer {
    /// Serves until the shutdown; `batches`: whether it takes calls together.
    async fn serve(self, address: &str, batches: bool) -> (SocketAddr, Shutdown) {
        let listener = listen(address).await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
        let routes = Routes::new(self.echo.clone());
        let routes = if batches { routes.add_service(BatchServiceServer::new(self)) } else { routes };
        // Whatever is taken together, this peer takes itself.
        let batch = BatchSettings { enabled: false, ..BatchSettings::default() };
        let settings = RpcServerSettings { batch, ..RpcServerSettings::default() };
        let until = shutdown.clone();
        tokio::spawn(async move {
            let role = RoleTelemetry::disabled("peer");
            serve_measured(role, listener, &settings, routes, CallMetrics::of([]), &until).await;
        });
        (address, shutdown)
    }

    fn alone(&self) -> u32 {
        self.echo.calls.load(Ordering::SeqCst)
    }

    fn streams(&self) -> u32 {
        self.streams.load(Ordering::SeqCst)
    }

    /// How many calls each message had.
    fn sizes(&self) -> Vec<usize> {
        let messages = self.messages.lock().unwrap();
        messages.iter().map(|message| message.calls.len()).filter(|size| *size > 0).collect()
    }

    fn saw(&self, what: impl Fn(&ExchangeCallsRequest) -> bool) -> bool {
        self.messages.lock().unwrap().iter().any(what)
    }
}

fn outbound(what: &'static str) -> Outbound {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("x-do", HeaderValue::from_static(what));
    Outbound {
        path: PathAndQuery::from_static("/test.Echo/Sleep"),
        headers,
        body: frame("1"),
        deadline: Some(Instant::now() + Duration::from_secs(20)),
        body_deadline: Some(Instant::now() + Duration::from_secs(20)),
        resend: Resend::Unsent,
        batchable: true,
    }
}

/// The text of the answer, or its code and reason.
async fn call(upstream: &Upstream, outbound: Outbound) -> Result<String, (Code, Option<String>)> {
    let told = |status: &Status| (status.code(), reason_of(status));
    let answer = upstream.call(outbound).await.map_err(|status| told(&status))?;
    let (head, body) = answer.into_parts();
    assert_eq!(head.headers["content-type"], "application/grpc");
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or(head.headers);
    let status = Status::from_header_map(&trailers).unwrap();
    if status.code() != Code::Ok {
        return Err(told(&status));
    }
    Ok(String::decode(&body.to_bytes()[5..]).unwrap())
}

fn together() -> Result<String, (Code, Option<String>)> {
    Ok("together".to_owned())
}

fn slept() -> Result<String, (Code, Option<String>)> {
    Ok("slept".to_owned())
}

fn unavailable() -> Result<String, (Code, Option<String>)> {
    Err((Code::Unavailable, Some("UPSTREAM_UNAVAILABLE".to_owned())))
}

fn upstream(address: SocketAddr, batch: &BatchSettings) -> Arc<Upstream> {
    Arc::new(Upstream::with_batches(&format!("http://{address}"), &client_settings(), batch).unwrap())
}

/// Calls until calls go together.
async fn warm(upstream: &Upstream) {
    let begin = Instant::now();
    while call(upstream, outbound("")).await != together() {
        assert!(begin.elapsed() < Duration::from_secs(20), "no call goes together");
    }
}

async fn ready(batch: BatchSettings) -> (Peer, Arc<Upstream>) {
    let peer = Peer::default();
    let (address, _) = peer.clone().serve("127.0.0.1:0", true).await;
    let upstream = upstream(address, &batch);
    warm(&upstream).await;
    peer.messages.lock().unwrap().clear();
    peer.echo.calls.store(0, Ordering::SeqCst);
    (peer, upstream)
}

async fn at_once(upstream: &Upstream, number: usize) -> Vec<Result<String, (Code, Option<String>)>> {
    futures::future::join_all((0..number).map(|_| call(upstream, outbound("")))).await
}

#[tokio::test]
async fn calls_that_are_ready_at_the_same_time_are_one_message() {
    let (peer, upstream) = ready(BatchSettings::default()).await;
    assert!(at_once(&upstream, 50).await.into_iter().all(|answer| answer == together()));
    assert_eq!((peer.sizes(), peer.alone(), peer.streams()), (vec![50], 0, 1));
}

#[tokio::test]
async fn a_message_has_no_more_calls_and_bytes_than_it_may_have() {
    let (peer, upstream) = ready(BatchSettings { calls_max: 20, bytes_max: 16_384, ..Default::default() }).await;
    assert!(at_once(&upstream, 50).await.into_iter().all(|answer| answer == together()));
    assert_eq!(peer.sizes(), [20, 20, 10]);
    // A message of a kilobyte each: fifteen have room, with what else there is of a call.
    let large = || Outbound { body: frame(&"0".repeat(1_000)), ..outbound("") };
    let answers = futures::future::join_all((0..30).map(|_| call(&upstream, large()))).await;
    assert!(answers.into_iter().all(|answer| answer == together()));
    assert_eq!(peer.sizes()[3..], [15, 15]);
    // A call that is too large for any message goes alone.
    let huge = Outbound { body: frame(&"0".repeat(16_384)), ..outbound("") };
    assert_eq!((call(&upstream, huge).await, peer.alone()), (slept(), 1));
}

#[tokio::test]
async fn calls_beyond_the_bound_go_alone_and_so_do_those_that_the_server_refuses() {
    let (peer, upstream) = ready(BatchSettings { in_flight_max: 3, ..Default::default() }).await;
    let answers = at_once(&upstream, 5).await;
    let alone = answers.iter().filter(|answer| **answer == slept()).count();
    assert_eq!((alone, peer.alone(), peer.sizes()), (2, 2, vec![3]));
    assert_eq!((call(&upstream, outbound("refuse")).await, peer.alone()), (slept(), 3));
    assert_eq!(call(&upstream, outbound("")).await, together(), "the next one does not");
    let alone = Outbound { batchable: false, ..outbound("") };
    assert_eq!((call(&upstream, alone).await, peer.alone()), (slept(), 4));
}

#[tokio::test]
async fn an_answer_in_parts_is_one_and_half_an_answer_is_none() {
    let (peer, upstream) = ready(BatchSettings::default()).await;
    assert_eq!(call(&upstream, outbound("parts")).await, together());
    let (half, held) = tokio::join!(call(&upstream, outbound("half")), call(&upstream, outbound("hold")));
    assert_eq!((half, held), (unavailable(), unavailable()));
    assert_eq!(peer.alone(), 0);
}

#[tokio::test]
async fn a_lost_stream_fails_what_was_sent_and_only_what_may_be_sent_twice_is_sent_again() {
    let (peer, upstream) = ready(BatchSettings::default()).await;
    let held = tokio::spawn({
        let upstream = Arc::clone(&upstream);
        async move { call(&upstream, outbound("hold")).await }
    });
    let safe = tokio::spawn({
        let upstream = Arc::clone(&upstream);
        async move { call(&upstream, Outbound { resend: Resend::Safe, ..outbound("hold") }).await }
    });
    while peer.sizes().iter().sum::<usize>() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(call(&upstream, outbound("lose")).await, unavailable());
    assert_eq!((held.await.unwrap(), safe.await.unwrap()), (unavailable(), slept()));
    assert_eq!(peer.alone(), 1, "the other two were not sent again");
    // The connection is there: calls go alone, and together again when another stream was tried.
    assert_eq!(call(&upstream, outbound("")).await, slept());
    warm(&upstream).await;
    assert_eq!(peer.streams(), 2);
}

#[tokio::test]
async fn who_gives_up_is_told_to_the_server_unless_its_call_was_not_sent() {
    let (peer, upstream) = ready(BatchSettings::default()).await;
    let late = Outbound { deadline: Some(Instant::now() + Duration::from_millis(50)), ..outbound("hold") };
    let late = call(&upstream, late).await;
    assert_eq!(late, Err((Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED".to_owned()))));
    while !peer.saw(|message| !message.cancelled_call_ids.is_empty()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let sent = peer.messages.lock().unwrap()[0].calls[0].id;
    assert!(peer.saw(|message| message.cancelled_call_ids == [sent]));
    peer.messages.lock().unwrap().clear();
    // Polled once, it is in the queue, and the writer has not had its turn.
    let mut unsent = Box::pin(call(&upstream, outbound("hold")));
    assert!(futures::poll!(&mut unsent).is_pending());
    drop(unsent);
    assert_eq!(call(&upstream, outbound("")).await, together());
    assert_eq!(peer.sizes(), [1]);
    assert!(!peer.saw(|message| !message.cancelled_call_ids.is_empty()));
}

#[tokio::test]
async fn a_server_that_goes_down_is_told_the_last_call_and_the_others_go_elsewhere() {
    let (peer, upstream) = ready(BatchSettings::default()).await;
    assert_eq!(call(&upstream, outbound("close")).await, together());
    while !peer.saw(|message| message.is_last) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(call(&upstream, outbound("")).await, slept());
    assert_eq!(peer.streams(), 1, "not again over this connection");
}

#[tokio::test]
async fn a_server_of_before_is_asked_once_a_connection() {
    let (old, new) = (Peer::default(), Peer::default());
    let (address, shutdown) = old.clone().serve("127.0.0.1:0", false).await;
    let upstream = upstream(address, &BatchSettings::default());
    for _ in 0..20 {
        assert!(at_once(&upstream, 5).await.into_iter().all(|answer| answer == slept()));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(old.alone(), 100, "calls alone, and nothing that asks again");
    // It is replaced by one that takes them.
    shutdown.trigger();
    tokio::time::sleep(Duration::from_millis(100)).await;
    new.clone().serve(&address.to_string(), true).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    warm(&upstream).await;
    assert_eq!(new.streams(), 1);
}

#[tokio::test]
async fn turned_off_nobody_is_asked() {
    let peer = Peer::default();
    let (address, _) = peer.clone().serve("127.0.0.1:0", true).await;
    let upstream = upstream(address, &BatchSettings { enabled: false, ..BatchSettings::default() });
    for _ in 0..20 {
        assert_eq!(call(&upstream, outbound("")).await, slept());
    }
    assert_eq!(peer.streams(), 0);
}

#[tokio::test]
async fn a_stream_that_nobody_uses_ends() {
    let (peer, upstream) = ready(BatchSettings::default()).await;
    assert_eq!(peer.open.load(Ordering::SeqCst), 1);
    drop(upstream);
    let begin = Instant::now();
    while peer.open.load(Ordering::SeqCst) > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it keeps its connection open");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
