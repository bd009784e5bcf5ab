//! Answers and refusals, as each protocol says them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use openorder_rpc::reason_of;
use openorder_rpc::status::web;
use tonic::Status;
use tonic::body::Body;

use super::headers::from_service;
use super::{AnswerForm, Codec, JSON};
use crate::transcode::contract::Contract;
use crate::transcode::error;
use crate::transcode::stream::connect_refusal;

/// How a caller proves who it is; sent with 401 (RFC 9110, section 11.6.1).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer");
/// The same to a caller whose token is not valid (RFC 6750, section 3.1).
const CHALLENGE_AGAIN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

impl AnswerForm {
    /// The type of an answer that is no refusal.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Rest | Self::Connect(Codec::Json) => JSON,
            Self::RestLines => super::LINES,
            Self::RestEvents => super::EVENTS,
            Self::Connect(Codec::Proto) => "application/proto",
            Self::ConnectEnvelopes(Codec::Json) => "application/connect+json",
            Self::ConnectEnvelopes(Codec::Proto) => "application/connect+proto",
            Self::GrpcWeb { is_text: false } => "application/grpc-web+proto",
            Self::GrpcWeb { is_text: true } => "application/grpc-web-text+proto",
        }
    }

    /// The head of an answer that is no refusal.
    pub(crate) fn head(self) -> Response<()> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type()));
        match self {
            // Answers are about customers and their orders: nobody on the way keeps them.
            Self::Rest | Self::Connect(_) => {
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
            }
            Self::RestLines | Self::RestEvents => {
                // A proxy that waits for more of an answer than there is holds a stream up.
                headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
            }
            Self::ConnectEnvelopes(_) | Self::GrpcWeb { .. } => None,
        };
        response
    }

    /// The answer that leaves, out of the one that was made: a refusal is said in this form, and what gRPC says at the end
    /// of an answer is left out.
    pub(crate) fn finish(self, answer: Response<Body>, contract: &Contract) -> Response<Body> {
        let refusal = Status::from_header_map(answer.headers());
        match (refusal, self) {
            (None, _) => answer.map(|body| Body::new(WithoutTrailers(body))),
            (Some(_), Self::GrpcWeb { .. }) => {
                // Its status stands in the head, which gRPC-Web has as well.
                let (mut head, body) = answer.into_parts();
                head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type()));
                Response::from_parts(head, body)
            }
            (Some(status), form) => form.refusal(contract, &status),
        }
    }

    /// A refusal.
    fn refusal(self, contract: &Contract, status: &Status) -> Response<Body> {
        let (code, kind, body) = match self {
            Self::ConnectEnvelopes(_) => (StatusCode::OK, self.media_type(), connect_refusal(contract, status)),
            Self::Connect(_) => {
                let body = error::connect(contract, status).to_string();
                (web::http_status_of_code(status), JSON, Bytes::from(body))
            }
            _ => (web::http_status(status), JSON, Bytes::from(error::rest(contract, status).to_string())),
        };
        let length = body.len();
        let mut response = Response::new(Body::new(Full::new(body)));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        from_service(status.metadata().as_ref(), "", headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if code != StatusCode::OK {
            say_what_to_do(headers, status);
        }
        response
    }
}

/// When to come again, and how to say who one is.
fn say_what_to_do(headers: &mut HeaderMap, status: &Status) {
    if let Some(seconds) = web::retry_after_seconds(status) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if web::is_unauthenticated(status) {
        let reason = reason_of(status).unwrap_or_default();
        let has_token = reason != "TOKEN_MISSING" && (reason.starts_with("TOKEN_") || reason == "API_KEY_UNKNOWN");
        headers.insert(header::WWW_AUTHENTICATE, if has_token { CHALLENGE_AGAIN } else { CHALLENGE });
    }
}

/// A body whose trailers are nothing to its reader.
struct WithoutTrailers(Body);

impl http_body::Body for WithoutTrailers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(context));
        Poll::Ready(frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
