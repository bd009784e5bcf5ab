//! A server that takes calls together, as a client of the contract sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use openorder_proto::internal::rpc::v1::batch_service_client::BatchServiceClient;
use openorder_proto::internal::rpc::v1::{Answer, Call, ExchangeCallsRequest, ExchangeCallsResponse, Metadata};
use openorder_rpc::{BatchSettings, ConnectionSettings, RpcServerSettings, reason_of};
use openorder_telemetry::RoleTelemetry;
use prost::Message;
use support::{Running, start, start_quiet};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// A stream of calls to the service.
struct Exchange {
    calls: mpsc::Sender<ExchangeCallsRequest>,
    answers: Streaming<ExchangeCallsResponse>,
    parts: HashMap<u64, usize>,
}

/// A whole answer.
#[derive(Debug, PartialEq)]
struct Whole {
    id: u64,
    code: Code,
    reason: Option<String>,
    text: String,
}

impl Exchange {
    async fn open(server: &Running) -> Result<Self, Status> {
        let channel = Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap();
        Self::open_over(channel).await
    }

    async fn open_over(channel: Channel) -> Result<Self, Status> {
        let (calls, requests) = mpsc::channel(16);
        let requests = futures::stream::unfold(requests, |mut requests| async {
            requests.recv().await.map(|message| (message, requests))
        });
        let answers = BatchServiceClient::new(channel).exchange_calls(requests).await?.into_inner();
        Ok(Self { calls, answers, parts: HashMap::new() })
    }

    async fn send(&self, message: ExchangeCallsRequest) {
        self.calls.send(message).await.unwrap();
    }

    async fn send_calls(&self, calls: Vec<Call>) {
        self.send(ExchangeCallsRequest { calls, ..Default::default() }).await;
    }

    /// So many whole answers, in the order of their ends.
    async fn answers(&mut self, number: usize) -> Vec<Whole> {
        let (mut whole, mut begun) = (Vec::new(), HashMap::<u64, Answer>::new());
        while whole.len() < number {
            for part in self.answers.message().await.unwrap().unwrap().answers {
                *self.parts.entry(part.call_id).or_default() += 1;
                let (id, has_more) = (part.call_id, part.has_more);
                let answer = match begun.remove(&id) {
                    None => part,
                    Some(before) => {
                        let body = [before.body, part.body].concat().into();
                        Answer { body, trailers: part.trailers, ..before }
                    }
                };
                if has_more {
                    begun.insert(id, answer);
                } else {
                    whole.push(read(answer));
                }
            }
        }
        assert!(begun.is_empty() && whole.len() == number, "{whole:?}");
        whole
    }
}

fn read(answer: Answer) -> Whole {
    assert!(!answer.is_refused, "{answer:?}");
    let mut headers = http::HeaderMap::new();
    for Metadata { name, value } in answer.headers.into_iter().chain(answer.trailers) {
        headers.append(http::HeaderName::try_from(name).unwrap(), http::HeaderValue::from_bytes(&value).unwrap());
    }
    let status = Status::from_header_map(&headers).unwrap();
    let text = answer.body.get(5..).map(|message| String::decode(message).unwrap());
    Whole { id: answer.call_id, code: status.code(), reason: reason_of(&status), text: text.unwrap_or_default() }
}

fn call(id: u64, method: &str, text: &str) -> Call {
    let message = text.to_owned().encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let metadata = [("x-openorder-subject", "test"), ("x-openorder-roles", "service"), ("grpc-timeout", "60S")];
    let metadata = metadata
        .into_iter()
        .map(|(name, value)| Metadata { name: name.to_owned(), value: value.as_bytes().into() })
        .collect();
    Call { id, path: format!("/test.Echo/{method}"), metadata, body: [&[0], &length[..], &message].concat().into() }
}

fn ok(id: u64, text: &str) -> Whole {
    Whole { id, code: Code::Ok, reason: None, text: text.to_owned() }
}

fn refused(id: u64, code: Code, reason: &str) -> Whole {
    Whole { id, code, reason: Some(reason.to_owned()), text: String::new() }
}

