//! Requests that nobody meant: whatever arrives, it is a call or its caller's mistake, and never a failure of ours. The targets
//! of `dev/fuzz` in the gateway, which among the other tests run for a moment.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use openorder_fuzzing::{Random, fuzz};
use openorder_rpc::status::web;
use openorder_rpc::timeout;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};
use tonic::{Code, Status};

use crate::identity::bearer::{self, Bearer};
use crate::protocol::call::message;
use crate::protocol::cors::Cors;
use crate::protocol::site::Site;
use crate::protocol::{Codec, RequestForm, accepts_gzip, of};
use crate::resend::resend;
use crate::routes::{Route, RouteTable, of_contract};
use crate::transcode::arbitrary::{self, DEPTH, is_of_the_contract};
use crate::transcode::contract::PUBLIC;
use crate::transcode::error;
use crate::transcode::frames::{Frames, only};
use crate::transcode::json::{UnknownFields, read, write};
use crate::transcode::path::Template;
use crate::transcode::request::{framed, framed_bytes, rest};
use crate::transcode::rest::{Binding, Found};

/// The largest request, small enough that some are larger.
const BYTES_MAX: usize = 4_000;

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    of_contract()
});

/// All ways of REST, in one order.
static BINDINGS: LazyLock<Vec<Arc<Binding>>> = LazyLock::new(|| {
    let mut all: Vec<_> = ROUTES.rest().all().cloned().collect();
    all.sort_by_key(|binding| (binding.template.to_string(), binding.method.to_string()));
    all
});

/// All methods, in one order.
static METHODS: LazyLock<Vec<Arc<Route>>> = LazyLock::new(|| {
    let mut paths: Vec<_> = ROUTES.paths().collect();
    paths.sort_unstable();
    paths.into_iter().map(|path| Arc::clone(ROUTES.find(path).unwrap())).collect()
});

static MESSAGES: LazyLock<Vec<MessageDescriptor>> =
    LazyLock::new(|| PUBLIC.pool().all_messages().filter(is_of_the_contract).collect());

/// Whether a refusal says that its caller did something wrong, or asked for what is not there, and can be told.
fn is_the_callers(status: &Status) -> bool {
    let is_theirs = web::http_status(status).is_client_error() || status.code() == Code::Unimplemented;
    is_theirs && error::rest(&PUBLIC, status)["code"].is_number()
}

/// Whether a request is a call. If it is none, it has to be refused with what its caller did wrong.
fn is_a_call(mut parts: Parts, body: Vec<u8>) -> bool {
    let told = format!("{} {} {:?}", parts.method, parts.uri, parts.headers);
    let spoken = match of(&ROUTES, &mut parts) {
        Ok(spoken) => spoken,
        Err(refused) => {
            assert!(is_the_callers(&refused.status), "{told}: {:?}", refused.status);
            return false;
        }
    };
    let Parts { uri, mut headers, .. } = parts;
    let procedure = &spoken.route.procedure;
    let body = Bytes::from(body);
    match message(&spoken, uri.query(), &mut headers, body.clone(), BYTES_MAX) {
        Ok(framed) => {
            let passes_on = matches!(spoken.request, RequestForm::GrpcWeb { .. });
            if !(passes_on && procedure.takes_stream()) {
                let message = only(&framed).unwrap_or_else(|error| panic!("{told} {body:?}: {error}"));
                // What comes in protobuf is read by its service.
                let is_read_here = match spoken.request {
                    RequestForm::Rest(..) => true,
                    RequestForm::Connect(codec) | RequestForm::ConnectEnvelope(codec) => codec == Codec::Json,
                    RequestForm::ConnectGet | RequestForm::GrpcWeb { .. } => false,
                };
                let decoded = DynamicMessage::decode(procedure.input.clone(), message);
                assert!(!is_read_here || decoded.is_ok(), "{told} {body:?}");
            }
            let _ = resend(procedure, &framed);
            true
        }
        Err(status) => {
            assert!(is_the_callers(&status), "{told} {body:?}: {status:?}");
            false
        }
    }
}

/// The head of a request; none of what no server takes for one.
fn head(method: &Method, target: &str, headers: HeaderMap) -> Option<Parts> {
    let (mut parts, ()) = Request::builder().method(method).uri(target).body(()).ok()?.into_parts();
    parts.headers = headers;
    Some(parts)
}

