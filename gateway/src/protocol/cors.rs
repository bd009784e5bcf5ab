//! Which pages of other sites may call (the Fetch standard, "CORS protocol"). None, unless a setting names them.

use anyhow::ensure;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tonic::body::Body;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PATCH, PUT, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, connect-protocol-version, connect-timeout-ms, grpc-timeout, x-grpc-web, x-user-agent, \
     idempotency-key, traceparent",
);
const ANSWER_HEADERS: HeaderValue =
    HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin, retry-after");
/// How long a browser may keep the answer, in seconds: no browser keeps it longer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The sites whose pages may call.
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
}

impl Cors {
    /// # Errors
    ///
    /// When one of them is no origin, such as `https://shop.example.com`.
    pub(crate) fn new(origins: &[String]) -> anyhow::Result<Self> {
        let origins = origins.iter().map(|origin| {
            let (scheme, host) = origin.split_once("://").unwrap_or_default();
            let is_origin = matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains(['/', '*', ' ']);
            ensure!(is_origin, "gateway.cors_origins: {origin:?} is no origin such as https://shop.example.com");
            Ok(HeaderValue::from_str(origin)?)
        });
        Ok(Self { origins: origins.collect::<anyhow::Result<_>>()? })
    }

    /// Whether pages of this site may call.
    pub(crate) fn names(&self, origin: &HeaderValue) -> bool {
        self.origins.contains(origin)
    }

    /// The site that a request's page is of, if it may call.
    pub(crate) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        headers.get(header::ORIGIN).filter(|origin| self.origins.contains(origin)).cloned()
    }

    /// The answer to a browser that asks whether a page may call; none where it may not, and to other requests.
    pub(crate) fn preflight(&self, parts: &Parts) -> Option<Response<Body>> {
        if parts.method != Method::OPTIONS || !parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let origin = self.origin(&parts.headers)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        headers.insert(
            header::VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
        Some(response)
    }

    /// Says in an answer whose pages may read it.
    pub(crate) fn mark(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        let is_taken = |origin: &str| Cors::new(&[origin.to_owned()]).is_ok();
        assert!(is_taken("https://shop.example.com") && is_taken("http://localhost:5173"));
        for other in ["*", "https://*", "https://", "shop.example.com", "https://shop.example.com/", "ftp://a", ""] {
            assert!(!is_taken(other), "{other}");
        }
    }
}
