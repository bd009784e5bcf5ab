//! Calls that travel together over one connection, as their sender sees them.
//!
//! A caller encodes its call and puts it into a queue. One task writes: what the queue has when it gets its turn is one
//! message. The same task reads the answers, and gives each to its caller.
//!
//! Whether the other end takes calls this way it says itself, once a connection; until then, and if not, each call goes
//! by itself. So does one that the stream has no room for, or that was not sent when the stream ended.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request};
use openorder_proto::internal::rpc::v1::{Answer, Call, ExchangeCallsRequest, ExchangeCallsResponse};
use tokio::sync::{Notify, oneshot};

use crate::batch::{Batch, BatchMetrics, EXCHANGE_CALLS, GRPC, Messages, entry, metadata_of};
use crate::client::answer::{BatchedAnswer, Credit, Parts, PartsSender, parts};
use crate::client::upstream::Outbound;
use crate::settings::BatchSettings;

/// Cancellations in one message.
const CANCELLATIONS_MAX: usize = 1_024;
/// A stream that ended is not opened again before, on a connection that goes on.
const REOPENED_AFTER: Duration = Duration::from_secs(1);

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(crate) enum Unanswered {
    /// It was not taken up, and may go in another way.
    NotTaken,
    /// It may have been carried out, or not.
    Lost(Arc<str>),
}

/// The stream of calls over one connection. It ends when it is dropped; each call under way has it.
pub(crate) struct Calls(Arc<Shared>);

struct Shared {
    settings: BatchSettings,
    metrics: BatchMetrics,
    /// Whether calls are taken, as is known without the lock.
    is_open: AtomicBool,
    next_id: AtomicU64,
    state: Mutex<State>,
    /// There is something to write.
    work: Notify,
}

#[derive(Default)]
struct State {
    /// Calls to write, the oldest first.
    queue: VecDeque<(u64, Vec<u8>)>,
    cancelled: Vec<u64>,
    /// Calls without an answer.
    waiting: HashMap<u64, Waiting>,
    /// The other end wants no more.
    is_closing: bool,
    /// It has to be told that none follow.
    says_last: bool,
    /// Nobody has a use for the stream any more.
    is_released: bool,
    ended: Option<Ended>,
}

/// A call without an answer, or with a part of one.
struct Waiting {
    is_sent: bool,
    answer: Answering,
}

enum Answering {
    Whole(oneshot::Sender<Result<Arrived, Unanswered>>),
    Parts(PartsSender),
}

/// An answer, or its first part and where the others come.
type Arrived = (Answer, Option<Parts>);

struct Ended {
    at: Instant,
    /// Whether another stream may do better.
    is_final: bool,
}

impl Calls {
    /// Asks the other end of a connection to take calls together. Until it says so, none are taken.
    pub(crate) fn open(sender: SendRequest<Bytes>, settings: &BatchSettings) -> Arc<Self> {
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            metrics: BatchMetrics::new("call"),
            is_open: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            state: Mutex::default(),
            work: Notify::new(),
        });
        let carried = Arc::clone(&shared);
        tokio::spawn(async move {
            let ended = carried.carry(sender).await;
            tracing::debug!(reason = ended.reason, "a stream of calls ended");
            carried.end(&ended);
        });
        Arc::new(Self(shared))
    }

    /// Whether calls are taken.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_open.load(Ordering::Acquire)
    }

    /// Whether another stream should be tried on the same connection.
    pub(crate) fn may_be_opened_again(&self) -> bool {
        let ended = &self.0.state().ended;
        ended.as_ref().is_some_and(|ended| !ended.is_final && ended.at.elapsed() >= REOPENED_AFTER)
    }

    /// Sends a call, and waits until its answer begins.
    pub(crate) async fn call(self: Arc<Self>, outbound: &Outbound) -> Result<BatchedAnswer, Unanswered> {
        let shared = &self.0;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let call = Call {
            id,
            path: outbound.path.as_str().to_owned(),
            metadata: metadata_of(&outbound.headers),
            body: outbound.body.clone(),
        };
        let call = entry(&call);
        if call.len() > shared.settings.bytes_max {
            return Err(Unanswered::NotTaken);
        }
        let (sender, receiver) = oneshot::channel();
        if !shared.enqueue(id, call, sender) {
            return Err(Unanswered::NotTaken);
        }
        let under_way = UnderWay { calls: self, id };
        // Whoever ends the stream tells all that wait.
        let (answer, parts) = receiver.await.unwrap_or(Err(Unanswered::Lost("it ended".into())))?;
        let malformed = |_| Unanswered::Lost("a malformed answer".into());
        BatchedAnswer::new(answer, parts.map(|parts| (parts, under_way))).map_err(malformed)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.0.state().is_released = true;
        self.0.work.notify_one();
    }
}

