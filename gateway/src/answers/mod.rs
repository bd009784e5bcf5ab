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

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame};
use openorder_rpc::{Refusal, UpstreamBody};
use openorder_telemetry::api::Counter;
use tonic::Status;
use tonic::body::Body;

pub(crate) use self::body::AnswerBody;
use self::body::Piece;
use self::sending::Sending;
pub(crate) use self::stream::Ending;
use crate::config::GatewaySettings;
use crate::shares::{Member, Part, Resource, Shares};
use crate::transcode::stream::Convert;

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

/// A whole answer of a service, held until its caller's is made of it.
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    _held: Vec<Part>,
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

    /// Takes the whole answer off its connection, for one that is made of it.
    ///
    /// # Errors
    ///
    /// As [`Self::whole`].
    pub(crate) async fn read(&self, body: &mut UpstreamBody) -> Result<Received, Status> {
        let (mut first, mut all, mut held, mut trailers) = (Bytes::new(), BytesMut::new(), Vec::new(), None);
        while let Some(frame) = next_frame(body).await? {
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    trailers = frame.into_trailers().ok();
                    continue;
                }
            };
            if first.len() + all.len() + data.len() > self.limits.answer_bytes_max {
                return Err(Refusal::answer_too_large(self.limits.answer_bytes_max));
            }
            held.push(self.hold(data.len())?);
            // One frame, the usual case, is not copied.
            if first.is_empty() && all.is_empty() {
                first = data;
                continue;
            }
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        Ok(Received { bytes: if all.is_empty() { first } else { all.freeze() }, trailers, _held: held })
    }

    /// An answer that was made here and is there as a whole. It is refused where its caller has too much unread.
    pub(crate) fn made(&self, bytes: Bytes) -> Result<AnswerBody, Status> {
        let mut answer = AnswerBody::whole(self);
        if !bytes.is_empty() {
            answer.push(self.piece(bytes)?);
        }
        answer.complete(None);
        Ok(answer)
    }

    /// An answer that is made of another one as that comes. It ends where its caller has too much of it unread.
    pub(crate) fn converted(&self, body: UpstreamBody, ending: Ending, convert: Box<dyn Convert>) -> AnswerBody {
        AnswerBody::stream(self, stream::pump(self, body, ending, Some(convert)))
    }

    /// An answer that is handed on as it comes. It ends where its caller has too much of it unread.
    pub(crate) fn stream(&self, answer: Response<UpstreamBody>, ending: Ending) -> Response<AnswerBody> {
        answer.map(|body| match body.is_end_stream() {
            true => AnswerBody::default(),
            false => AnswerBody::stream(self, stream::pump(self, body, ending, None)),
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
        self.hold(data.len()).map(|held| Piece::new(data, held))
    }

    /// Room for so many bytes.
    fn hold(&self, bytes: usize) -> Result<Part, Status> {
        self.member.take(Resource::AnswerBytes, bytes).ok_or_else(|| {
            self.refused.add(1, &[]);
            Refusal::answers_unread(RETRY_AFTER)
        })
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
