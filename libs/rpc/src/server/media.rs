//! What is gRPC, by its head, and the answer to what is not.

use http::{HeaderValue, Method, Response, StatusCode, header};
use tonic::body::Body;

/// The types that are taken (the protocol's document, "Requests"). Those of other protocols begin alike:
/// `application/grpc-web` is another one, and `application/grpc+json` holds no protobuf.
const MEDIA_TYPES: [&str; 2] = ["application/grpc", "application/grpc+proto"];
const EXPLANATION: &str =
    "This port takes gRPC: POST with content-type application/grpc or application/grpc+proto, over HTTP/2.\n";

/// Whether the head is that of a gRPC call.
#[must_use]
pub fn is_grpc_call(parts: &http::request::Parts) -> bool {
    let media_type = parts.headers.get(header::CONTENT_TYPE);
    parts.method == Method::POST && media_type.is_some_and(|value| is_grpc(value.as_bytes()))
}

/// The answer to a request whose head is not that of a gRPC call; `None` when it is.
#[must_use]
pub fn refuse_other_protocols(parts: &http::request::Parts) -> Option<Response<Body>> {
    if is_grpc_call(parts) {
        return None;
    }
    if parts.method != Method::POST {
        return Some(refusal(StatusCode::METHOD_NOT_ALLOWED, header::ALLOW, "POST"));
    }
    let accepted = "application/grpc, application/grpc+proto";
    Some(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, header::ACCEPT, accepted))
}

/// Whether it is one of the types, whatever its parameters.
fn is_grpc(media_type: &[u8]) -> bool {
    let kind = media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    MEDIA_TYPES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(kind))
}

fn refusal(status: StatusCode, name: http::HeaderName, value: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::from(EXPLANATION)));
    *response.status_mut() = status;
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_grpc_are_taken_and_those_that_begin_alike_are_not() {
        for taken in
            ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8", "Application/GRPC;x"]
        {
            assert!(is_grpc(taken.as_bytes()), "{taken}");
        }
        for other in
            ["application/grpc-web", "application/grpc+json", "application/grpc-web+proto", "application/grp", ""]
        {
            assert!(!is_grpc(other.as_bytes()), "{other}");
        }
    }
}