async fn begun(server: &Running, calls: u32) {
    while server.echo.calls.load(std::sync::atomic::Ordering::SeqCst) < calls {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn with_batch(batch: BatchSettings) -> RpcServerSettings {
    RpcServerSettings { batch, ..RpcServerSettings::default() }
}

#[tokio::test]
async fn each_call_of_a_message_is_answered_by_itself_and_as_soon_as_it_can_be() {
    let server = start_quiet().await;
    let mut exchange = Exchange::open(&server).await.unwrap();
    let mut late = call(3, "Sleep", "60000");
    late.metadata.pop();
    late.metadata.push(Metadata { name: "grpc-timeout".to_owned(), value: "50m".into() });
    let mut anonymous = call(6, "Context", "");
    anonymous.metadata.remove(0);
    let calls = vec![
        call(1, "Sleep", "60000"),
        call(2, "Reject", ""),
        late,
        call(4, "Panic", ""),
        call(5, "Nothing", ""),
        anonymous,
        call(7, "Sleep", "1"),
        Call { path: "no path".to_owned(), ..call(8, "Sleep", "1") },
        call(9, "Fail", ""),
    ];
    exchange.send_calls(calls).await;
    // Nobody waits for the first one.
    let mut answers = exchange.answers(8).await;
    answers.sort_by_key(|answer| answer.id);
    let expected = [
        refused(2, Code::FailedPrecondition, "OUT_OF_STOCK"),
        refused(3, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        refused(4, Code::Internal, "INTERNAL"),
        refused(5, Code::Unimplemented, "UNIMPLEMENTED"),
        refused(6, Code::Unauthenticated, "CALLER_MISSING"),
        ok(7, "slept"),
        refused(8, Code::InvalidArgument, "MALFORMED_REQUEST"),
        refused(9, Code::Internal, "INTERNAL"),
    ];
    assert_eq!(answers, expected);
    drop(exchange);
    server.stop().await;
}

#[tokio::test]
async fn answers_that_are_ready_together_come_in_few_messages() {
    let server =
        start(RoleTelemetry::disabled("echo"), with_batch(BatchSettings { calls_max: 40, ..Default::default() }));
    let server = server.await;
    let mut exchange = Exchange::open(&server).await.unwrap();
    exchange.send_calls((1..=100).map(|id| call(id, "Sleep", "0")).collect()).await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 100 {
        sizes.push(exchange.answers.message().await.unwrap().unwrap().answers.len());
    }
    assert!(sizes.len() < 50 && sizes.iter().all(|size| *size <= 40), "{sizes:?}");
    drop(exchange);
    server.stop().await;
}

#[tokio::test]
async fn a_large_answer_comes_in_parts_between_which_others_come() {
    let settings = with_batch(BatchSettings { bytes_max: 16_384, ..Default::default() });
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    let mut exchange = Exchange::open(&server).await.unwrap();
    exchange.send_calls(vec![call(1, "Size", "3000000"), call(2, "Size", "2000000"), call(3, "Sleep", "1")]).await;
    let mut answers = exchange.answers(3).await;
    assert_eq!(answers.remove(0), ok(3, "slept"), "it does not wait for the large ones");
    answers.sort_by_key(|answer| answer.id);
    assert_eq!(answers.iter().map(|answer| answer.text.len()).collect::<Vec<_>>(), [3_000_000, 2_000_000]);
    assert_eq!(exchange.parts, HashMap::from([(1, 184), (2, 123), (3, 1)]));
    drop(exchange);
    server.stop().await;
}

#[tokio::test]
async fn a_cancelled_call_ends_and_gives_its_place_back_and_nobody_else_does() {
    let settings = RpcServerSettings { in_flight_requests_max: 2, ..RpcServerSettings::default() };
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    let mut exchange = Exchange::open(&server).await.unwrap();
    exchange.send_calls(vec![call(1, "Sleep", "60000"), call(2, "Sleep", "500")]).await;
    begun(&server, 2).await;
    exchange.send_calls(vec![call(3, "Sleep", "1")]).await;
    assert_eq!(exchange.answers(1).await, [refused(3, Code::ResourceExhausted, "OVERLOADED")]);
    // One that is unknown, and one that is under way.
    exchange.send(ExchangeCallsRequest { cancelled_call_ids: vec![77, 1], ..Default::default() }).await;
    while exchange.calls.capacity() < exchange.calls.max_capacity() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    exchange.send_calls(vec![call(4, "Sleep", "1")]).await;
    assert_eq!(exchange.answers(2).await, [ok(4, "slept"), ok(2, "slept")]);
    drop(exchange);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_breaks_ends_its_calls() {
    let settings = RpcServerSettings { in_flight_requests_max: 1, ..RpcServerSettings::default() };
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    let exchange = Exchange::open(&server).await.unwrap();
    exchange.send_calls(vec![call(1, "Sleep", "60000")]).await;
    begun(&server, 1).await;
    drop(exchange);
    let mut exchange = Exchange::open(&server).await.unwrap();
    let begin = Instant::now();
    for id in 1.. {
        exchange.send_calls(vec![call(id, "Sleep", "1")]).await;
        if exchange.answers(1).await[0].code == Code::Ok {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "the call goes on");
    }
    drop(exchange);
    server.stop().await;
}

#[tokio::test]
async fn calls_beyond_the_bound_of_a_stream_are_not_taken_up() {
    let settings = with_batch(BatchSettings { in_flight_max: 2, ..Default::default() });
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    let mut exchange = Exchange::open(&server).await.unwrap();
    exchange.send_calls((1..=4).map(|id| call(id, "Sleep", "100")).collect()).await;
    let mut not_taken = Vec::new();
    while not_taken.len() < 2 {
        not_taken.extend(exchange.answers.message().await.unwrap().unwrap().answers);
    }
    let refusal = |id| Answer { call_id: id, is_refused: true, ..Answer::default() };
    assert_eq!(not_taken, [refusal(3), refusal(4)]);
    let mut answers = exchange.answers(2).await;
    answers.sort_by_key(|answer| answer.id);
    assert_eq!(answers, [ok(1, "slept"), ok(2, "slept")]);
    assert_eq!(server.echo.calls.load(std::sync::atomic::Ordering::SeqCst), 2);
    drop(exchange);
    server.stop().await;
}

#[tokio::test]
async fn what_the_contract_does_not_allow_ends_the_stream() {
    let server = start_quiet().await;
    let last = || ExchangeCallsRequest { is_last: true, ..Default::default() };
    let after_the_last =
        vec![last(), ExchangeCallsRequest { calls: vec![call(1, "Sleep", "1")], ..Default::default() }];
    let twice = vec![call(1, "Sleep", "60000"), call(1, "Sleep", "1")];
    let keeps_open = ExchangeCallsRequest { calls: vec![call(9, "Sleep", "60000")], ..Default::default() };
    for wrong in
        [[vec![keeps_open], after_the_last].concat(), vec![ExchangeCallsRequest { calls: twice, ..Default::default() }]]
    {
        let mut exchange = Exchange::open(&server).await.unwrap();
        for message in wrong {
            exchange.send(message).await;
        }
        let status = exchange.answers.message().await.unwrap_err();
        assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::InvalidArgument, Some("MALFORMED_REQUEST")));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_goes_down_answers_what_it_has_and_says_so_before() {
    let server = start_quiet().await;
    let mut exchange = Exchange::open(&server).await.unwrap();
    exchange.send_calls(vec![call(1, "Sleep", "300")]).await;
    begun(&server, 1).await;
    server.shutdown.trigger();
    let told = exchange.answers.message().await.unwrap().unwrap();
    assert_eq!(told, ExchangeCallsResponse { is_closing: true, ..Default::default() });
    // What was on its way is still taken.
    exchange.send_calls(vec![call(2, "Sleep", "200")]).await;
    exchange.send(ExchangeCallsRequest { is_last: true, ..Default::default() }).await;
    let mut answers = exchange.answers(2).await;
    answers.sort_by_key(|answer| answer.id);
    assert_eq!(answers, [ok(1, "slept"), ok(2, "slept")]);
    assert_eq!(exchange.answers.message().await.unwrap(), None, "and the stream ends well");
    let begin = Instant::now();
    server.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "nothing holds the server up");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever_for_who_sends_no_last_call() {
    let connection = ConnectionSettings { drain_timeout_ms: 200, ..ConnectionSettings::default() };
    let settings = RpcServerSettings { connection, ..RpcServerSettings::default() };
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    let mut exchange = Exchange::open(&server).await.unwrap();
    server.shutdown.trigger();
    assert!(exchange.answers.message().await.unwrap().unwrap().is_closing);
    let begin = Instant::now();
    server.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(exchange.answers.message().await.is_err());
}

#[tokio::test]
async fn an_idle_connection_ends_though_its_stream_is_open_and_a_busy_one_does_not() {
    let connection = ConnectionSettings { idle_timeout_ms: 100, ..ConnectionSettings::default() };
    let settings = RpcServerSettings { connection, ..RpcServerSettings::default() };
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    let mut exchange = Exchange::open(&server).await.unwrap();
    exchange.send_calls(vec![call(1, "Sleep", "500")]).await;
    assert_eq!(exchange.answers(1).await, [ok(1, "slept")]);
    assert!(exchange.answers.message().await.unwrap().unwrap().is_closing);
    exchange.send(ExchangeCallsRequest { is_last: true, ..Default::default() }).await;
    assert_eq!(exchange.answers.message().await.unwrap(), None);
    server.stop().await;
}

#[tokio::test]
async fn where_it_is_turned_off_there_is_no_such_method() {
    let settings = with_batch(BatchSettings { enabled: false, ..Default::default() });
    let server = start(RoleTelemetry::disabled("echo"), settings).await;
    let Err(status) = Exchange::open(&server).await else { panic!("it is taken") };
    assert_eq!(status.code(), Code::Unimplemented);
    server.stop().await;
}
