//! An answer that came together with others.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::FlowControl;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use http_body::Frame;
use openorder_proto::internal::rpc::v1::Answer;
use tokio::sync::mpsc;

use crate::batch::{GRPC, Malformed, headers_of};
use crate::client::batch::UnderWay;

/// Parts of one answer that may be under way: what the windows of a stream hold of the smallest ones.
const PARTS_MAX: usize = 128;

/// Where the further parts of an answer come.
pub(crate) type Parts = mpsc::Receiver<AnswerPart>;

/// Where the further parts of an answer go.
pub(crate) struct PartsSender(mpsc::Sender<AnswerPart>);

pub(crate) fn parts() -> (PartsSender, Parts) {
    let (sender, parts) = mpsc::channel(PARTS_MAX);
    (PartsSender(sender), parts)
}

impl PartsSender {
    /// Whether the part has room. It counts against the stream's window until it is read.
    pub(crate) fn send(&self, answer: Answer, credit: &mut Credit) -> bool {
        let lent = credit.lend(answer.body.len());
        self.0.try_send(AnswerPart { answer, _lent: lent }).is_ok()
    }
}

/// A further part of an answer.
pub(crate) struct AnswerPart {
    answer: Answer,
    _lent: Lent,
}

/// The bytes that a stream's sender may send: given back as they are read.
pub(crate) struct Credit {
    flow: FlowControl,
    /// Received and not given back.
    owed: usize,
}

impl Credit {
    pub(crate) fn new(flow: FlowControl) -> Self {
        Self { flow, owed: 0 }
    }

    pub(crate) fn received(&mut self, bytes: usize) {
        self.owed += bytes;
    }

    /// Gives back all but so many bytes.
    pub(crate) fn release_all_but(&mut self, bytes: usize) {
        let released = self.owed.saturating_sub(bytes);
        self.owed -= released;
        // A stream that has ended needs none.
        drop(self.flow.release_capacity(released));
    }

    /// Leaves so many bytes to who gives them back later.
    fn lend(&mut self, bytes: usize) -> Lent {
        let bytes = bytes.min(self.owed);
        self.owed -= bytes;
        Lent { flow: self.flow.clone(), bytes }
    }
}

struct Lent {
    flow: FlowControl,
    bytes: usize,
}

impl Drop for Lent {
    fn drop(&mut self) {
        drop(self.flow.release_capacity(self.bytes));
    }
}

/// An answer, whole or as it arrives.
pub(crate) struct BatchedAnswer {
    headers: HeaderMap,
    pub(crate) body: BatchedBody,
}

/// Its body.
pub(crate) struct BatchedBody {
    data: Bytes,
    trailers: HeaderMap,
    /// None when the last part has come.
    more: Option<(Parts, UnderWay)>,
}

/// The stream ended before the answer.
pub(crate) struct BrokenOff;

impl BatchedAnswer {
    pub(crate) fn new(answer: Answer, more: Option<(Parts, UnderWay)>) -> Result<Self, Malformed> {
        let mut headers = headers_of(answer.headers, 1)?;
        headers.insert(CONTENT_TYPE, GRPC);
        Ok(Self { headers, body: BatchedBody { data: answer.body, trailers: headers_of(answer.trailers, 0)?, more } })
    }

    /// The head, with the body that this makes of it.
    pub(crate) fn into_response<B>(self, body: impl FnOnce(BatchedBody) -> B) -> Response<B> {
        let mut response = Response::new(body(self.body));
        *response.headers_mut() = self.headers;
        response
    }
}

impl BatchedBody {
    pub(crate) fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            if !self.data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
            }
            let Some((parts, _)) = &mut self.more else {
                let trailers = std::mem::take(&mut self.trailers);
                return Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))));
            };
            let Some(part) = ready!(parts.poll_recv(context)) else { return Poll::Ready(Some(Err(BrokenOff))) };
            let AnswerPart { answer, _lent } = part;
            self.data = answer.body;
            if !answer.has_more {
                let Ok(trailers) = headers_of(answer.trailers, 0) else { return Poll::Ready(Some(Err(BrokenOff))) };
                self.trailers = trailers;
                self.more = None;
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_empty() && self.more.is_none()
    }
}
