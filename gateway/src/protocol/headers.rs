//! What goes on of a call's headers, to the service and back.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::transcode::request::IDEMPOTENCY_KEY;

/// What a request of another protocol says to the gateway alone: about its connection, its body, its answer.
const OF_THE_REQUEST: [&str; 20] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connect-accept-encoding",
    "connect-content-encoding",
    "connect-protocol-version",
    "content-encoding",
    "content-type",
    "cookie",
    "expect",
    "grpc-accept-encoding",
    "if-modified-since",
    "if-none-match",
    "origin",
    "pragma",
    "range",
    "referer",
    "upgrade",
    "x-grpc-web",
];

/// What an answer says of itself, which is made anew.
const OF_THE_ANSWER: [HeaderName; 5] =
    [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::DATE];

/// The headers of a call of gRPC, out of those that the caller sent.
pub(crate) fn for_service(headers: &mut HeaderMap) {
    for name in OF_THE_REQUEST {
        headers.remove(name);
    }
    headers.remove(IDEMPOTENCY_KEY);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
}

/// Adds what the service says besides its messages; `prefix` stands before each name.
pub(crate) fn from_service(from: &HeaderMap, prefix: &str, to: &mut HeaderMap) {
    for (name, value) in from {
        if OF_THE_ANSWER.contains(name) || name.as_str().starts_with("grpc-") {
            continue;
        }
        if prefix.is_empty() {
            to.append(name.clone(), value.clone());
        } else if let Ok(name) = HeaderName::try_from(format!("{prefix}{name}")) {
            to.append(name, value.clone());
        }
    }
}