fn header(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.append(HeaderName::from_static(name), value);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A message of a type in JSON, or in protobuf.
fn encoded(random: &mut Random, descriptor: &MessageDescriptor, in_json: bool) -> Vec<u8> {
    let message = arbitrary::message(random, descriptor, DEPTH).encode_to_vec();
    if in_json { write(descriptor, &message).unwrap() } else { message }
}

/// What may stand in a path, or as a value in a query.
fn text(random: &mut Random) -> String {
    const KNOWN: [&str; 12] = [
        "1",
        "-1",
        "true",
        "1e400",
        "2030-01-01T00:00:00Z",
        "ORDER_STATUS_PAID",
        "",
        "%",
        "%2F",
        "a,b",
        ":cancel",
        "lamp",
    ];
    match random.below(3) {
        0 => (*random.one_of(&KNOWN)).to_owned(),
        1 => random.text_of("abZ09%:._~/*{}=&-", 12),
        // As a client would send it.
        _ => random.text(8).bytes().map(|byte| format!("%{byte:02X}")).collect(),
    }
}

/// A query of fields of this message, and of some that it does not have.
fn query(random: &mut Random, input: &MessageDescriptor) -> String {
    let mut names: Vec<_> = input.fields().map(|field| field.json_name().to_owned()).collect();
    names.extend(["totalMin.units", "total_min.currency_code", "update_mask", "nothing"].map(str::to_owned));
    let count = random.below(5);
    let pairs: Vec<_> = (0..count).map(|_| format!("{}={}", random.one_of(&names).clone(), text(random))).collect();
    pairs.join("&")
}

#[test]
fn fuzz_json() {
    fuzz("json", |random| {
        let descriptor = random.one_of(MESSAGES.as_slice());
        let whole = encoded(random, descriptor, true);
        let json = random.damaged(whole);
        let is_read = [UnknownFields::Refused, UnknownFields::Ignored].map(|unknown_fields| {
            match read(descriptor, &json, unknown_fields) {
                Ok(message) => {
                    let back = DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice());
                    assert!(back.is_ok(), "{}: {}", descriptor.full_name(), String::from_utf8_lossy(&json));
                    true
                }
                Err(status) => {
                    assert!(is_the_callers(&status), "{}: {status:?}", String::from_utf8_lossy(&json));
                    false
                }
            }
        });
        assert!(is_read[1] || !is_read[0], "{}", String::from_utf8_lossy(&json));
        is_read[0]
    });
}

/// What a service sends is read here, too.
#[test]
fn fuzz_answers() {
    fuzz("answers", |random| {
        let descriptor = random.one_of(MESSAGES.as_slice());
        let whole = encoded(random, descriptor, false);
        let message = random.damaged(whole);
        let is_written = match write(descriptor, &message) {
            Ok(json) => {
                let again = read(descriptor, &json, UnknownFields::Refused);
                let told = || String::from_utf8_lossy(&json);
                assert!(again.as_ref().err().is_none_or(is_the_callers), "{}: {}", descriptor.full_name(), told());
                true
            }
            Err(_) => false,
        };
        let answer = random.damaged(framed_bytes(&message).to_vec());
        let mut frames = Frames::default();
        let (mut pieces, mut arrived) = (answer.chunks(1 + random.below(40)), Vec::new());
        let broken = pieces.any(|piece| {
            frames.push(piece);
            loop {
                match frames.next(BYTES_MAX) {
                    Ok(Some(message)) => arrived.push(message),
                    Ok(None) => return false,
                    Err(_) => return true,
                }
            }
        });
        if let Ok(message) = only(&Bytes::from(answer)) {
            assert!(message.len() > BYTES_MAX || (!broken && arrived == [message]), "in pieces it is another");
        }
        is_written
    });
}

#[test]
fn fuzz_rest() {
    fuzz("rest", |random| {
        let binding = random.one_of(BINDINGS.as_slice());
        let input = &binding.route.procedure.input;
        let mut path = binding.template.to_string();
        for field in binding.template.fields() {
            path = path.replace(&format!("{{{field}}}"), &text(random));
        }
        let mut headers = HeaderMap::new();
        let (mut body, mut target) = (Vec::new(), path);
        if random.chance(50) {
            target = format!("{target}?{}", query(random, input));
        }
        if random.chance(60) {
            let whole = encoded(random, input, true);
            body = random.damaged(whole);
        }
        if random.chance(90) {
            header(&mut headers, "content-type", b"application/json");
        }
        if random.chance(10) {
            let key = random.bytes(9);
            header(&mut headers, "idempotency-key", &key);
        }
        if random.chance(10) {
            let packed = gzip(&body);
            body = random.damaged(packed);
            header(&mut headers, "content-encoding", random.one_of::<&[u8]>(&[b"gzip", b"GZIP ", b"br", b"identity"]));
        }
        // Its texts may lead to another method, or to none.
        head(&binding.method, &target, headers).is_some_and(|parts| is_a_call(parts, body))
    });
}

