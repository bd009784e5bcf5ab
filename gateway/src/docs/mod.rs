//! A page that shows what can be called, and calls it: it reads the description at `/openapi.json` and nothing of any other
//! host. Its policy lets a browser do no more: no script but its own, no frame around it, no form that goes elsewhere.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use tonic::body::Body;

use crate::message::packed;
use crate::protocol::accepts_gzip;

/// Where the page is.
pub(crate) const PATH: &str = "/docs";

const PAGE: &str = include_str!("page.html");

/// The page, made once.
pub(crate) struct DocsPage {
    policy: HeaderValue,
    packed: Option<Bytes>,
}

impl DocsPage {
    pub(crate) fn new() -> Self {
        let policy = HeaderValue::from_str(&policy(PAGE));
        // It is text that a header can have: a hash in base64 between words.
        let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { policy, packed: packed(PAGE.as_bytes()) }
    }

    /// The answer to a request for it.
    pub(crate) fn answer(&self, parts: &Parts) -> Response<Body> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let packed = self.packed.as_ref().filter(|_| accepts_gzip(&parts.headers));
        let page = packed.cloned().unwrap_or(Bytes::from_static(PAGE.as_bytes()));
        let length = page.len();
        let body = if parts.method == Method::HEAD { Body::empty() } else { Body::new(Full::new(page)) };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, "accept-encoding"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if packed.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// What the page may do (Content Security Policy Level 3): run its one script, look as its one style says, and call its own
/// server.
fn policy(page: &str) -> String {
    let hash = |tag| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(inside(page, tag))));
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash("script"),
        hash("style"),
    )
}

/// What stands in the only element of this name.
fn inside<'a>(page: &'a str, tag: &str) -> &'a str {
    let begin = page.split_once(&format!("<{tag}>")).map_or("", |(_, rest)| rest);
    begin.split_once(&format!("</{tag}>")).map_or("", |(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn all_that_the_page_runs_stands_in_it_and_in_its_policy() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(inside(PAGE, tag).len() > 100, "{tag}");
        }
        // What a policy of hashes does not let run, and what would ask another host.
        for other in [" style=\"", " onclick=", " onload=", "javascript:", "http://", "https://", "innerHTML", "eval("]
        {
            assert!(!PAGE.contains(other), "{other}");
        }
        let policy = policy(PAGE);
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_ne!(policy, super::policy(&PAGE.replacen("<script>", "<script> ", 1)));
    }
}
