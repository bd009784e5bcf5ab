//! The end of a call: seen in the head or the trailers of its answer, and completed where details are missing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status};

use crate::server::call::Call;
use crate::status::Refusal;

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const GRPC_DETAILS: &str = "grpc-status-details-bin";

/// The body of an answer whose call ends with it.
pub(crate) struct ObservedBody<B> {
    inner: B,
    call: Option<Call>,
}

impl<B> ObservedBody<B> {
    pub(crate) fn new(inner: B, call: Call) -> Self {
        Self { inner, call: Some(call) }
    }
}

impl<B> http_body::Body for ObservedBody<B>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // A stream's work is done in here: its log lines belong to the call too.
        let this = &mut *self;
        let inner = Pin::new(&mut this.inner);
        let polled = match &this.call {
            Some(call) => call.in_scope(|| inner.poll_frame(context)),
            None => inner.poll_frame(context),
        };
        let Some(result) = ready!(polled) else {
            this.finish(Code::Ok);
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match result {
            Ok(frame) => Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    let code = this.adopt(&mut trailers);
                    this.finish(code);
                    Frame::trailers(trailers)
                }
                Err(data) => data,
            }),
            Err(status) => {
                this.finish(status.code());
                Err(status)
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

impl<B> ObservedBody<B> {
    fn adopt(&self, trailers: &mut HeaderMap) -> Code {
        match &self.call {
            Some(call) => call.in_scope(|| adopt_foreign_status(trailers)),
            None => adopt_foreign_status(trailers),
        }
    }

    fn finish(&mut self, code: Code) {
        if let Some(mut call) = self.call.take() {
            call.finish(code);
        }
    }
}

/// The code that head or trailers of an answer name; a status that tonic or a library made gets its `ErrorInfo`.
pub fn adopt_foreign_status(headers: &mut HeaderMap) -> Code {
    let Some(code) = headers.get(GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes())) else {
        return Code::Ok;
    };
    if code == Code::Ok || headers.contains_key(GRPC_DETAILS) {
        return code;
    }
    let Some(foreign) = Status::from_header_map(headers) else { return code };
    let adopted = adopt(&foreign);
    headers.remove(GRPC_MESSAGE);
    if adopted.add_header(headers).is_err() {
        tracing::error!(code = ?adopted.code(), "a status cannot be written as headers");
    }
    adopted.code()
}

/// What tonic says of a request that never reached its handler, in the contract's own words.
fn adopt(foreign: &Status) -> Status {
    const MALFORMED: [&str; 5] = [
        "Missing request message.",
        "Unexpected EOF decoding stream.",
        "failed to decode Protobuf message",
        "protocol error: received message with",
        "Error decompressing: ",
    ];
    let message = foreign.message();
    match foreign.code() {
        Code::OutOfRange if message.starts_with("Error, decoded message length too large") => {
            Refusal::request_too_large(last_number(message))
        }
        Code::ResourceExhausted if message.starts_with("Error decompressing: size limit") => {
            Refusal::request_too_large(last_number(message))
        }
        Code::Internal if MALFORMED.iter().any(|known| message.starts_with(known)) => {
            Refusal::malformed_request("the request is not a message that this method takes")
        }
        Code::Unimplemented if message.is_empty() => Refusal::unimplemented("there is no such method"),
        Code::Internal | Code::Unknown => {
            // A status that nobody made for callers may tell what callers need not know.
            tracing::error!(error = message, "a call failed");
            Refusal::internal()
        }
        code => Refusal::adopt(code, message),
    }
}

fn last_number(text: &str) -> usize {
    let numbers = text.split(|character: char| !character.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).next_back().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::status::reason_of;

    use super::*;

    fn adopted(status: &Status) -> Status {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let code = adopt_foreign_status(&mut headers);
        let read = Status::from_header_map(&headers).unwrap();
        assert_eq!(read.code(), code);
        assert_eq!(headers.get_all(GRPC_STATUS).iter().count(), 1);
        assert!(headers.get_all(GRPC_MESSAGE).iter().count() <= 1);
        read
    }

    #[test]
    fn foreign_statuses_get_a_reason() {
        #[expect(clippy::disallowed_methods, reason = "as tonic makes them")]
        let reason = |code, message: &str| reason_of(&adopted(&Status::new(code, message)));
        assert_eq!(reason(Code::NotFound, "service not registered").as_deref(), Some("NOT_FOUND"));
        assert_eq!(reason(Code::Unimplemented, "").as_deref(), Some("UNIMPLEMENTED"));
        assert_eq!(reason(Code::Internal, "Missing request message.").as_deref(), Some("MALFORMED_REQUEST"));
    }

    #[test]
    fn internals_stay_inside() {
        #[expect(clippy::disallowed_methods, reason = "as a handler must not")]
        let read = adopted(&Status::internal("password=secret"));
        assert_eq!((read.code(), read.message()), (Code::Internal, "internal error"));
    }

    #[test]
    fn our_own_statuses_and_success_stay_as_they_are() {
        let own = Refusal::request_too_large(7);
        let read = adopted(&own);
        assert_eq!((read.message(), read.details()), (own.message(), own.details()));
        let mut headers = HeaderMap::from_iter([(http::HeaderName::from_static(GRPC_STATUS), "0".parse().unwrap())]);
        let before = headers.clone();
        assert_eq!(adopt_foreign_status(&mut headers), Code::Ok);
        assert_eq!(headers, before);
    }
}
