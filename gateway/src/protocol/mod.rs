//! What a caller speaks, by the head of its request: gRPC is taken as it is (`forward.rs`), everything else is made into it.
//!
//! * this file: which method is called, in which form its message comes, in which form its answer goes;
//! * `call.rs`: such a call, from its head to its answer; `answer.rs`: how answers and refusals are said;
//! * `headers.rs`: what goes on of its headers; `cors.rs`: which pages of other sites may call; `site.rs`: which requests of
//!   browsers are refused.

pub(crate) mod answer;
pub(crate) mod call;
pub(crate) mod cors;
pub(crate) mod headers;
pub(crate) mod site;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use openorder_rpc::{Refusal, rejection, timeout};
use openorder_types::Rejection;
use tonic::Status;

use crate::routes::{Route, RouteTable};
use crate::transcode::query;
use crate::transcode::rest::{Binding, BodyRule, Found};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";
/// What may be posted to a method that answers once, and to one that answers with a stream.
const UNARY_TYPES: &str = "application/json, application/proto, application/grpc, application/grpc+proto, \
                           application/grpc-web, application/grpc-web+proto, application/grpc-web-text, \
                           application/grpc-web-text+proto";
const STREAM_TYPES: &str = "application/connect+json, application/connect+proto, application/grpc, \
                            application/grpc+proto, application/grpc-web, application/grpc-web+proto, \
                            application/grpc-web-text, application/grpc-web-text+proto";
const CONNECT_TIMEOUT: &str = "connect-timeout-ms";
const CONNECT_VERSION: &str = "connect-protocol-version";

/// How a message is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Proto,
}

/// In which form a request's message comes.
#[derive(Clone)]
pub(crate) enum RequestForm {
    /// Out of the path, the query and the body; with the texts of the fields that stand in the path.
    Rest(Arc<Binding>, Vec<String>),
    /// The body.
    Connect(Codec),
    /// In the query.
    ConnectGet,
    /// In the only envelope of the body.
    ConnectEnvelope(Codec),
    /// Framed as in gRPC.
    GrpcWeb { is_text: bool },
}

/// In which form an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerForm {
    Rest,
    RestLines,
    RestEvents,
    Connect(Codec),
    ConnectEnvelopes(Codec),
    GrpcWeb { is_text: bool },
}

/// A call of another protocol than gRPC, as its head says it.
#[derive(Clone)]
pub(crate) struct Spoken {
    pub(crate) route: Arc<Route>,
    pub(crate) request: RequestForm,
    pub(crate) answer: AnswerForm,
}

/// A call that is refused because of its head, and how it is told.
pub(crate) struct Refused {
    pub(crate) status: Status,
    pub(crate) answer: AnswerForm,
}

impl Refused {
    fn rest(status: Status) -> Box<Self> {
        Box::new(Self { status, answer: AnswerForm::Rest })
    }
}

/// What a request means. Its time, where it is said in Connect's way, is said in gRPC's from then on.
pub(crate) fn of(routes: &RouteTable, parts: &mut Parts) -> Result<Spoken, Box<Refused>> {
    match routes.find(parts.uri.path()) {
        Some(route) => {
            let spoken = called_by_name(route, parts)?;
            take_connect_timeout(&mut parts.headers)
                .map_err(|status| Box::new(Refused { status, answer: spoken.answer }))?;
            Ok(spoken)
        }
        None => called_by_path(routes, parts),
    }
}

