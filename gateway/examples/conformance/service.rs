//! `connectrpc.conformance.v1.ConformanceService` over gRPC, its calls without a stream of requests: it answers what the
//! request says, and tells what it saw.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use openorder_rpc::timeout;
use prost::Message;
use prost_types::Any;
use tonic::body::Body;
use tonic::server::NamedService;

use crate::messages::{
    self, Error, Header, Payload, Payloaded, RequestInfo, ServerStreamRequest, StreamResponseDefinition, UnaryRequest,
    UnaryResponseDefinition,
};

pub const SERVICE: &str = "connectrpc.conformance.v1.ConformanceService";
/// What the gateway gives calls whose callers give no time; nobody of the suite asks for nearly as much.
pub const DEFAULT_TIMEOUT_MS: u64 = 600_000;
/// A call with as much time had none from its caller.
const GIVEN_BELOW: Duration = Duration::from_secs(300);
const UNIMPLEMENTED: i32 = 12;

/// The service.
#[derive(Clone)]
pub struct Conformance;

impl NamedService for Conformance {
    const NAME: &'static str = SERVICE;
}

impl tower::Service<Request<Body>> for Conformance {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(answer(request).await) })
    }
}

async fn answer(request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let received = body.collect().await.unwrap().to_bytes();
    let message = received.slice(5.min(received.len())..);
    let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let info = info(&parts.headers, method, &message);
    match method {
        "Unary" | "IdempotentUnary" => {
            let asked = UnaryRequest::decode(message).unwrap();
            unary(asked.response_definition.unwrap_or_default(), info).await
        }
        "ServerStream" => {
            let asked = ServerStreamRequest::decode(message).unwrap();
            server_stream(asked.response_definition.unwrap_or_default(), info)
        }
        _ => {
            let error = Error { code: UNIMPLEMENTED, message: Some("not here".to_owned()), details: Vec::new() };
            respond(&[], stream::empty(), ended(&[], Some(error)))
        }
    }
}

async fn unary(definition: UnaryResponseDefinition, info: RequestInfo) -> Response<Body> {
    let UnaryResponseDefinition { response_headers, response, response_trailers, response_delay_ms } = definition;
    tokio::time::sleep(Duration::from_millis(response_delay_ms.into())).await;
    match response {
        Some(messages::Response::Error(mut error)) => {
            error.details.push(any("ConformancePayload.RequestInfo", info.encode_to_vec()));
            respond(&response_headers, stream::empty(), ended(&response_trailers, Some(error)))
        }
        other => {
            let data = match other {
                Some(messages::Response::ResponseData(data)) => data,
                _ => Vec::new(),
            };
            let message = payload(data, Some(info));
            respond(&response_headers, stream::iter([message]), ended(&response_trailers, None))
        }
    }
}

fn server_stream(definition: StreamResponseDefinition, info: RequestInfo) -> Response<Body> {
    let StreamResponseDefinition { response_headers, response_data, response_delay_ms, mut error, response_trailers } =
        definition;
    if let Some(error) = error.as_mut().filter(|_| response_data.is_empty()) {
        error.details.push(any("ConformancePayload.RequestInfo", info.encode_to_vec()));
    }
    let pause = Duration::from_millis(response_delay_ms.into());
    let mut info = Some(info);
    let answers: Vec<_> = response_data.into_iter().map(|data| payload(data, info.take())).collect();
    let answers = stream::iter(answers).then(move |answer| async move {
        tokio::time::sleep(pause).await;
        answer
    });
    respond(&response_headers, answers, ended(&response_trailers, error))
}

/// An answer of gRPC: its head at once, each message as it comes, and how it ended.
fn respond(
    headers: &[Header],
    messages: impl Stream<Item = Bytes> + Send + 'static,
    trailers: HeaderMap,
) -> Response<Body> {
    let frames = messages.map(Frame::data).chain(stream::iter([Frame::trailers(trailers)]));
    let mut response = Response::new(Body::new(StreamBody::new(frames.map(Ok::<_, Infallible>))));
    add(headers, response.headers_mut());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// The trailers of an answer.
fn ended(trailers: &[Header], error: Option<Error>) -> HeaderMap {
    let mut ended = HeaderMap::new();
    add(trailers, &mut ended);
    let Error { code, message, details } = error.unwrap_or_default();
    ended.insert("grpc-status", HeaderValue::from(code));
    if let Some(message) = &message {
        let encoded: String = message
            .bytes()
            .map(|byte| match byte {
                b'%' | ..=0x1f | 0x7f.. => format!("%{byte:02X}"),
                plain => char::from(plain).to_string(),
            })
            .collect();
        ended.insert("grpc-message", HeaderValue::try_from(encoded).unwrap());
    }
    if !details.is_empty() {
        let status = messages::Status { code, message: message.unwrap_or_default(), details };
        let status = BASE64_STANDARD_NO_PAD.encode(status.encode_to_vec());
        ended.insert("grpc-status-details-bin", HeaderValue::try_from(status).unwrap());
    }
    ended
}

fn add(headers: &[Header], to: &mut HeaderMap) {
    for Header { name, value } in headers {
        for value in value {
            let name = HeaderName::try_from(name.as_str()).unwrap();
            to.append(name, HeaderValue::try_from(value.as_str()).unwrap());
        }
    }
}

/// A framed response.
fn payload(data: Vec<u8>, request_info: Option<RequestInfo>) -> Bytes {
    let message = Payloaded { payload: Some(Payload { data, request_info }) };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut framed).unwrap();
    framed.freeze()
}

/// What was seen of a request.
fn info(headers: &HeaderMap, method: &str, message: &Bytes) -> RequestInfo {
    let values = |name: &HeaderName| {
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    let timeout = timeout::parse(headers).filter(|timeout| *timeout < GIVEN_BELOW);
    RequestInfo {
        request_headers: headers
            .keys()
            .map(|name| Header { name: name.as_str().to_owned(), value: values(name) })
            .collect(),
        timeout_ms: timeout.map(|timeout| i64::try_from(timeout.as_millis()).unwrap()),
        requests: vec![any(&format!("{method}Request"), message.to_vec())],
    }
}

fn any(name: &str, value: Vec<u8>) -> Any {
    Any { type_url: format!("type.googleapis.com/connectrpc.conformance.v1.{name}"), value }
}