#[test]
fn fuzz_connect_post() {
    fuzz("connect_post", |random| {
        let route = random.one_of(METHODS.as_slice());
        let in_json = random.chance(60);
        let whole = encoded(random, &route.procedure.input, in_json);
        let mut body = random.damaged(whole);
        let mut headers = HeaderMap::new();
        let packs = random.chance(15);
        if route.streams {
            let message = if packs { gzip(&body) } else { body };
            let mut envelope = framed_bytes(&message).to_vec();
            envelope[0] = u8::from(packs);
            body = random.damaged(envelope);
            let kind = if in_json { "application/connect+json" } else { "application/connect+proto" };
            header(&mut headers, "content-type", kind.as_bytes());
            header(&mut headers, "connect-content-encoding", if packs { b"gzip" } else { b"identity" });
        } else {
            let kind = if in_json { "application/json" } else { "application/proto" };
            header(&mut headers, "content-type", kind.as_bytes());
            if packs {
                let packed = gzip(&body);
                body = random.damaged(packed);
                header(&mut headers, "content-encoding", b"gzip");
            }
        }
        if random.chance(20) {
            let value = random.text_of("0123456789-ms ", 11);
            header(&mut headers, "connect-timeout-ms", value.as_bytes());
            let key = random.bytes(9);
            header(&mut headers, "idempotency-key", &key);
        }
        head(&Method::POST, route.path.as_str(), headers).is_some_and(|parts| is_a_call(parts, body))
    });
}

#[test]
fn fuzz_connect_get() {
    fuzz("connect_get", |random| {
        let route = random.one_of(METHODS.as_slice());
        let in_json = random.chance(60);
        let whole = encoded(random, &route.procedure.input, in_json);
        let mut message = random.damaged(whole);
        let mut query = format!("encoding={}", if in_json { "json" } else { "proto" });
        if random.chance(15) {
            message = gzip(&message);
            query.push_str("&compression=gzip");
        }
        let encoded = match random.chance(50) {
            true => {
                query.push_str("&base64=1");
                BASE64_URL_SAFE_NO_PAD.encode(&message)
            }
            false => message.iter().map(|byte| format!("%{byte:02x}")).collect(),
        };
        query = format!("{query}&connect=v1&message={encoded}");
        let query: String = random.damaged_text(&query).chars().filter(char::is_ascii_graphic).collect();
        let target = format!("{}?{query}", route.path.as_str());
        head(&Method::GET, &target, HeaderMap::new()).is_some_and(|parts| is_a_call(parts, Vec::new()))
    });
}

#[test]
fn fuzz_grpc_web() {
    fuzz("grpc_web", |random| {
        let route = random.one_of(METHODS.as_slice());
        let whole = encoded(random, &route.procedure.input, false);
        let message = random.damaged(whole);
        let packs = random.chance(20);
        let mut frame = framed_bytes(&if packs { gzip(&message) } else { message }).to_vec();
        frame[0] = u8::from(packs);
        if random.chance(10) {
            frame.extend_from_within(..);
        }
        let mut body = random.damaged(frame);
        let is_text = random.chance(50);
        if is_text {
            let at = random.below(body.len() + 1);
            let (first, second) = body.split_at(at);
            let texts = [BASE64_STANDARD.encode(first), BASE64_STANDARD.encode(second)].concat();
            body = random.damaged(texts.into_bytes());
        }
        let mut headers = HeaderMap::new();
        let kinds = if is_text {
            ["application/grpc-web-text", "application/grpc-web-text+proto"]
        } else {
            ["application/grpc-web", "application/grpc-web+proto"]
        };
        header(&mut headers, "content-type", random.one_of(&kinds).as_bytes());
        if packs || random.chance(10) {
            header(&mut headers, "grpc-encoding", random.one_of::<&[u8]>(&[b"gzip", b"identity", b"br", b"\xff"]));
        }
        head(&Method::POST, route.path.as_str(), headers).is_some_and(|parts| is_a_call(parts, body))
    });
}

