//! A call of another protocol than gRPC, from its head to its answer.
//!
//! What surrounds a call of gRPC surrounds it, too, and is the same code: its trace, its deadline, the limits, its place
//! among the calls. Only the message is made out of what the caller sent, and the answer out of what the service sent.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body;
use openorder_rpc::caller::write_trace;
use openorder_rpc::server::Complete;
use openorder_rpc::status::web;
use openorder_rpc::{Refusal, UpstreamBody};
use openorder_telemetry::TraceContext;
use prost_reflect::DynamicMessage;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::headers::{for_service, from_service};
use super::{AnswerForm, Codec, RequestForm, Spoken, accepts_gzip};
use crate::answers::{AnswerBody, CallerAnswers, Ending};
use crate::body::{HeldBody, Received, Rest, read_whole};
use crate::forward::{Admitted, Message, Shared, admit, remove_foreign, send};
use crate::identity::Arrival;
use crate::message::{Encoding, Expected, packed, plain, unpacked};
use crate::transcode::json::{UnknownFields, read};
use crate::transcode::request::{IDEMPOTENCY_KEY, framed, framed_bytes, name_command, rest};
use crate::transcode::rest::BodyRule;
use crate::transcode::stream::{Convert, GrpcWeb, Layout, Messages, grpc_web_trailers, unreadable};
use crate::transcode::{frames, json, query};

/// When to come again after an answer that broke off.
const BROKEN_OFF_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long an answer is that is compressed for callers that take it so: of shorter ones nothing is gained, and longer
/// ones would keep others waiting meanwhile.
const PACKED_BYTES: RangeInclusive<usize> = 1_024..=1_048_576;

/// What Connect's GET has its message in.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A call on its way from the caller to the service.
pub(crate) struct SpokenCall<B> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) spoken: Spoken,
    pub(crate) arrival: Arrival,
    pub(crate) answers: CallerAnswers,
    pub(crate) trace: TraceContext,
    pub(crate) deadline: Option<Instant>,
    pub(crate) parts: Parts,
    pub(crate) body: B,
    pub(crate) rest: Arc<Rest>,
}

impl<B: Body<Data = Bytes> + Unpin> SpokenCall<B> {
    pub(crate) async fn answer(self) -> Result<Response<HeldBody<AnswerBody>>, Status> {
        let Self { shared, spoken, arrival, answers, trace, deadline, parts, body, rest } = self;
        let Parts { uri, mut headers, .. } = parts;
        let identity = shared.sign_in.identify(arrival, spoken.route.access).await?;
        let (limits, packs) = (shared.limits.read, accepts_gzip(&headers));
        let received = read_whole(body, limits, &identity.member).await;
        rest.was_read(received.is_ok());
        let Received { bytes, place: _bytes } = received?;
        let message = message(&spoken, uri.query(), &mut headers, bytes, limits.body_bytes)?;
        let admitted = admit(&spoken.route, &identity).await?;
        for_service(&mut headers);
        remove_foreign(&mut headers);
        identity.write(&mut headers, spoken.route.wants_address);
        write_trace(&trace, &mut headers);
        let path = spoken.route.path.clone();
        let answer = send(&spoken.route, Message { path, headers, body: message, deadline }).await?;
        let Admitted { place, at_service } = admitted;
        let answer = match spoken.route.streams {
            true => stream(&shared, &spoken, &answers, identity.ending(true), answer)?,
            false => unary(&spoken, &answers, answer, packs).await?,
        };
        drop(at_service);
        Ok(answer.map(|body| HeldBody::new(body, Some(place))))
    }
}

/// The message of a request, as gRPC frames it.
pub(crate) fn message(
    spoken: &Spoken,
    query: Option<&str>,
    headers: &mut HeaderMap,
    body: Bytes,
    bytes_max: usize,
) -> Result<Bytes, Status> {
    let procedure = &spoken.route.procedure;
    let mut message = match &spoken.request {
        RequestForm::GrpcWeb { is_text } => {
            let encoding = Encoding::take(headers)?;
            let body = if *is_text { of_text(&body)? } else { body };
            let expected = Expected { encoding, any_number: procedure.takes_stream(), bytes_max };
            return plain(body, expected);
        }
        RequestForm::Rest(binding, values) => {
            let body = unpacked(headers, body, bytes_max)?;
            let takes_body = !matches!(binding.body, BodyRule::Nothing);
            if takes_body && !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
                // A page of another site can send a body without a type to this one unasked, and no other.
                return Err(Refusal::unsupported_media_type(super::JSON));
            }
            rest(binding, values, query, &body)?
        }
        RequestForm::Connect(codec) => {
            let body = unpacked(headers, body, bytes_max)?;
            return encoded(spoken, *codec, &body, headers);
        }
        RequestForm::ConnectGet => {
            let (codec, message) = of_query(query.unwrap_or_default(), bytes_max)?;
            return encoded(spoken, codec, &message, headers);
        }
        RequestForm::ConnectEnvelope(codec) => {
            let envelopes = Expected { encoding: connect_encoding(headers)?, any_number: false, bytes_max };
            let envelope = plain(body, envelopes)?;
            return encoded(spoken, *codec, envelope.get(5..).unwrap_or_default(), headers);
        }
    };
    name_command(procedure, &mut message, headers)?;
    Ok(framed(&message))
}

