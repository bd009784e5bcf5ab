//! The body of a request, up to a limit.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::status::Refusal;

/// A request's body that ends with `REQUEST_TOO_LARGE` where it is longer than allowed.
pub struct LimitedBody<B> {
    inner: B,
    left: usize,
    limit: usize,
}

impl<B> LimitedBody<B> {
    /// At most `limit` bytes of a body.
    pub fn new(inner: B, limit: usize) -> Self {
        Self { inner, left: limit, limit }
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(polled.map(|result| {
            let frame = result.map_err(|error| Status::from_error(error.into()))?;
            let length = frame.data_ref().map_or(0, Bytes::len);
            match self.left.checked_sub(length) {
                Some(left) => {
                    self.left = left;
                    Ok(frame)
                }
                None => Err(Refusal::request_too_large(self.limit)),
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