/// Heads of any kind, and what is looked at before a method is.
#[test]
fn fuzz_heads() {
    let cors = Cors::new(&["https://shop.example.com".to_owned()]).unwrap();
    let sites = [Site::new(&[], true), Site::new(&["api.example.com".to_owned()], false), Site::new(&[], false)];
    fuzz("heads", |random| {
        let methods = [Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE, Method::OPTIONS];
        let known = match random.chance(50) {
            true => random.one_of(METHODS.as_slice()).path.as_str().to_owned(),
            false => random.one_of(BINDINGS.as_slice()).template.to_string().replace(['{', '}'], ""),
        };
        let target: String = random.damaged_text(&known).chars().filter(char::is_ascii_graphic).collect();
        let mut headers = HeaderMap::new();
        for _ in 0..random.below(6) {
            let names = [ACCEPT, CONTENT_TYPE, HOST, ORIGIN, AUTHORIZATION].map(|name| name.as_str().to_owned());
            let more = ["accept-encoding", "connect-protocol-version", "connect-timeout-ms", "grpc-timeout"];
            let more = more.into_iter().chain(["grpc-encoding", "access-control-request-method", "idempotency-key"]);
            let names: Vec<String> = names.into_iter().chain(more.map(str::to_owned)).collect();
            let values = [
                "application/json",
                "*/*;q=0.1, text/event-stream",
                "localhost:8080",
                "https://shop.example.com",
                "http://[::1]:80",
                "Bearer a.b.c",
                "1",
                "99999999H",
                "gzip;q=0, br",
                "POST",
            ];
            let likely = random.one_of(&values).as_bytes().to_vec();
            let value = random.damaged(likely);
            let (Ok(name), Ok(value)) =
                (HeaderName::try_from(random.one_of(&names).as_str()), HeaderValue::from_bytes(&value))
            else {
                continue;
            };
            headers.append(name, value);
        }
        let Some(mut parts) = head(random.one_of(&methods), &target, headers) else { return false };
        let site = random.one_of(&sites);
        let refusal = site.refusal(&parts, &cors);
        assert!(refusal.is_none_or(|status| is_the_callers(&status)), "{:?}", parts.headers);
        if let Some(mut answer) = cors.preflight(&parts) {
            cors.mark(cors.origin(&parts.headers), answer.headers_mut());
        }
        if let Bearer::Token(value) = Bearer::take(&mut parts.headers) {
            assert!(bearer::token(&value).is_some_and(|token| !token.is_empty()), "{value:?}");
        }
        let (_, _) = (accepts_gzip(&parts.headers), timeout::parse(&parts.headers));
        is_a_call(parts, Vec::new())
    });
}

/// Templates are the contract's own, and read when the gateway starts; paths are anybody's.
#[test]
fn fuzz_paths() {
    const KNOWN: [&str; 6] = [
        "/v1/orders/{order_id}:cancel",
        "/v1/{a=*/*}/{b.c}",
        "/{a=**}",
        "/v1/letters/{id=*/*}:replay",
        "/v1/orders",
        "/*/**",
    ];
    fuzz("paths", |random| {
        let known = *random.one_of(&KNOWN);
        let text = random.damaged_text(known);
        let mut path = random.damaged_text(&known.replace(['{', '}', '='], "%7b"));
        for _ in 0..random.below(4) {
            path = format!("{path}/{}", random.text_of("ab%2F0:{}*", 9));
        }
        let segments: Vec<_> = path.split('/').skip(1).collect();
        let Ok(template) = Template::parse(&text) else { return false };
        assert!(template.overlaps(&template), "{text}");
        if template.matches(&segments) {
            match template.values(&segments) {
                Ok(values) => assert_eq!(values.len(), template.fields().count(), "{text} {path}"),
                Err((field, _)) => assert!(template.fields().any(|known| known == field), "{text} {path}"),
            }
        }
        true
    });
}

#[test]
fn a_whole_request_reaches_most_of_what_there_is() {
    // Targets that never got as far as a message would hold whatever is done with one.
    let reached = BINDINGS.iter().filter(|binding| {
        let path = binding
            .template
            .fields()
            .fold(binding.template.to_string(), |path, field| path.replace(&format!("{{{field}}}"), "a"));
        let Found::Method(found, values) = ROUTES.rest().find(&binding.method, &path) else { return false };
        rest(found, &values, None, b"").is_ok_and(|message| message.descriptor() == found.route.procedure.input)
    });
    let reached = reached.count();
    assert!(reached * 10 > BINDINGS.len() * 8, "{reached} of {}", BINDINGS.len());
}

#[test]
fn a_key_names_a_command_in_every_form() {
    let route = ROUTES.find("/openorder.order.v1.OrderService/CreateOrder").unwrap();
    for (kind, path, body) in [
        ("application/json", "/v1/orders", b"{}".as_slice()),
        ("application/json", route.path.as_str(), b"{}"),
        ("application/proto", route.path.as_str(), b""),
    ] {
        let mut headers = HeaderMap::new();
        header(&mut headers, "content-type", kind.as_bytes());
        header(&mut headers, "idempotency-key", b"a-key");
        let mut parts = head(&Method::POST, path, headers).unwrap();
        let spoken = of(&ROUTES, &mut parts).unwrap_or_else(|refused| panic!("{:?}", refused.status));
        let made = message(&spoken, None, &mut parts.headers, Bytes::copy_from_slice(body), BYTES_MAX).unwrap();
        let named = DynamicMessage::decode(route.procedure.input.clone(), only(&made).unwrap()).unwrap();
        assert_eq!(named.get_field_by_name("request_id").unwrap().as_str(), Some("a-key"), "{kind} {path}");
        assert_eq!(framed(&named), made);
    }
}