/// A message of Connect. In protobuf it goes on as it is, if nothing is to be added to it.
fn encoded(spoken: &Spoken, codec: Codec, bytes: &[u8], headers: &HeaderMap) -> Result<Bytes, Status> {
    let procedure = &spoken.route.procedure;
    let mut message = match codec {
        Codec::Json => read(&procedure.input, bytes, UnknownFields::Ignored)?,
        Codec::Proto if procedure.request_id.is_none() || !headers.contains_key(IDEMPOTENCY_KEY) => {
            return Ok(framed_bytes(bytes));
        }
        Codec::Proto => DynamicMessage::decode(procedure.input.clone(), bytes)
            .map_err(|_| Refusal::malformed_request("the request is not the message that this method takes"))?,
    };
    name_command(procedure, &mut message, headers)?;
    Ok(framed(&message))
}

/// The message in the query of Connect's GET, and how it is encoded.
fn of_query(query: &str, bytes_max: usize) -> Result<(Codec, Vec<u8>), Status> {
    let parameters = query::parse(query)?;
    let parameter = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
    let codec = if parameter("encoding") == Some("proto") { Codec::Proto } else { Codec::Json };
    let text = parameter("message").ok_or_else(|| Refusal::malformed_request("the query has no message"))?;
    let message = match parameter("base64") {
        Some("1") => URL_SAFE
            .decode(text)
            .map_err(|_| Refusal::malformed_request("the message in the query is not in base64 for URLs"))?,
        _ => text.as_bytes().to_vec(),
    };
    let encoding = match parameter("compression") {
        None | Some("" | "identity") => Encoding::Identity,
        Some("gzip") => Encoding::Gzip,
        Some(_) => return Err(Refusal::unsupported_content_encoding("gzip, identity")),
    };
    Ok((codec, encoding.unpacked(message.into(), bytes_max)?.to_vec()))
}

/// How the envelopes of a stream in Connect may be compressed.
fn connect_encoding(headers: &mut HeaderMap) -> Result<Encoding, Status> {
    match headers.remove("connect-content-encoding") {
        Some(encoding) => {
            Encoding::parse(encoding.as_bytes()).ok_or_else(|| Refusal::unsupported_content_encoding("gzip, identity"))
        }
        None => Ok(Encoding::Identity),
    }
}

/// The bytes of `application/grpc-web-text`: texts in base64, each with its padding, one behind another.
fn of_text(body: &[u8]) -> Result<Bytes, Status> {
    let malformed = || Refusal::malformed_request("the body is not in base64");
    let mut bytes = Vec::with_capacity(body.len() / 4 * 3);
    let mut rest = body;
    while !rest.is_empty() {
        // A text ends behind its padding, which fills a group of four.
        let padding = rest.iter().position(|byte| *byte == b'=');
        let end = padding.map_or(rest.len(), |at| (at / 4 + 1) * 4);
        let (text, after) = rest.split_at_checked(end).ok_or_else(malformed)?;
        bytes.extend(BASE64_STANDARD.decode(text).map_err(|_| malformed())?);
        rest = after;
    }
    Ok(bytes.into())
}

/// An answer with one message. It is read whole before its head is written, and so a refusal never comes too late.
async fn unary(
    spoken: &Spoken,
    answers: &CallerAnswers,
    answer: Response<UpstreamBody>,
    packs: bool,
) -> Result<Response<AnswerBody>, Status> {
    let (head, mut body) = answer.into_parts();
    let received = answers.read(&mut body).await?;
    let trailers = received.trailers.unwrap_or_default();
    let status = status_of(&head.headers).or_else(|| ended(&head.headers, &trailers, spoken.answer));
    // An answer without a status broke off.
    refuse(Some(status.unwrap_or_else(|| Refusal::upstream_unavailable(BROKEN_OFF_RETRY_AFTER))))?;
    let procedure = &spoken.route.procedure;
    let body = match spoken.answer {
        AnswerForm::GrpcWeb { is_text } => {
            let mut whole = received.bytes.to_vec();
            whole.extend_from_slice(&grpc_web_trailers(&trailers));
            if is_text { BASE64_STANDARD.encode(whole).into() } else { Bytes::from(whole) }
        }
        form => {
            let message = frames::only(&received.bytes).map_err(|error| unreadable(&error.to_string()))?;
            match form {
                AnswerForm::Connect(Codec::Proto) => message,
                _ => json::write(&procedure.output, &message).map_err(|error| unreadable(&error))?.into(),
            }
        }
    };
    let mut response = spoken.answer.head();
    let headers = response.headers_mut();
    from_service(&head.headers, "", headers);
    if let AnswerForm::Connect(_) = spoken.answer {
        from_service(&trailers, "trailer-", headers);
    }
    let packs = packs && !matches!(spoken.answer, AnswerForm::GrpcWeb { .. }) && PACKED_BYTES.contains(&body.len());
    let body = match packs.then(|| packed(&body)).flatten() {
        Some(packed) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            packed
        }
        None => body,
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    response.extensions_mut().insert(Complete);
    let body = answers.made(body)?;
    Ok(response.map(|()| body))
}

