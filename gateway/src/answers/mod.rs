//! Answers on their way to callers that may not read them.
//!
//! All callers share the connections to the services, and what lies unread there takes room from everybody. So an
//! answer is taken off at once and held here, within a budget, until its caller has it:
//!
//! * `body.rs`: the body that a caller reads, in time or not at all;
//! * `stream.rs`: an answer that comes bit by bit;
//! * `sending.rs`: what waits in the connection, where it can no longer be taken back.
//!
//! How many bytes are held, and for whom: `shares.rs`.

mod body;
mod sending;
mod stream;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame};
use openorder_rpc::{Refusal, UpstreamBody};
use openorder_telemetry::api::Counter;
use tonic::Status;
use tonic::body::Body;

pub(crate) use self::body::AnswerBody;
use self::body::Piece;
use self::sending::Sending;
use crate::config::GatewaySettings;
use crate::shares::{Member, Resource, Shares};

/// When a caller that left too much unread may come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The answers of the gateway to all its callers.
pub(crate) struct Answers {
    limits: Limits,
    refused: Counter<u64>,
}

#[derive(Clone, Copy)]
struct Limits {
    answer_bytes_max: usize,
    stream_unread_bytes_max: usize,
    read_timeout: Duration,
}

/// The answers to one caller. Clones share everything.
#[derive(Clone)]
pub(crate) struct CallerAnswers {
    member: Arc<Member>,
    sending: Arc<Sending>,
    limits: Limits,
    refused: Counter<u64>,
}

impl Answers {
    pub(crate) fn new(settings: &GatewaySettings, shares: &Shares) -> Self {
        let (meter, shares) = (openorder_telemetry::meter(), shares.clone());
        meter
            .u64_observable_gauge("openorder.gateway.unread_bytes")
            .with_unit("By")
            .with_description("Bytes of answers that callers have not taken yet")
            .with_callback(move |observer| observer.observe(shares.used(Resource::AnswerBytes) as u64, &[]))
            .build();
        let refused = meter
            .u64_counter("openorder.gateway.unread_refused")
            .with_unit("{call}")
            .with_description("Answers not handed on because their caller left too much unread")
            .build();
        let limits = Limits {
            answer_bytes_max: settings.answer_bytes_max,
            stream_unread_bytes_max: settings.stream_unread_bytes_max,
            read_timeout: Duration::from_millis(settings.answer_read_timeout_ms),
        };
        Self { limits, refused }
    }

    /// The answers to a further caller.
    pub(crate) fn caller(&self, member: &Arc<Member>) -> CallerAnswers {
        CallerAnswers {
            member: Arc::clone(member),
            sending: Arc::default(),
            limits: self.limits,
            refused: self.refused.clone(),
        }
    }
}

impl CallerAnswers {
    /// Takes the whole answer off its connection. It is refused where it is too large, or its caller has too much unread.
    pub(crate) async fn whole(&self, answer: Response<UpstreamBody>) -> Response<AnswerBody> {
        let (head, mut body) = answer.into_parts();
        match self.read_whole(&mut body).await {
            Ok(body) => Response::from_parts(head, body),
            Err(refusal) => refusal.into_http(),
        }
    }

    async fn read_whole(&self, body: &mut UpstreamBody) -> Result<AnswerBody, Status> {
        let mut answer = AnswerBody::whole(self);
        let (mut length, mut trailers) = (0, None);
        while let Some(frame) = next_frame(body).await? {
            match frame.into_data() {
                Ok(data) => {
                    length += data.len();
                    if length > self.limits.answer_bytes_max {
                        return Err(Refusal::answer_too_large(self.limits.answer_bytes_max));
                    }
                    answer.push(self.piece(data)?);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        answer.complete(trailers);
        Ok(answer)
    }

    /// An answer that is handed on as it comes. It ends where its caller has too much of it unread.
    pub(crate) fn stream(&self, answer: Response<UpstreamBody>) -> Response<AnswerBody> {
        answer.map(|body| match body.is_end_stream() {
            true => AnswerBody::default(),
            false => AnswerBody::stream(self, stream::pump(self, body)),
        })
    }

    /// An answer that is made while it is read.
    pub(crate) fn made_here(&self, answer: Response<Body>) -> Response<AnswerBody> {
        answer.map(|body| match body.is_end_stream() {
            true => AnswerBody::default(),
            false => AnswerBody::made_here(self, body),
        })
    }

    fn piece(&self, data: Bytes) -> Result<Piece, Status> {
        match self.member.take(Resource::AnswerBytes, data.len()) {
            Some(held) => Ok(Piece::new(data, held)),
            None => {
                self.refused.add(1, &[]);
                Err(Refusal::answers_unread(RETRY_AFTER))
            }
        }
    }

    /// Returns when small answers have been unread for so long that the whole connection has to end.
    pub(crate) async fn overdue(&self) {
        loop {
            tokio::time::sleep(self.limits.read_timeout).await;
            if self.sending.next_interval() {
                return;
            }
        }
    }
}

async fn next_frame(body: &mut UpstreamBody) -> Result<Option<Frame<Bytes>>, Status> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await.transpose()
}