/// A call under way. Dropped before its answer has ended, the other end hears that nobody waits for it.
pub(crate) struct UnderWay {
    calls: Arc<Calls>,
    id: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.calls.0.give_up(self.id);
    }
}

/// How a stream ended.
struct End {
    reason: String,
    is_final: bool,
}

impl End {
    fn of(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), is_final: false }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the call was taken.
    fn enqueue(&self, id: u64, call: Vec<u8>, answer: oneshot::Sender<Result<Arrived, Unanswered>>) -> bool {
        let mut state = self.state();
        if !self.is_open.load(Ordering::Acquire) || state.waiting.len() >= self.settings.in_flight_max {
            return false;
        }
        state.waiting.insert(id, Waiting { is_sent: false, answer: Answering::Whole(answer) });
        state.queue.push_back((id, call));
        let is_first = state.queue.len() == 1;
        drop(state);
        if is_first {
            self.work.notify_one();
        }
        true
    }

    fn give_up(&self, id: u64) {
        let mut state = self.state();
        // A call in the queue is passed over when its turn comes.
        if state.waiting.remove(&id).is_some_and(|waiting| waiting.is_sent) && state.ended.is_none() {
            state.cancelled.push(id);
            drop(state);
            self.work.notify_one();
        }
    }

    /// Opens the stream, and carries calls and answers until it ends.
    async fn carry(&self, mut sender: SendRequest<Bytes>) -> End {
        if let Err(error) = poll_fn(|context| sender.poll_ready(context)).await {
            return End::of(error);
        }
        let (answer, calls) = match sender.send_request(head(), false) {
            Ok(opened) => opened,
            Err(error) => return End::of(error),
        };
        drop(sender);
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(error) => return End::of(error),
        };
        if answer.status() != http::StatusCode::OK || answer.headers().contains_key("grpc-status") {
            return End { reason: "each call has to come by itself".to_owned(), is_final: true };
        }
        self.is_open.store(true, Ordering::Release);
        tokio::select! {
            end = self.read(answer.into_body()) => end,
            end = self.write(calls) => end,
        }
    }

    async fn write(&self, mut calls: SendStream<Bytes>) -> End {
        loop {
            self.work.notified().await;
            loop {
                // Nobody waits for company. But callers that are ready now put their calls in first.
                tokio::task::yield_now().await;
                calls.reserve_capacity(1);
                while calls.capacity() == 0 {
                    match poll_fn(|context| calls.poll_capacity(context)).await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return End::of(error),
                        None => return End::of("it was closed"),
                    }
                }
                let Some(message) = self.next_message() else { break };
                if let Err(error) = calls.send_data(message, false) {
                    return End::of(error);
                }
            }
            if self.state().is_released {
                // Everybody has an answer, or does not wait for one.
                drop(calls.send_data(Bytes::new(), true));
                return End::of("nobody uses it");
            }
        }
    }

    /// What there is to write now, in one message.
    fn next_message(&self) -> Option<Bytes> {
        let BatchSettings { calls_max, bytes_max, .. } = self.settings;
        let mut batch = Batch::new();
        let mut state = self.state();
        let State { queue, waiting, cancelled, says_last, .. } = &mut *state;
        while let Some((id, call)) = queue.front() {
            if !batch.has_room(call.len(), calls_max, bytes_max) {
                break;
            }
            if let Some(waiting) = waiting.get_mut(id) {
                waiting.is_sent = true;
                batch.add(call);
            }
            queue.pop_front();
        }
        self.metrics.sent(&batch);
        if !cancelled.is_empty() || *says_last {
            let cancelled_call_ids = cancelled.drain(..cancelled.len().min(CANCELLATIONS_MAX)).collect();
            let is_last = std::mem::take(says_last);
            batch.merge(&ExchangeCallsRequest { cancelled_call_ids, is_last, ..Default::default() });
        }
        batch.finish()
    }

    async fn read(&self, mut answers: RecvStream) -> End {
        let mut messages = Messages::default();
        let mut credit = Credit::new(answers.flow_control().clone());
        loop {
            match answers.data().await {
                Some(Ok(data)) => {
                    credit.received(data.len());
                    messages.push(&data);
                }
                Some(Err(error)) => return End::of(error),
                None => return End::of("it ended"),
            }
            loop {
                match messages.next_message::<ExchangeCallsResponse>() {
                    Ok(Some(message)) => self.deliver(message, &mut credit),
                    Ok(None) => break,
                    Err(error) => return End::of(error),
                }
            }
            credit.release_all_but(messages.bytes());
        }
    }

    /// Gives the answers of a message to their callers.
    fn deliver(&self, message: ExchangeCallsResponse, credit: &mut Credit) {
        let mut whole = Vec::with_capacity(message.answers.len());
        let mut state = self.state();
        for answer in message.answers {
            let id = answer.call_id;
            let Some(Waiting { is_sent, answer: answering }) = state.waiting.remove(&id) else { continue };
            match answering {
                Answering::Whole(caller) if answer.is_refused => whole.push((caller, Err(Unanswered::NotTaken))),
                Answering::Whole(caller) if answer.has_more => {
                    let (sender, parts) = parts();
                    state.waiting.insert(id, Waiting { is_sent, answer: Answering::Parts(sender) });
                    whole.push((caller, Ok((answer, Some(parts)))));
                }
                Answering::Whole(caller) => whole.push((caller, Ok((answer, None)))),
                Answering::Parts(sender) => {
                    let has_more = answer.has_more;
                    if sender.send(answer, credit) && has_more {
                        state.waiting.insert(id, Waiting { is_sent, answer: Answering::Parts(sender) });
                    }
                }
            }
        }
        if message.is_closing {
            self.is_open.store(false, Ordering::Release);
            state.is_closing = true;
            state.says_last = true;
            whole.extend(state.unsent());
            self.work.notify_one();
        }
        drop(state);
        tell(whole);
    }

    /// Tells all that wait how the stream ended.
    fn end(&self, end: &End) {
        let mut state = self.state();
        self.is_open.store(false, Ordering::Release);
        state.ended = Some(Ended { at: Instant::now(), is_final: end.is_final || state.is_closing });
        let mut told: Vec<_> = state.unsent().collect();
        let reason: Arc<str> = end.reason.as_str().into();
        for (_, waiting) in state.waiting.drain() {
            // Of an answer in parts, the end of the parts tells.
            if let Answering::Whole(caller) = waiting.answer {
                told.push((caller, Err(Unanswered::Lost(Arc::clone(&reason)))));
            }
        }
        state.cancelled.clear();
        drop(state);
        tell(told);
    }
}

type Told = (oneshot::Sender<Result<Arrived, Unanswered>>, Result<Arrived, Unanswered>);

impl State {
    /// The calls that were not sent: they may go in another way.
    fn unsent(&mut self) -> impl Iterator<Item = Told> {
        let Self { queue, waiting, .. } = self;
        queue.drain(..).filter_map(|(id, _)| match waiting.remove(&id)?.answer {
            Answering::Whole(caller) => Some((caller, Err(Unanswered::NotTaken))),
            Answering::Parts(_) => None,
        })
    }
}

fn tell(told: Vec<Told>) {
    for (caller, what) in told {
        // One that went away meanwhile needs no answer.
        drop(caller.send(what));
    }
}

fn head() -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = http::Uri::from_static("http://batch/openorder.internal.rpc.v1.BatchService/ExchangeCalls");
    debug_assert_eq!(request.uri().path(), EXCHANGE_CALLS);
    request.headers_mut().insert(CONTENT_TYPE, GRPC);
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request
}