/// A request whose path is that of a method in gRPC: Connect or gRPC-Web.
fn called_by_name(route: &Arc<Route>, parts: &Parts) -> Result<Spoken, Box<Refused>> {
    let procedure = &route.procedure;
    let streams = procedure.streams();
    if parts.method == Method::GET && procedure.has_no_side_effects && !streams {
        return called_by_get(route, parts);
    }
    if parts.method != Method::POST {
        let allowed = if procedure.has_no_side_effects && !streams { "GET, POST" } else { "POST" };
        return Err(Refused::rest(Refusal::method_not_allowed(allowed)));
    }
    let kind = media_type(&parts.headers, header::CONTENT_TYPE).unwrap_or_default();
    let (request, answer) = match (kind.as_str(), streams) {
        (JSON, false) => (RequestForm::Connect(Codec::Json), AnswerForm::Connect(Codec::Json)),
        ("application/proto", false) => (RequestForm::Connect(Codec::Proto), AnswerForm::Connect(Codec::Proto)),
        ("application/connect+json", true) => {
            (RequestForm::ConnectEnvelope(Codec::Json), AnswerForm::ConnectEnvelopes(Codec::Json))
        }
        ("application/connect+proto", true) => {
            (RequestForm::ConnectEnvelope(Codec::Proto), AnswerForm::ConnectEnvelopes(Codec::Proto))
        }
        ("application/grpc-web" | "application/grpc-web+proto", _) => {
            (RequestForm::GrpcWeb { is_text: false }, AnswerForm::GrpcWeb { is_text: false })
        }
        ("application/grpc-web-text" | "application/grpc-web-text+proto", _) => {
            (RequestForm::GrpcWeb { is_text: true }, AnswerForm::GrpcWeb { is_text: true })
        }
        _ => {
            let accepted = if streams { STREAM_TYPES } else { UNARY_TYPES };
            return Err(Refused::rest(Refusal::unsupported_media_type(accepted)));
        }
    };
    let is_grpc_web = matches!(answer, AnswerForm::GrpcWeb { .. });
    if !is_grpc_web && parts.headers.get(CONNECT_VERSION).is_some_and(|version| version != "1") {
        let status = Refusal::malformed_request("Connect-Protocol-Version must be 1");
        return Err(Box::new(Refused { status, answer }));
    }
    if procedure.takes_stream() && !is_grpc_web {
        let status = Refusal::unimplemented("a stream of requests is taken over gRPC alone");
        return Err(Box::new(Refused { status, answer }));
    }
    Ok(Spoken { route: Arc::clone(route), request, answer })
}

/// Connect's GET: the message stands in the query, and the query says how it is encoded.
fn called_by_get(route: &Arc<Route>, parts: &Parts) -> Result<Spoken, Box<Refused>> {
    let parameters = query::parse(parts.uri.query().unwrap_or_default()).map_err(Refused::rest)?;
    let parameter = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
    let codec = match parameter("encoding") {
        Some("json") => Codec::Json,
        Some("proto") => Codec::Proto,
        _ => return Err(Refused::rest(Refusal::unsupported_media_type("encoding=json, encoding=proto"))),
    };
    let answer = AnswerForm::Connect(codec);
    if parameter("connect").is_some_and(|version| version != "v1") {
        let status = Refusal::malformed_request("the parameter connect must be v1");
        return Err(Box::new(Refused { status, answer }));
    }
    Ok(Spoken { route: Arc::clone(route), request: RequestForm::ConnectGet, answer })
}

/// A request of REST.
fn called_by_path(routes: &RouteTable, parts: &Parts) -> Result<Spoken, Box<Refused>> {
    let (binding, values) = match routes.rest().find(&parts.method, parts.uri.path()) {
        Found::Method(binding, values) => (binding, values),
        Found::Undecodable(field) => {
            let rejection = Rejection::invalid_field(field, "VALUE_MALFORMED", "must be UTF-8, percent-encoded");
            return Err(Refused::rest(self::rejection(rejection)));
        }
        Found::OtherMethods(allowed) => return Err(Refused::rest(Refusal::method_not_allowed(&allowed))),
        Found::Nothing => return Err(Refused::rest(Refusal::route_not_found())),
    };
    let content = media_type(&parts.headers, header::CONTENT_TYPE);
    if !matches!(binding.body, BodyRule::Nothing) && content.is_some_and(|content| content != JSON) {
        return Err(Refused::rest(Refusal::unsupported_media_type(JSON)));
    }
    let accepts = |made: &str| accepts(&parts.headers, made);
    let answer = if !binding.route.procedure.streams() {
        if !accepts(JSON) {
            return Err(Refused::rest(Refusal::not_acceptable(JSON)));
        }
        AnswerForm::Rest
    } else if accepts_by_name(&parts.headers, EVENTS) {
        AnswerForm::RestEvents
    } else if accepts(LINES) || accepts(JSON) {
        AnswerForm::RestLines
    } else {
        return Err(Refused::rest(Refusal::not_acceptable("application/x-ndjson, text/event-stream")));
    };
    Ok(Spoken { route: Arc::clone(&binding.route), request: RequestForm::Rest(Arc::clone(binding), values), answer })
}

