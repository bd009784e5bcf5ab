//! Calls that came together: each is answered by itself, and those that are ready go back together.
//!
//! The body of the answer is all there is of it: while it is asked for more it takes calls off the request, starts a
//! task for each, and hands out what these have answered. So a caller that does not read is not read either, and a
//! connection that breaks ends the calls that came over it.

use std::collections::HashMap;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use openorder_proto::internal::rpc::v1::{Call, ExchangeCallsRequest, ExchangeCallsResponse};
use tokio::task::AbortHandle;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tonic::body::Body;

use crate::batch::{Batch, BatchMetrics, GRPC, Malformed, Messages};
use crate::server::connections::{Connection, InUse};
use crate::server::outbox::{Outbox, Part, answer};
use crate::server::service::RpcService;
use crate::settings::BatchSettings;
use crate::status::Refusal;

/// Answers a stream of calls that came over this connection.
pub(crate) fn exchange<B>(
    service: RpcService,
    connection: &Connection,
    settings: &BatchSettings,
    metrics: &BatchMetrics,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let exchange = Exchange {
        requests: Some(request.into_body()),
        messages: Messages::default(),
        service,
        connection: connection.clone(),
        settings: settings.clone(),
        metrics: metrics.clone(),
        outbox: Arc::default(),
        open: HashMap::new(),
        closing: Some(Box::pin(connection.closing())),
        in_use: None,
        takes_calls: true,
        lets_others: false,
        is_over: false,
    };
    let mut response = Response::new(Body::new(exchange));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// The body of the answer.
struct Exchange<B> {
    /// None when it has ended.
    requests: Option<B>,
    messages: Messages,
    service: RpcService,
    connection: Connection,
    settings: BatchSettings,
    metrics: BatchMetrics,
    outbox: Arc<Outbox>,
    /// Calls that are not answered yet, each with its task.
    open: HashMap<u64, AbortHandle>,
    /// None when the caller knows of it.
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// While calls are open.
    in_use: Option<InUse>,
    /// Until the caller says that no more follow.
    takes_calls: bool,
    /// Whether the tasks that are ready have their turn before the next message is written.
    lets_others: bool,
    is_over: bool,
}

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    /// Takes what has arrived, up to as much as may wait to be answered.
    fn poll_requests(&mut self, context: &mut Context<'_>) -> Result<(), Malformed> {
        while self.outbox.len() < self.settings.in_flight_max
            && let Some(requests) = &mut self.requests
        {
            let Poll::Ready(frame) = Pin::new(requests).poll_frame(context) else { break };
            match frame {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.messages.push(&data);
                    while let Some(message) = self.messages.next_message()? {
                        self.take(message)?;
                    }
                }
                None => {
                    self.requests = None;
                    self.takes_calls = false;
                }
                // Nobody is there to be answered.
                Some(Err(_)) => self.end(),
            }
        }
        Ok(())
    }

    fn take(&mut self, message: ExchangeCallsRequest) -> Result<(), Malformed> {
        for call in message.calls {
            self.begin(call)?;
        }
        for id in message.cancelled_call_ids {
            if let Some(task) = self.open.remove(&id) {
                task.abort();
            }
        }
        self.takes_calls &= !message.is_last;
        Ok(())
    }

    fn begin(&mut self, call: Call) -> Result<(), Malformed> {
        if !self.takes_calls {
            return Err(Malformed::new("a call came after the last one"));
        }
        let id = call.id;
        if self.open.contains_key(&id) {
            return Err(Malformed::new("two calls have one number"));
        }
        if self.open.len() >= self.settings.in_flight_max {
            self.outbox.push(Part::refused(id));
            return Ok(());
        }
        let work = answer(self.service.clone(), call, Arc::clone(&self.outbox), self.settings.bytes_max);
        self.open.insert(id, tokio::spawn(work).abort_handle());
        Ok(())
    }

    /// The next message of answers that are ready.
    fn batch(&mut self, says_closing: bool) -> Option<Bytes> {
        let BatchSettings { calls_max, bytes_max, .. } = self.settings;
        let mut batch = Batch::new();
        let open = &mut self.open;
        self.outbox.take_while(|part| {
            let is_awaited = part.is_refusal || open.contains_key(&part.id);
            if is_awaited && !batch.has_room(part.entry.len(), calls_max, bytes_max) {
                return false;
            }
            // Of a call that was cancelled nobody hears.
            if is_awaited {
                batch.add(&part.entry);
            }
            if part.is_last {
                open.remove(&part.id);
            }
            true
        });
        self.metrics.sent(&batch);
        if says_closing {
            batch.merge(&ExchangeCallsResponse { is_closing: true, ..Default::default() });
        }
        batch.finish()
    }

    /// Whether the caller has to hear now that the connection is going down.
    fn poll_closing(&mut self, context: &mut Context<'_>) -> bool {
        let is_closing = self.closing.as_mut().is_some_and(|closing| closing.as_mut().poll(context).is_ready());
        if is_closing {
            self.closing = None;
        }
        is_closing && self.takes_calls
    }

    /// Ends it, with the work for what is not answered.
    fn end(&mut self) {
        self.is_over = true;
        self.requests = None;
        self.open.drain().for_each(|(_, task)| task.abort());
    }

    fn keep_in_use(&mut self) {
        match (self.open.is_empty(), &self.in_use) {
            (true, Some(_)) => self.in_use = None,
            (false, None) => self.in_use = Some(self.connection.in_use()),
            _ => {}
        }
    }
}

impl<B> http_body::Body for Exchange<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Err(error) = this.poll_requests(context) {
                tracing::warn!(%error, "a stream of calls ended");
                this.end();
                let refusal = Refusal::malformed_request(error.to_string());
                return Poll::Ready(Some(Ok(Frame::trailers(trailers(&refusal)))));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            this.keep_in_use();
            let says_closing = this.poll_closing(context);
            if !says_closing && this.outbox.is_empty_until(context.waker()) {
                if this.takes_calls || !this.open.is_empty() {
                    return Poll::Pending;
                }
                this.is_over = true;
                return Poll::Ready(Some(Ok(Frame::trailers(success()))));
            }
            if !says_closing && !this.lets_others {
                // Nobody waits for company. But tasks that are ready now, the last of a batch that was committed, say,
                // have their turn first: woken by itself, this one stands behind them.
                this.lets_others = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.lets_others = false;
            if let Some(batch) = this.batch(says_closing) {
                this.keep_in_use();
                return Poll::Ready(Some(Ok(Frame::data(batch))));
            }
        }
    }
}

impl<B> Drop for Exchange<B> {
    fn drop(&mut self) {
        self.open.drain().for_each(|(_, task)| task.abort());
    }
}

fn success() -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))])
}

/// A status as what ends an answer.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(4);
    if status.add_header(&mut trailers).is_err() {
        tracing::error!("a status cannot be written as trailers");
    }
    trailers
}
