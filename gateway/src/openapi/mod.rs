//! What can be called over HTTP and JSON, as OpenAPI 3.1 describes it: read from the contract and its comments.
//!
//! * `document.rs`: paths and what they take and answer; `schema.rs`: messages; `reasons.rs`: refusals.

mod document;
mod reasons;
mod schema;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use crate::message::packed;
use crate::protocol::accepts_gzip;
use crate::transcode::contract::Contract;
use crate::transcode::rest::RestRoutes;

/// Where the description is.
pub(crate) const PATH: &str = "/openapi.json";

/// The description, made once.
pub(crate) struct OpenApi {
    plain: Bytes,
    packed: Option<Bytes>,
}

impl OpenApi {
    pub(crate) fn new(contract: &Contract, routes: &RestRoutes) -> Self {
        let plain = Bytes::from(document::document(contract, routes).to_string());
        Self { packed: packed(&plain), plain }
    }

    /// The answer to a request for it.
    pub(crate) fn answer(&self, parts: &Parts) -> Response<Body> {
        if parts.method != Method::GET {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        let packed = self.packed.as_ref().filter(|_| accepts_gzip(&parts.headers));
        let body = packed.unwrap_or(&self.plain).clone();
        let (length, is_packed) = (body.len(), packed.is_some());
        let mut response = Response::new(Body::new(Full::new(body)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        if is_packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}
