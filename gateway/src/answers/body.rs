//! The body of an answer as its caller reads it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use openorder_rpc::Refusal;
use openorder_rpc::server::read_by;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;

use super::sending::Sending;
use super::stream::Incoming;
use super::{CallerAnswers, RETRY_AFTER};
use crate::shares::Part;

/// Bytes up to which the end of an answer follows its data at once, in the same write. The end of a longer one waits
/// until the data was sent: until then it can be taken back.
const SENT_AT_ONCE_BYTES: usize = 16_384;

/// Bytes of an answer, held until they left the process.
pub(crate) struct Piece {
    data: Bytes,
    _held: Part,
    unsent: Option<Arc<Unsent>>,
    /// Where it is counted while it waits in the caller's connection.
    sending: Option<(Arc<Sending>, usize)>,
}

impl Piece {
    pub(crate) fn new(data: Bytes, held: Part) -> Self {
        Self { data, _held: held, unsent: None, sending: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// Counts it among what is not sent, until it is dropped.
    pub(crate) fn count(mut self, unsent: &Arc<Unsent>) -> Self {
        unsent.bytes.fetch_add(self.len(), Ordering::AcqRel);
        self.unsent = Some(Arc::clone(unsent));
        self
    }

    /// For the connection, which drops it when it was written.
    fn into_bytes(mut self, sending: &Option<Arc<Sending>>) -> Bytes {
        self.sending = sending.as_ref().map(|sending| (Arc::clone(sending), sending.begin()));
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some((sending, slot)) = &self.sending {
            sending.sent(*slot);
        }
        if let Some(unsent) = &self.unsent {
            unsent.sent(self.data.len());
        }
    }
}

/// Bytes of one answer that did not leave the process yet.
#[derive(Default)]
pub(crate) struct Unsent {
    bytes: AtomicUsize,
    waiting: Mutex<Option<Waker>>,
}

impl Unsent {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    fn sent(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let waker = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once no more than this is unsent.
    fn poll_sent(&self, bytes_max: usize, context: &mut Context<'_>) -> Poll<()> {
        if self.bytes() <= bytes_max {
            return Poll::Ready(());
        }
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        // Sent before it was known who waits: nobody would be woken.
        if self.bytes() <= bytes_max { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The body of an answer; nothing by default.
#[derive(Default)]
pub(crate) struct AnswerBody {
    source: Source,
    /// How long its caller may leave it, or a part of it, unread.
    read_timeout: Duration,
    trailers: Option<HeaderMap>,
    unsent: Option<Arc<Unsent>>,
    sending: Option<Arc<Sending>>,
    ended: bool,
}

#[derive(Default)]
enum Source {
    #[default]
    Nothing,
    Whole {
        first: Option<Piece>,
        more: VecDeque<Piece>,
        length: usize,
        read_by: Instant,
    },
    Stream(Incoming),
    MadeHere {
        body: Body,
        caller: CallerAnswers,
    },
}

impl AnswerBody {
    fn of(caller: &CallerAnswers) -> Self {
        let read_timeout = caller.limits.read_timeout;
        Self { read_timeout, sending: Some(Arc::clone(&caller.sending)), ..Self::default() }
    }

    /// Of an answer that is read once it is complete.
    pub(super) fn whole(caller: &CallerAnswers) -> Self {
        let read_by = Instant::now();
        let source = Source::Whole { first: None, more: VecDeque::new(), length: 0, read_by };
        Self { source, ..Self::of(caller) }
    }

    /// Adds to a whole answer.
    pub(super) fn push(&mut self, piece: Piece) {
        let Source::Whole { first, more, length, .. } = &mut self.source else { return };
        *length += piece.len();
        if first.is_none() && more.is_empty() {
            *first = Some(piece);
        } else {
            more.push_back(piece);
        }
        if *length > SENT_AT_ONCE_BYTES && self.unsent.is_none() {
            self.unsent = Some(Arc::default());
        }
    }

    /// Completes a whole answer: its time to be read begins.
    pub(super) fn complete(&mut self, trailers: Option<HeaderMap>) {
        self.trailers = trailers;
        if let Source::Whole { read_by, .. } = &mut self.source {
            *read_by = Instant::now() + self.read_timeout;
        }
    }

    /// Of an answer that comes bit by bit.
    pub(super) fn stream(caller: &CallerAnswers, incoming: Incoming) -> Self {
        let unsent = Some(Arc::clone(&incoming.unsent));
        Self { source: Source::Stream(incoming), unsent, ..Self::of(caller) }
    }

    /// Of an answer that is made while it is read.
    pub(super) fn made_here(caller: &CallerAnswers, body: Body) -> Self {
        let source = Source::MadeHere { body, caller: caller.clone() };
        Self { source, unsent: Some(Arc::default()), ..Self::of(caller) }
    }

    /// The next piece, and when it has to be read; `None` at the end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<(Piece, Instant)>, Status>> {
        match &mut self.source {
            Source::Nothing => Poll::Ready(Ok(None)),
            Source::Whole { first, more, read_by, .. } => {
                let piece = first.take().or_else(|| more.pop_front());
                let counted = piece.map(|piece| match &self.unsent {
                    Some(unsent) => piece.count(unsent),
                    None => piece,
                });
                Poll::Ready(Ok(counted.map(|piece| (piece, *read_by))))
            }
            Source::Stream(incoming) => {
                let Some(piece) = ready!(incoming.pieces.poll_recv(context)) else {
                    self.trailers = incoming.end.lock().unwrap_or_else(PoisonError::into_inner).take();
                    return Poll::Ready(Ok(None));
                };
                Poll::Ready(Ok(Some((piece, Instant::now() + self.read_timeout))))
            }
            Source::MadeHere { body, caller } => {
                let Some(frame) = ready!(Pin::new(body).poll_frame(context)) else { return Poll::Ready(Ok(None)) };
                match frame?.into_data() {
                    Ok(data) => {
                        let piece = caller.piece(data)?;
                        let piece = match &self.unsent {
                            Some(unsent) => piece.count(unsent),
                            None => piece,
                        };
                        Poll::Ready(Ok(Some((piece, Instant::now() + self.read_timeout))))
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        Poll::Ready(Ok(None))
                    }
                }
            }
        }
    }

    /// While it waits for more: everything before was sent, or has to be by the time said before.
    fn waits(&self) {
        if self.unsent.as_ref().is_none_or(|unsent| unsent.bytes() == 0) {
            read_by(None);
        }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        match this.poll_piece(context) {
            Poll::Pending => {
                this.waits();
                return Poll::Pending;
            }
            Poll::Ready(Ok(Some((piece, deadline)))) => {
                read_by(Some(deadline));
                return Poll::Ready(Some(Ok(Frame::data(piece.into_bytes(&this.sending)))));
            }
            Poll::Ready(Ok(None)) => this.source = Source::Nothing,
            Poll::Ready(Err(status)) => {
                this.source = Source::Nothing;
                this.trailers = Some(trailers(&status));
            }
        }
        if let Some(unsent) = &this.unsent {
            ready!(unsent.poll_sent(SENT_AT_ONCE_BYTES, context));
        }
        this.ended = true;
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Nothing => self.ended || self.trailers.is_none(),
            Source::Whole { first, more, .. } => first.is_none() && more.is_empty() && self.trailers.is_none(),
            Source::Stream(_) | Source::MadeHere { .. } => self.ended,
        }
    }
}

/// The status as the end of an answer that has begun.
pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    if status.add_header(&mut trailers).is_err() {
        tracing::error!("a status cannot be written as trailers");
    }
    trailers
}

/// The end of a stream whose caller has too much of it unread.
pub(super) fn unread() -> HeaderMap {
    trailers(&Refusal::answers_unread(RETRY_AFTER))
}
