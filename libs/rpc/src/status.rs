//! The one place where an outcome becomes a gRPC status, and back.
//!
//! Every status that leaves OpenOrder carries exactly one `google.rpc.ErrorInfo` of the domain `openorder`: programs
//! branch on its reason, people read the message. An invalid request adds a `BadRequest` with all its violations;
//! where waiting helps there is a `RetryInfo`. [`Refusal`] has the statuses that no service decides on. How HTTP says it to
//! callers of other protocols is in [`web`].

mod refusal;
pub mod web;

use std::time::Duration;

use openorder_types::{CallError, Fault, Rejection, RejectionKind};
use tonic::{Code, Status};

pub use refusal::Refusal;

use crate::page::ANSWER_TOO_LARGE;

/// The domain of every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "openorder";

/// The status of a call that failed. Its text is safe for callers: of a failure of ours it says only the trace id
/// that finds the log lines.
#[must_use]
pub fn status(error: CallError) -> Status {
    match error {
        CallError::Rejected(rejection) => self::rejection(rejection),
        CallError::Unavailable { retry_after, .. } => Refusal::dependency_unavailable(retry_after),
        CallError::Overloaded { retry_after } => Refusal::overloaded(retry_after),
        CallError::DeadlineExceeded => Refusal::deadline_exceeded(),
        CallError::Internal => {
            tracing::error!("a call failed, and its caller was given the trace id as a reference");
            Refusal::internal()
        }
        CallError::Failed(fault) => {
            tracing::error!(%fault, "a call failed, and its caller was given the trace id as a reference");
            Refusal::internal()
        }
    }
}

/// What a caller hears of a query that failed: that something is away, or nothing of it. The cause stands in the log.
#[must_use]
pub fn query_failed(fault: Fault) -> CallError {
    // Every other cause is logged where the caller is answered.
    if let Fault::Outage { .. } = &fault {
        tracing::warn!(%fault, "query failed");
    }
    CallError::from(fault)
}

/// The status of a rejection.
#[must_use]
pub fn rejection(rejection: Rejection) -> Status {
    Refusal {
        code: code_of(rejection.kind),
        reason: rejection.reason.into(),
        message: rejection.message,
        metadata: rejection.metadata,
        violations: rejection.violations,
        retry_after: rejection.retry_after,
    }
    .into_status()
}

/// A refusal of another service as this one's own, without the headers of the other call.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the details are there already")]
pub fn passed_on(status: &Status) -> Status {
    Status::with_details(status.code(), status.message(), status.details().to_vec().into())
}

/// The reason of a status that OpenOrder made, such as `OUT_OF_STOCK`.
#[must_use]
pub fn reason_of(status: &Status) -> Option<String> {
    use tonic_types::StatusExt;
    let info = status.get_details_error_info()?;
    (info.domain == ERROR_DOMAIN).then_some(info.reason)
}

/// What a status that OpenOrder made says under this key, besides its reason.
#[must_use]
pub fn metadata_of(status: &Status, key: &str) -> Option<String> {
    use tonic_types::StatusExt;
    let mut info = status.get_details_error_info()?;
    if info.domain == ERROR_DOMAIN { info.metadata.remove(key) } else { None }
}

/// The reason of a status that OpenOrder made, or the name of its code: what to show of any status.
#[must_use]
pub fn reason_or_code(status: &Status) -> String {
    reason_of(status).unwrap_or_else(|| code_name(status.code()).to_owned())
}

/// The wrong fields of a request that was refused as invalid, each with what is wrong; none for other refusals.
#[must_use]
pub fn violations_of(status: &Status) -> Vec<(String, String)> {
    use tonic_types::StatusExt;
    let violations = status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

/// How long the maker of the status asks to wait before another try.
#[must_use]
pub fn retry_after_of(status: &Status) -> Option<Duration> {
    use tonic_types::StatusExt;
    status.get_details_retry_info()?.retry_delay
}

/// When to come again, if there is no room for the call now (`RESOURCE_EXHAUSTED`): nothing was done. A refusal that names
/// no time is none of these: it would be refused again.
#[must_use]
pub fn room_after(status: &Status) -> Option<Duration> {
    if status.code() == Code::ResourceExhausted { retry_after_of(status) } else { None }
}

/// What an upstream's failure means for the work that called it. `None` for a status of success.
///
/// Unreachable, overloaded or too slow is an outage; a concurrent change may succeed later; everything else repeats
/// itself (an upstream's "no" that the caller expects is read with [`reason_of`] or [`is_not_found`] before).
#[must_use]
pub fn fault_of(upstream: &'static str, status: &Status) -> Option<Fault> {
    let detail = format!("{}: {}", code_name(status.code()), status.message());
    match status.code() {
        Code::Ok => None,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled => {
            Some(Fault::outage(upstream, detail))
        }
        Code::Aborted | Code::Internal | Code::Unknown => {
            Some(Fault::retryable(format!("{upstream}: {detail}")).because("UPSTREAM_FAILED"))
        }
        _ => Some(Fault::permanent(format!("{upstream}: {detail}")).because("UPSTREAM_REFUSED")),
    }
}

/// Whether the upstream says that the object does not exist.
#[must_use]
pub fn is_not_found(status: &Status) -> bool {
    status.code() == Code::NotFound
}

/// Whether the answer is larger than the upstream gives, or than is taken here: fewer have to be asked for.
#[must_use]
pub fn is_answer_too_large(status: &Status) -> bool {
    // tonic's own client says OUT_OF_RANGE of a message beyond its limit.
    reason_of(status).as_deref() == Some(ANSWER_TOO_LARGE)
        || (status.code() == Code::OutOfRange && status.message().contains("message length too large"))
}

/// Whether the upstream has no such method.
#[must_use]
pub fn is_unimplemented(status: &Status) -> bool {
    status.code() == Code::Unimplemented
}

/// Whether the caller is not known, or not any more.
#[must_use]
pub fn is_unauthenticated(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
}

/// Whether another try may succeed: the only code that is ever retried.
#[must_use]
pub fn is_unavailable(status: &Status) -> bool {
    status.code() == Code::Unavailable
}

fn code_of(kind: RejectionKind) -> Code {
    match kind {
        RejectionKind::InvalidArgument => Code::InvalidArgument,
        RejectionKind::NotFound => Code::NotFound,
        RejectionKind::AlreadyExists => Code::AlreadyExists,
        RejectionKind::FailedPrecondition => Code::FailedPrecondition,
        RejectionKind::OutOfRange => Code::OutOfRange,
        RejectionKind::ResourceExhausted => Code::ResourceExhausted,
        RejectionKind::PermissionDenied => Code::PermissionDenied,
        RejectionKind::Unauthenticated => Code::Unauthenticated,
        RejectionKind::Aborted => Code::Aborted,
    }
}

/// The code in the head of an answer, which has one if the call failed before its first message.
pub(crate) fn code_of_head(headers: &http::HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The name of a code as the gRPC documents write it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests;
