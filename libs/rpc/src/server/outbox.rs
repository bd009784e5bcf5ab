//! Answers to calls that came together, from the tasks that make them to the message that they go back in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Body as _;
use http_body_util::Full;
use openorder_proto::internal::rpc::v1::{Answer, Call};
use tokio::sync::oneshot;

use crate::batch::{GRPC, Malformed, entry, headers_of, metadata_of};
use crate::server::batch::trailers;
use crate::server::service::RpcService;
use crate::status::Refusal;

/// A part of an answer, encoded; mostly the whole of it.
pub(crate) struct Part {
    pub(crate) id: u64,
    pub(crate) entry: Vec<u8>,
    pub(crate) is_last: bool,
    /// Of a call that has no task.
    pub(crate) is_refusal: bool,
    /// Dropped when it was taken: who makes the next part waits for that.
    _untaken: Option<oneshot::Sender<()>>,
}

impl Part {
    fn new(answer: &Answer, untaken: Option<oneshot::Sender<()>>) -> Self {
        let (id, is_last) = (answer.call_id, !answer.has_more);
        Self { id, entry: entry(answer), is_last, is_refusal: false, _untaken: untaken }
    }

    /// Of a call that is not taken up.
    pub(crate) fn refused(id: u64) -> Self {
        let answer = Answer { call_id: id, is_refused: true, ..Answer::default() };
        // It is no end of the call that has this number, should there be one.
        Self { is_last: false, is_refusal: true, ..Self::new(&answer, None) }
    }
}

/// Parts that wait to be written. Each call has one at most.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<State>);

#[derive(Default)]
struct State {
    parts: VecDeque<Part>,
    /// Who writes, while there is nothing to write.
    writer: Option<Waker>,
}

impl Outbox {
    pub(crate) fn push(&self, part: Part) {
        let writer = {
            let mut state = self.state();
            state.parts.push_back(part);
            state.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state().parts.len()
    }

    /// Whether there is nothing to write; then this is woken when there is.
    pub(crate) fn is_empty_until(&self, writer: &Waker) -> bool {
        let mut state = self.state();
        let is_empty = state.parts.is_empty();
        if is_empty {
            state.writer = Some(writer.clone());
        }
        is_empty
    }

    /// Takes parts, the oldest one first, until one is left.
    pub(crate) fn take_while(&self, mut takes: impl FnMut(&Part) -> bool) {
        let mut state = self.state();
        while let Some(part) = state.parts.front() {
            if !takes(part) {
                return;
            }
            state.parts.pop_front();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one call as it would be answered over a stream of its own.
pub(crate) async fn answer(service: RpcService, call: Call, outbox: Arc<Outbox>, bytes_max: usize) {
    let mut reply = Reply { id: call.id, outbox, is_over: false };
    let answer = match request(call) {
        Ok(request) => {
            let Ok(answer) = service.answer(request).await;
            answer
        }
        Err(error) => Refusal::malformed_request(error.to_string()).into_http(),
    };
    let (head, mut body) = answer.into_parts();
    let mut headers = Some(head.headers);
    let (mut held, mut end) = (Bytes::new(), HeaderMap::new());
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let data = match frame.transpose() {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    end = frame.into_trailers().unwrap_or_default();
                    break;
                }
            },
            Ok(None) => break,
            Err(status) => {
                end = trailers(&status);
                break;
            }
        };
        if !held.is_empty() {
            reply.part(&mut headers, std::mem::take(&mut held)).await;
        }
        held = data;
        while held.len() > bytes_max {
            reply.part(&mut headers, held.split_to(bytes_max)).await;
        }
    }
    reply.end(headers, held, &end);
}

/// The call as a request that came by itself.
fn request(call: Call) -> Result<Request<Full<Bytes>>, Malformed> {
    let Call { path, metadata, body, .. } = call;
    let mut headers = headers_of(metadata, 2)?;
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = headers;
    *request.uri_mut() = path.try_into().map_err(|_| Malformed::new("a path is none"))?;
    Ok(request)
}

/// What a call is answered. Dropped before its end, its work panicked, or was ended.
struct Reply {
    id: u64,
    outbox: Arc<Outbox>,
    is_over: bool,
}

impl Reply {
    /// Sends a part, and waits until it was taken: however long an answer is, no more than that waits.
    async fn part(&mut self, headers: &mut Option<HeaderMap>, body: Bytes) {
        let (untaken, taken) = oneshot::channel();
        let headers = headers.take().as_ref().map(metadata_of).unwrap_or_default();
        let answer = Answer { call_id: self.id, headers, body, has_more: true, ..Answer::default() };
        self.outbox.push(Part::new(&answer, Some(untaken)));
        drop(taken.await);
    }

    fn end(&mut self, headers: Option<HeaderMap>, body: Bytes, trailers: &HeaderMap) {
        self.is_over = true;
        let headers = headers.as_ref().map(metadata_of).unwrap_or_default();
        let answer = Answer { call_id: self.id, headers, body, trailers: metadata_of(trailers), ..Answer::default() };
        self.outbox.push(Part::new(&answer, None));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(None, Bytes::new(), &trailers(&Refusal::internal()));
        }
    }
}
