//! The body of an upstream's answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use crate::client::addresses::Pending;
use crate::client::answer::{BatchedBody, BrokenOff};
use crate::client::upstream::RETRY_AFTER;
use crate::status::Refusal;

/// The body of an answer as it arrives, trailers as they are.
///
/// The default is the body of an answer that has none. An answer that breaks off ends with trailers that say so: its reader sees a gRPC status, not a broken stream.
#[derive(Default)]
pub struct UpstreamBody {
    source: Source,
    state: State,
    deadline: Option<Instant>,
    /// Made when the answer first lets itself be waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Over a connection, the call counts until its answer ended.
    pending: Option<Pending>,
}

#[derive(Default)]
enum Source {
    #[default]
    Nothing,
    /// Over a connection.
    Http2(RecvStream),
    /// Over a connection, together with others.
    Batched(BatchedBody),
    /// Of a service of this process.
    Local(Body),
}

#[derive(Default, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    #[default]
    Ended,
}

impl UpstreamBody {
    pub(crate) fn new(stream: RecvStream, deadline: Option<Instant>, pending: Pending) -> Self {
        Self { source: Source::Http2(stream), state: State::Data, deadline, timer: None, pending: Some(pending) }
    }

    pub(crate) fn batched(body: BatchedBody, deadline: Option<Instant>, pending: Pending) -> Self {
        Self { source: Source::Batched(body), state: State::Data, deadline, timer: None, pending: Some(pending) }
    }

    pub(crate) fn local(body: Body, deadline: Option<Instant>) -> Self {
        Self { source: Source::Local(body), state: State::Data, deadline, timer: None, pending: None }
    }

    fn poll_upstream(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.state == State::Ended {
            return Poll::Ready(None);
        }
        match &mut self.source {
            Source::Nothing => Poll::Ready(None),
            Source::Http2(_) => self.poll_http2(context),
            Source::Batched(body) => Poll::Ready(match ready!(body.poll_frame(context)) {
                Some(Ok(frame)) => Some(frame),
                Some(Err(BrokenOff)) => Some(self.end_with(&Refusal::upstream_unavailable(RETRY_AFTER))),
                None => {
                    self.state = State::Ended;
                    None
                }
            }),
            Source::Local(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(match frame {
                    Some(Ok(frame)) => Some(frame),
                    Some(Err(status)) => Some(self.end_with(&status)),
                    None => {
                        self.state = State::Ended;
                        None
                    }
                })
            }
        }
    }

    fn poll_http2(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Source::Http2(stream) = &mut self.source else { return Poll::Ready(None) };
        if self.state == State::Data {
            match ready!(stream.poll_data(context)) {
                Some(Ok(data)) => {
                    // Handed on, the bytes no longer count against the sender's window.
                    let _ = stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Frame::data(data)));
                }
                Some(Err(error)) => return Poll::Ready(Some(self.broken(&error))),
                None => self.state = State::Trailers,
            }
        }
        Poll::Ready(match ready!(stream.poll_trailers(context)) {
            Ok(trailers) => {
                self.state = State::Ended;
                self.pending = None;
                trailers.map(Frame::trailers)
            }
            Err(error) => Some(self.broken(&error)),
        })
    }

    fn broken(&mut self, error: &h2::Error) -> Frame<Bytes> {
        tracing::debug!(%error, "an answer broke off");
        self.end_with(&broken_off(error))
    }

    fn end_with(&mut self, status: &Status) -> Frame<Bytes> {
        self.state = State::Ended;
        let mut trailers = HeaderMap::with_capacity(4);
        if status.add_header(&mut trailers).is_err() {
            tracing::error!("a status cannot be written as trailers");
        }
        Frame::trailers(trailers)
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        timer.as_mut().poll(context)
    }
}

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = self.poll_upstream(context) {
            return Poll::Ready(frame.map(Ok));
        }
        ready!(self.poll_deadline(context));
        Poll::Ready(Some(Ok(self.end_with(&Refusal::deadline_exceeded()))))
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
            || match &self.source {
                Source::Nothing => true,
                Source::Http2(stream) => stream.is_end_stream(),
                Source::Batched(body) => body.is_end_stream(),
                Source::Local(body) => body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The status of an answer that did not come to its end.
pub(crate) fn broken_off(error: &h2::Error) -> Status {
    match error.reason() {
        Some(h2::Reason::CANCEL) if error.is_reset() => Refusal::cancelled(),
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Refusal::overloaded(RETRY_AFTER),
        _ => Refusal::upstream_unavailable(RETRY_AFTER),
    }
}
