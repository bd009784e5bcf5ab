//! The refusals that no service decides on: statuses that the machinery itself gives.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use openorder_types::FieldViolation;
use prost::Message;
use prost_types::Any;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::pb;

use super::web::{
    HOST_NOT_ALLOWED, HTTP_VERSION_NOT_SUPPORTED, METHOD_NOT_ALLOWED, NOT_ACCEPTABLE, ROUTE_NOT_FOUND,
    UNSUPPORTED_CONTENT_ENCODING, UNSUPPORTED_MEDIA_TYPE,
};
use super::{ERROR_DOMAIN, code_name};
use crate::page::ANSWER_TOO_LARGE;

/// Bytes that the violations of a refusal may have, in protobuf. All its trailers together then stay, in base64, below the
/// 8 KiB that gRPC for Java and Node take by default, and gRPC for C and Python below their 16; beyond it a client sees
/// `RESOURCE_EXHAUSTED`, and not what it did wrong.
const VIOLATIONS_BYTES_MAX: usize = 4_096;

/// Statuses that the machinery itself gives, each named after its cause.
#[derive(Debug)]
pub struct Refusal {
    pub(super) code: Code,
    pub(super) reason: Cow<'static, str>,
    pub(super) message: String,
    pub(super) metadata: Vec<(&'static str, String)>,
    pub(super) violations: Vec<FieldViolation>,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn plain(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            metadata: Vec::new(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    fn later(code: Code, reason: &'static str, message: &str, retry_after: Duration) -> Status {
        let refusal = Self::plain(code, reason, message);
        Self { retry_after: Some(retry_after), ..refusal }.into_status()
    }

    /// A dependency of the service, such as its database, is away: `DEPENDENCY_UNAVAILABLE`.
    #[must_use]
    pub fn dependency_unavailable(retry_after: Duration) -> Status {
        Self::later(Code::Unavailable, "DEPENDENCY_UNAVAILABLE", "temporarily unavailable", retry_after)
    }

    /// A service that is called cannot be reached: `UPSTREAM_UNAVAILABLE`.
    #[must_use]
    pub fn upstream_unavailable(retry_after: Duration) -> Status {
        Self::later(Code::Unavailable, "UPSTREAM_UNAVAILABLE", "the service is temporarily unavailable", retry_after)
    }

    /// More work is waiting than is healthy; nothing was done: `OVERLOADED`. Not `UNAVAILABLE`, which clients and
    /// proxies repeat by themselves: that would add to the load.
    #[must_use]
    pub fn overloaded(retry_after: Duration) -> Status {
        Self::later(Code::ResourceExhausted, "OVERLOADED", "too many requests are in flight", retry_after)
    }

    /// Tokens and API keys cannot be verified now, since whoever knows them is away: `SIGN_IN_UNAVAILABLE`.
    #[must_use]
    pub fn sign_in_unavailable(retry_after: Duration) -> Status {
        Self::later(Code::Unavailable, "SIGN_IN_UNAVAILABLE", "callers cannot be told by their tokens now", retry_after)
    }

    /// The caller calls more often than it may: `CALLER_RATE_EXCEEDED`.
    #[must_use]
    pub fn rate_exceeded(retry_after: Duration) -> Status {
        Self::later(Code::ResourceExhausted, "CALLER_RATE_EXCEEDED", "the caller calls too often", retry_after)
    }

    /// The process is going down; another instance, or this one later, takes the call: `SHUTTING_DOWN`.
    #[must_use]
    pub fn shutting_down(retry_after: Duration) -> Status {
        Self::later(Code::Unavailable, "SHUTTING_DOWN", "the service is shutting down", retry_after)
    }

    /// The deadline of the call passed; its work may still be done: `DEADLINE_EXCEEDED`.
    #[must_use]
    pub fn deadline_exceeded() -> Status {
        Self::plain(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline passed").into_status()
    }

    /// The one who answers gave up, and so does this call: `CANCELLED`.
    #[must_use]
    pub fn cancelled() -> Status {
        Self::plain(Code::Cancelled, "CANCELLED", "the call was cancelled").into_status()
    }

    /// A failure of ours: `INTERNAL`. Its maker logs the cause, in the scope of the call: the message names the trace id
    /// that finds it. [`status`] does so.
    #[must_use]
    pub fn internal() -> Status {
        let message = match openorder_telemetry::current_trace_id() {
            Some(trace_id) => format!("internal error; reference {trace_id}"),
            None => "internal error".to_owned(),
        };
        Self::plain(Code::Internal, "INTERNAL", message).into_status()
    }

    /// There is no such service or method: `UNIMPLEMENTED`.
    #[must_use]
    pub fn unimplemented(message: impl Into<String>) -> Status {
        Self::plain(Code::Unimplemented, "UNIMPLEMENTED", message).into_status()
    }

    /// The request is larger than `limit_bytes`: `REQUEST_TOO_LARGE`.
    #[must_use]
    pub fn request_too_large(limit_bytes: usize) -> Status {
        let message = format!("the request is larger than {limit_bytes} bytes");
        let refusal = Self::plain(Code::ResourceExhausted, "REQUEST_TOO_LARGE", message);
        Self { metadata: vec![("limit_bytes", limit_bytes.to_string())], ..refusal }.into_status()
    }

    /// The request's body did not arrive within the time that it may take: `REQUEST_TOO_SLOW`.
    #[must_use]
    pub fn request_too_slow(limit: Duration) -> Status {
        let message = format!("the request did not arrive within {} ms", limit.as_millis());
        let refusal = Self::plain(Code::DeadlineExceeded, "REQUEST_TOO_SLOW", message);
        Self { metadata: vec![("limit_ms", limit.as_millis().to_string())], ..refusal }.into_status()
    }

    /// The metadata is larger than `limit_bytes`: `METADATA_TOO_LARGE`.
    #[must_use]
    pub fn metadata_too_large(limit_bytes: usize) -> Status {
        let message =
            format!("the metadata is larger than {limit_bytes} bytes, each key and value counted with 32 more");
        let refusal = Self::plain(Code::ResourceExhausted, "METADATA_TOO_LARGE", message);
        Self { metadata: vec![("limit_bytes", limit_bytes.to_string())], ..refusal }.into_status()
    }

    /// The request is compressed in a way that is not taken: `UNSUPPORTED_ENCODING`. The status names those that are
    /// (the protocol's document on compression).
    #[must_use]
    pub fn unsupported_encoding(accepted: &'static str) -> Status {
        let message = format!("grpc-encoding must be one of: {accepted}");
        let mut status = Self::plain(Code::Unimplemented, "UNSUPPORTED_ENCODING", message).into_status();
        status.metadata_mut().insert("grpc-accept-encoding", MetadataValue::from_static(accepted));
        status
    }

    /// The answer is larger than `limit_bytes`: `ANSWER_TOO_LARGE`.
    #[must_use]
    pub fn answer_too_large(limit_bytes: usize) -> Status {
        let message = format!("the answer is larger than {limit_bytes} bytes");
        let refusal = Self::plain(Code::ResourceExhausted, ANSWER_TOO_LARGE, message);
        Self { metadata: vec![("limit_bytes", limit_bytes.to_string())], ..refusal }.into_status()
    }

    /// The caller has left so much unread that no more is held for it: `ANSWERS_UNREAD`.
    #[must_use]
    pub fn answers_unread(retry_after: Duration) -> Status {
        let message = "too many bytes of earlier answers were not read yet";
        Self::later(Code::ResourceExhausted, "ANSWERS_UNREAD", message, retry_after)
    }

    /// The request's bytes are not the message that the method takes: `MALFORMED_REQUEST`.
    #[must_use]
    pub fn malformed_request(message: impl Into<String>) -> Status {
        Self::plain(Code::InvalidArgument, "MALFORMED_REQUEST", message).into_status()
    }

    /// No method is called by this path: `ROUTE_NOT_FOUND`. For callers of other protocols than gRPC.
    #[must_use]
    pub fn route_not_found() -> Status {
        Self::plain(Code::NotFound, ROUTE_NOT_FOUND, "no method is called by this path").into_status()
    }

    /// The path is called by another HTTP method: `METHOD_NOT_ALLOWED`, with those that are in the header `allow`.
    #[must_use]
    pub fn method_not_allowed(allowed: &str) -> Status {
        let message = format!("this path takes {allowed}");
        let mut status = Self::plain(Code::Unimplemented, METHOD_NOT_ALLOWED, message).into_status();
        if let Ok(value) = MetadataValue::try_from(allowed) {
            status.metadata_mut().insert("allow", value);
        }
        status
    }

    /// The body is of a type that is not taken here: `UNSUPPORTED_MEDIA_TYPE`, with those that are in the header `accept`.
    #[must_use]
    pub fn unsupported_media_type(accepted: &'static str) -> Status {
        let message = format!("content-type must be one of: {accepted}");
        let mut status = Self::plain(Code::InvalidArgument, UNSUPPORTED_MEDIA_TYPE, message).into_status();
        status.metadata_mut().insert("accept", MetadataValue::from_static(accepted));
        status
    }

    /// The body is compressed in a way that is not taken: `UNSUPPORTED_CONTENT_ENCODING`, with those that are in the header
    /// `accept-encoding`. For callers of other protocols than gRPC.
    #[must_use]
    pub fn unsupported_content_encoding(accepted: &'static str) -> Status {
        let message = format!("content-encoding must be one of: {accepted}");
        let mut status = Self::plain(Code::Unimplemented, UNSUPPORTED_CONTENT_ENCODING, message).into_status();
        status.metadata_mut().insert("accept-encoding", MetadataValue::from_static(accepted));
        status
    }

    /// What the caller would take, by its `accept`, is not made here: `NOT_ACCEPTABLE`.
    #[must_use]
    pub fn not_acceptable(made: &'static str) -> Status {
        let message = format!("accept must name one of: {made}");
        Self::plain(Code::InvalidArgument, NOT_ACCEPTABLE, message).into_status()
    }

    /// The protocol cannot be spoken over HTTP/1.1: `HTTP_VERSION_NOT_SUPPORTED`.
    #[must_use]
    pub fn http_version_not_supported() -> Status {
        let message = "gRPC needs HTTP/2; over HTTP/1.1 there are JSON, Connect and gRPC-Web";
        Self::plain(Code::Unimplemented, HTTP_VERSION_NOT_SUPPORTED, message).into_status()
    }

    /// The name that the request was sent to does not lead here: `HOST_NOT_ALLOWED`. A page whose name was made to lead to this
    /// machine calls so.
    #[must_use]
    pub fn host_not_allowed() -> Status {
        let message = "this name does not lead here: call by an address or as localhost, or allow the name";
        Self::plain(Code::PermissionDenied, HOST_NOT_ALLOWED, message).into_status()
    }

    /// Pages of the site that the request comes from may not call: `ORIGIN_NOT_ALLOWED`.
    #[must_use]
    pub fn origin_not_allowed() -> Status {
        let message = "pages of this origin may not call here";
        Self::plain(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED", message).into_status()
    }

    /// What is said could be read by others on its way: `TLS_REQUIRED`.
    #[must_use]
    pub fn tls_required() -> Status {
        let message =
            "tokens and passwords could be read on their way here: call over TLS, and by the proxy that ends it";
        Self::plain(Code::PermissionDenied, "TLS_REQUIRED", message).into_status()
    }

    /// Gives a status of foreign make (tonic's own, or a library's) its `ErrorInfo`; the reason is the code's name.
    pub(crate) fn adopt(code: Code, message: impl Into<String>) -> Status {
        Self::plain(code, code_name(code), message).into_status()
    }

    pub(super) fn into_status(mut self) -> Status {
        let field_violations: Vec<_> = self.violations.into_iter().map(field_violation).collect();
        let (kept, left_out) = fitting(field_violations, VIOLATIONS_BYTES_MAX);
        if left_out > 0 {
            self.metadata.push(("violations_left_out", left_out.to_string()));
        }
        let mut details = vec![packed(
            "google.rpc.ErrorInfo",
            &pb::ErrorInfo {
                reason: self.reason.into_owned(),
                domain: ERROR_DOMAIN.to_owned(),
                metadata: self
                    .metadata
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<HashMap<_, _>>(),
            },
        )];
        if !kept.is_empty() {
            details.push(packed("google.rpc.BadRequest", &pb::BadRequest { field_violations: kept }));
        }
        if let Some(delay) = self.retry_after {
            // Durations beyond the protobuf range do not occur: delays are seconds.
            let retry_delay = prost_types::Duration::try_from(delay).ok();
            details.push(packed("google.rpc.RetryInfo", &pb::RetryInfo { retry_delay }));
        }
        let message = self.message;
        let all = pb::Status { code: self.code as i32, message: message.clone(), details };
        #[expect(clippy::disallowed_methods, reason = "the one place where reason and details become a status")]
        Status::with_details(self.code, message, all.encode_to_vec().into())
    }
}

/// The first violations that have so many bytes together, at least one, and how many are left out.
fn fitting(
    mut violations: Vec<pb::bad_request::FieldViolation>,
    bytes_max: usize,
) -> (Vec<pb::bad_request::FieldViolation>, usize) {
    let mut bytes = 0;
    // Each is a field of its own: a tag, and a length of two bytes.
    let fit = violations.iter().take_while(|violation| {
        bytes += violation.encoded_len() + 3;
        bytes <= bytes_max
    });
    let count = fit.count().max(1).min(violations.len());
    let left_out = violations.len() - count;
    violations.truncate(count);
    (violations, left_out)
}

fn field_violation(violation: FieldViolation) -> pb::bad_request::FieldViolation {
    pb::bad_request::FieldViolation {
        field: violation.field,
        description: violation.description,
        reason: violation.reason.to_owned(),
        localized_message: None,
    }
}

fn packed(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}
