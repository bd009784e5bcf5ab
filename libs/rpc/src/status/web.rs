//! A status as other protocols than gRPC say it: the status code of HTTP, the names of Connect.

use std::time::Duration;

use http::StatusCode;
use tonic::{Code, Status};

use super::{code_name, reason_of, retry_after_of};

pub(super) const ROUTE_NOT_FOUND: &str = "ROUTE_NOT_FOUND";
pub(super) const METHOD_NOT_ALLOWED: &str = "METHOD_NOT_ALLOWED";
pub(super) const UNSUPPORTED_MEDIA_TYPE: &str = "UNSUPPORTED_MEDIA_TYPE";
pub(super) const UNSUPPORTED_CONTENT_ENCODING: &str = "UNSUPPORTED_CONTENT_ENCODING";
pub(super) const NOT_ACCEPTABLE: &str = "NOT_ACCEPTABLE";
pub(super) const HTTP_VERSION_NOT_SUPPORTED: &str = "HTTP_VERSION_NOT_SUPPORTED";
pub(super) const HOST_NOT_ALLOWED: &str = "HOST_NOT_ALLOWED";

/// The status code of a refusal over REST: by its code, or where HTTP has a word of its own for the reason, by that.
#[must_use]
pub fn http_status(status: &Status) -> StatusCode {
    match reason_of(status).as_deref() {
        Some(ROUTE_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(METHOD_NOT_ALLOWED) => StatusCode::METHOD_NOT_ALLOWED,
        Some(NOT_ACCEPTABLE) => StatusCode::NOT_ACCEPTABLE,
        Some(UNSUPPORTED_MEDIA_TYPE | UNSUPPORTED_CONTENT_ENCODING) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Some(HTTP_VERSION_NOT_SUPPORTED) => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        Some(HOST_NOT_ALLOWED) => StatusCode::MISDIRECTED_REQUEST,
        Some("REQUEST_TOO_LARGE") => StatusCode::PAYLOAD_TOO_LARGE,
        Some("METADATA_TOO_LARGE") => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Some("REQUEST_TOO_SLOW") => StatusCode::REQUEST_TIMEOUT,
        _ => http_status_of_code(status),
    }
}

/// The status code that Connect's document gives the code of a status ("Error Codes"); that of `google/rpc/code.proto` is
/// the same.
#[must_use]
pub fn http_status_of_code(status: &Status) -> StatusCode {
    number_of(status.code())
}

/// The same of a code's name, such as `NOT_FOUND`; none where it is no name of one.
#[must_use]
pub fn http_status_of_name(name: &str) -> Option<StatusCode> {
    (1..=16).map(Code::from_i32).find(|code| code_name(*code) == name).map(number_of)
}

fn number_of(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // "Client Closed Request", which no document of HTTP knows.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The name of a status' code in Connect, such as `invalid_argument`.
#[must_use]
pub fn connect_code(status: &Status) -> String {
    match status.code() {
        // Spelled with one l.
        Code::Cancelled => "canceled".to_owned(),
        code => code_name(code).to_ascii_lowercase(),
    }
}

/// Whether the status is one of success.
#[must_use]
pub fn is_success(status: &Status) -> bool {
    status.code() == Code::Ok
}

/// Whether the caller has to say who it is.
#[must_use]
pub fn is_unauthenticated(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
}

/// `Retry-After` in whole seconds, one at least; none where waiting does not help.
#[must_use]
pub fn retry_after_seconds(status: &Status) -> Option<u64> {
    let delay = retry_after_of(status)?;
    let seconds = delay.as_secs() + u64::from(delay > Duration::from_secs(delay.as_secs()));
    Some(seconds.max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::status::Refusal;

    #[test]
    fn codes_have_the_numbers_and_names_that_connect_asks_for() {
        let expected = [
            (Code::Cancelled, 499, "canceled"),
            (Code::Unknown, 500, "unknown"),
            (Code::InvalidArgument, 400, "invalid_argument"),
            (Code::DeadlineExceeded, 504, "deadline_exceeded"),
            (Code::NotFound, 404, "not_found"),
            (Code::AlreadyExists, 409, "already_exists"),
            (Code::PermissionDenied, 403, "permission_denied"),
            (Code::ResourceExhausted, 429, "resource_exhausted"),
            (Code::FailedPrecondition, 400, "failed_precondition"),
            (Code::Aborted, 409, "aborted"),
            (Code::OutOfRange, 400, "out_of_range"),
            (Code::Unimplemented, 501, "unimplemented"),
            (Code::Internal, 500, "internal"),
            (Code::Unavailable, 503, "unavailable"),
            (Code::DataLoss, 500, "data_loss"),
            (Code::Unauthenticated, 401, "unauthenticated"),
        ];
        for (code, number, name) in expected {
            #[expect(clippy::disallowed_methods, reason = "any code")]
            let status = Status::new(code, "");
            assert_eq!((http_status_of_code(&status).as_u16(), connect_code(&status).as_str()), (number, name));
            assert_eq!(http_status(&status).as_u16(), number);
            assert_eq!(http_status_of_name(code_name(code)).map(|status| status.as_u16()), Some(number));
        }
    }

    #[test]
    fn what_http_has_a_word_for_is_said_in_it() {
        assert_eq!(http_status(&Refusal::request_too_large(1)).as_u16(), 413);
        assert_eq!(http_status(&Refusal::metadata_too_large(1)).as_u16(), 431);
        assert_eq!(http_status(&Refusal::request_too_slow(Duration::from_secs(1))).as_u16(), 408);
        assert_eq!(http_status(&Refusal::route_not_found()).as_u16(), 404);
        let refused = Refusal::method_not_allowed("GET, POST");
        assert_eq!(http_status(&refused).as_u16(), 405);
        assert_eq!(refused.metadata().get("allow").unwrap(), "GET, POST");
        assert_eq!(http_status(&Refusal::overloaded(Duration::from_secs(1))).as_u16(), 429);
        assert_eq!(http_status(&Refusal::host_not_allowed()).as_u16(), 421);
        assert_eq!(http_status(&Refusal::origin_not_allowed()).as_u16(), 403);
    }

    #[test]
    fn a_time_to_come_again_is_never_too_short() {
        let after = |millis| retry_after_seconds(&Refusal::overloaded(Duration::from_millis(millis)));
        assert_eq!((after(0), after(1), after(1_000), after(1_001)), (Some(1), Some(1), Some(1), Some(2)));
        assert_eq!(retry_after_seconds(&Refusal::internal()), None);
        assert_eq!(http_status_of_name("OK").or(http_status_of_name("ORDER_NOT_FOUND")), None);
    }
}