/// An answer that goes on as it comes.
fn stream(
    shared: &Shared,
    spoken: &Spoken,
    answers: &CallerAnswers,
    ending: Ending,
    answer: Response<UpstreamBody>,
) -> Result<Response<AnswerBody>, Status> {
    let (head, body) = answer.into_parts();
    let is_over = head.headers.contains_key("grpc-status");
    refuse(status_of(&head.headers))?;
    let (bytes_max, keep_alive) = (shared.limits.answer_bytes, shared.limits.stream_keep_alive);
    let mut convert = convert(shared, spoken, bytes_max, keep_alive);
    let mut response = spoken.answer.head();
    from_service(&head.headers, "", response.headers_mut());
    if is_over {
        // A stream of nothing.
        let end = convert.end(&head.headers);
        response.extensions_mut().insert(Complete);
        let body = answers.made(end)?;
        return Ok(response.map(|()| body));
    }
    Ok(response.map(|()| answers.converted(body, ending, convert)))
}

fn convert(shared: &Shared, spoken: &Spoken, bytes_max: usize, keep_alive: Duration) -> Box<dyn Convert> {
    let layout = match spoken.answer {
        AnswerForm::GrpcWeb { is_text } => return Box::new(GrpcWeb { is_text }),
        AnswerForm::ConnectEnvelopes(codec) => Layout::Envelopes(codec),
        AnswerForm::RestEvents => Layout::Events,
        AnswerForm::Rest | AnswerForm::RestLines | AnswerForm::Connect(_) => Layout::Lines,
    };
    let output = &spoken.route.procedure.output;
    Box::new(Messages::new(layout, shared.routes.contract(), output, bytes_max, keep_alive))
}

fn status_of(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}

/// How an answer ended by its trailers. A refusal also has what the head said before it was one.
fn ended(head: &HeaderMap, trailers: &HeaderMap, form: AnswerForm) -> Option<Status> {
    let mut status = status_of(trailers)?;
    if !web::is_success(&status) {
        let mut said = HeaderMap::new();
        from_service(head, "", &mut said);
        from_service(trailers, if matches!(form, AnswerForm::Connect(_)) { "trailer-" } else { "" }, &mut said);
        *status.metadata_mut() = MetadataMap::from_headers(said);
    }
    Some(status)
}

/// A status that is not one of success is what the caller is told.
fn refuse(status: Option<Status>) -> Result<(), Status> {
    match status {
        Some(status) if !web::is_success(&status) => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::tests::headers;
    use super::*;

    #[test]
    fn a_refusal_at_the_end_of_an_answer_has_what_its_head_said() {
        let head = headers(&[("x-own", "head"), ("content-type", "application/grpc")]);
        let trailers = headers(&[("grpc-status", "5"), ("grpc-message", "no"), ("x-own", "end")]);
        let of = |form| {
            let status = ended(&head, &trailers, form).unwrap();
            assert_eq!(status.message(), "no");
            let said = status.metadata().clone().into_headers();
            let mut said: Vec<_> =
                said.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            said.sort();
            said
        };
        assert_eq!(of(AnswerForm::Connect(Codec::Json)), ["trailer-x-own: end", "x-own: head"]);
        assert_eq!(of(AnswerForm::Rest), ["x-own: end", "x-own: head"]);
        assert!(ended(&head, &HeaderMap::new(), AnswerForm::Rest).is_none());
    }

    proptest! {
        #[test]
        fn texts_in_base64_one_behind_another_are_their_bytes(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..5),
        ) {
            let text: String = pieces.iter().map(|piece| BASE64_STANDARD.encode(piece)).collect();
            prop_assert_eq!(of_text(text.as_bytes()).unwrap(), pieces.concat());
        }

        #[test]
        fn no_body_and_no_query_is_a_failure_of_ours(
            body in proptest::collection::vec(any::<u8>(), 0..60),
            base64 in "[A-Za-z0-9+/=]{0,40}",
            query in "((message|encoding|base64|compression|connect)=([A-Za-z0-9%_=+-]{0,20}|gzip|proto|1)&?){0,6}",
        ) {
            let of_bodies = [of_text(&body).err(), of_text(base64.as_bytes()).err()];
            let refused = of_bodies.into_iter().chain([of_query(&query, 1_000).err()]).flatten();
            for status in refused {
                prop_assert!(web::http_status(&status).is_client_error(), "{status:?}");
            }
        }
    }
}
