//! The body of a request, read whole before its call is let in; and that of an answer, which keeps the call's place.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Version;
use http_body::{Body, Frame, SizeHint};
use openorder_rpc::Refusal;
use openorder_rpc::server::{Connection, OVERLOADED_RETRY_AFTER};
use tonic::Status;

use crate::shares::{Member, Part, Resource};

/// How much of a request is read, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    pub(crate) body_bytes: usize,
    pub(crate) timeout: Duration,
}

/// A request's body, and the place that its bytes have among all that are in memory.
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    pub(crate) place: Option<Part>,
}

/// What of a request's body is not read yet, over HTTP/1.1: whoever is answered before all of it is may still be sending.
pub(crate) struct Rest {
    /// None over HTTP/2, where a request that nobody reads is no matter of its connection.
    connection: Option<Connection>,
    was_broken_off: AtomicBool,
}

impl Rest {
    /// That of a request that is taken up.
    pub(crate) fn of<B: Body>(version: Version, body: &B, connection: Option<&Connection>) -> Self {
        let connection = connection.filter(|_| version < Version::HTTP_2);
        if let Some(connection) = connection {
            connection.note_unread(!body.is_end_stream());
        }
        Self { connection: connection.cloned(), was_broken_off: AtomicBool::new(false) }
    }

    /// Notes that it was read: whole, or as far as the limits allow.
    pub(crate) fn was_read(&self, is_whole: bool) {
        if let Some(connection) = &self.connection {
            connection.note_unread(!is_whole);
            self.was_broken_off.store(!is_whole, Ordering::Relaxed);
        }
    }

    /// Whether there is something to be read.
    pub(crate) fn is_left(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::leaves_unread)
    }

    /// Whether no further request can come behind it.
    pub(crate) fn ends_connection(&self) -> bool {
        self.was_broken_off.load(Ordering::Relaxed)
    }
}

/// Reads a whole body. While it is still arriving it takes its caller's share of bodies that do, and nothing else: a
/// body that never comes keeps nobody out.
pub(crate) async fn read_whole<B>(body: B, limits: ReadLimits, caller: &Arc<Member>) -> Result<Received, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(Refusal::request_too_large(limits.body_bytes));
    }
    let mut reading = pin!(read(body, limits.body_bytes, caller));
    // Most requests are there with their heads.
    if let Poll::Ready(received) = futures::poll!(reading.as_mut()) {
        return received;
    }
    let Some(_arriving) = caller.take(Resource::Arriving, 1) else {
        return Err(Refusal::overloaded(OVERLOADED_RETRY_AFTER));
    };
    match tokio::time::timeout(limits.timeout, reading).await {
        Ok(received) => received,
        Err(_) => Err(Refusal::request_too_slow(limits.timeout)),
    }
}

/// One frame, the usual case, is not copied.
async fn read<B>(mut body: B, limit: usize, caller: &Arc<Member>) -> Result<Received, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut first, mut all, mut place) = (Bytes::new(), BytesMut::new(), None);
    while let Some(data) = next_data(&mut body).await? {
        if first.len() + all.len() + data.len() > limit {
            return Err(Refusal::request_too_large(limit));
        }
        if !keep_place(&mut place, data.len(), caller) {
            return Err(Refusal::overloaded(OVERLOADED_RETRY_AFTER));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(first.len() + data.len());
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&data);
    }
    Ok(Received { bytes: if all.is_empty() { first } else { all.freeze() }, place })
}

/// Whether there is room for so many more bytes of a request.
fn keep_place(place: &mut Option<Part>, bytes: usize, caller: &Arc<Member>) -> bool {
    match place {
        Some(place) => place.grow(bytes),
        None => {
            *place = caller.take(Resource::RequestBytes, bytes);
            place.is_some()
        }
    }
}

async fn next_data<B>(body: &mut B) -> Result<Option<Bytes>, Status>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            // The caller went away, or broke the protocol: the status is not sent.
            Some(Err(_)) => return Err(Refusal::cancelled()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The body of an answer; its call has its place until the last byte.
pub(crate) struct HeldBody<B> {
    inner: B,
    _place: Option<Part>,
}

impl<B> HeldBody<B> {
    pub(crate) fn new(inner: B, place: Option<Part>) -> Self {
        Self { inner, _place: place }
    }
}

impl<B: Body + Unpin> Body for HeldBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