/// Connect's time in milliseconds as `grpc-timeout`.
fn take_connect_timeout(headers: &mut HeaderMap) -> Result<(), Status> {
    let Some(value) = headers.remove(CONNECT_TIMEOUT) else { return Ok(()) };
    let digits = value.to_str().ok().filter(|text| text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(millis) = digits.and_then(|text| text.parse().ok()) else {
        return Err(Refusal::malformed_request("Connect-Timeout-Ms must be at most ten digits"));
    };
    headers.insert(timeout::GRPC_TIMEOUT, timeout::header(std::time::Duration::from_millis(millis)));
    Ok(())
}

/// A media type in lower case, without its parameters; none where there is none.
fn media_type(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Whether the caller takes what is made of this type (RFC 9110, section 12.5.1); without a word of it, it takes all.
fn accepts(headers: &HeaderMap, made: &str) -> bool {
    let group = made.split('/').next().unwrap_or_default();
    !headers.contains_key(header::ACCEPT)
        || ranges(headers).any(|range| range == made || range == "*/*" || range == format!("{group}/*"))
}

/// Whether the caller asks for this very type.
fn accepts_by_name(headers: &HeaderMap, made: &str) -> bool {
    ranges(headers).any(|range| range == made)
}

/// The types that the caller takes, but for those that it says it does not (`q=0`).
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = String> {
    weighed(headers, header::ACCEPT)
}

/// The words of a header that names alternatives, in lower case, but for those with a weight of zero.
fn weighed(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = String> {
    let values = headers.get_all(name).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let is_refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.and_then(|weight| weight.parse::<f32>().ok()).is_some_and(|weight| weight <= 0.0)
        });
        (!is_refused).then(|| name.to_ascii_lowercase())
    })
}

/// Whether an answer may be compressed with gzip (RFC 9110, section 12.5.3).
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    weighed(headers, header::ACCEPT_ENCODING).any(|encoding| encoding == "gzip" || encoding == "*")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    pub(super) fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (header::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn what_a_caller_takes_is_made_and_nothing_else() {
        assert!(accepts(&headers(&[]), JSON));
        for taken in ["*/*", "application/json", "Application/*;q=0.5", "text/html, application/json;q=0.1"] {
            assert!(accepts(&headers(&[("accept", taken)]), JSON), "{taken}");
        }
        for other in ["text/html", "application/json;q=0", "application/xml, text/*"] {
            assert!(!accepts(&headers(&[("accept", other)]), JSON), "{other}");
        }
        assert!(accepts_by_name(&headers(&[("accept", "text/event-stream")]), EVENTS));
        assert!(!accepts_by_name(&headers(&[("accept", "*/*")]), EVENTS));
        assert!(accepts_gzip(&headers(&[("accept-encoding", "deflate, GZIP;q=0.5")])));
        assert!(!accepts_gzip(&headers(&[("accept-encoding", "br, gzip;q=0")])) && !accepts_gzip(&headers(&[])));
    }

    #[test]
    fn connects_time_is_grpcs() {
        let time = |text: &'static str| {
            let mut headers = headers(&[("connect-timeout-ms", text)]);
            take_connect_timeout(&mut headers).map(|()| timeout::parse(&headers))
        };
        assert_eq!(time("1500").unwrap(), Some(std::time::Duration::from_millis(1_500)));
        assert!(time("9999999999").unwrap().is_some());
        for wrong in ["", "-1", "1.5", "1s", "12345678901"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_media_type_has_no_case_and_no_parameters() {
        let kind = |text| media_type(&headers(&[("content-type", text)]), header::CONTENT_TYPE);
        assert_eq!(kind("Application/JSON; charset=utf-8").as_deref(), Some(JSON));
        assert_eq!(media_type(&HeaderMap::new(), header::CONTENT_TYPE), None);
    }
}
