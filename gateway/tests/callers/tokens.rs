//! Who a caller is by its token, in every protocol, and until when.

use std::fmt::{Debug, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use openorder_auth::{ApiKey, Claims, SigningKey};
use openorder_gateway::Anonymous;
use openorder_proto::internal::user::v1::revocation::Target;
use openorder_rpc::status::retry_after_of;
use openorder_telemetry::{RoleTelemetry, testing};
use tonic::Request;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::world::{REACHED, Users, World, claims, now};
use crate::support::http1::Http1;
use crate::support::raw::{Raw, frame, framed};
use crate::support::{CREATE_ORDER, GET_ORDER, WATCH_ORDER, call_with, caller, orders, until};

const AUTHENTICATE: &str = "/openorder.user.v1.UserService/Authenticate";
const CREATE_PRODUCT: &str = "/openorder.product.v1.ProductService/CreateProduct";

#[tokio::test]
async fn a_token_says_who_calls_in_every_protocol() {
    let world = World::ready(|settings| settings.anonymous = Anonymous::Nobody).await;
    let token = world.users.token("ada", "s-1", &["customer", "viewer"]);
    let expected = "ada customer,viewer s-1 -";
    assert_eq!(world.says(GET_ORDER, &token).await, (REACHED.to_owned(), expected.to_owned()));

    let mut http = Http1::connect(&world.gateway).await;
    let bearer = format!("bearer {token}");
    let rest = http.call("GET", "/v1/orders/7", &[("authorization", &bearer)], b"").await;
    assert_eq!((rest.status, rest.json()["message"].as_str()), (400, Some(expected)));
    let json = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let connect = http.call("POST", GET_ORDER, &json, b"{}").await;
    assert_eq!(connect.json()["message"], expected);
    let web = [("authorization", bearer.as_str()), ("content-type", "application/grpc-web+proto")];
    let grpc_web = http.call("POST", GET_ORDER, &web, &frame(0, b"")).await;
    assert!(grpc_web.header("grpc-message").contains("ada"), "{grpc_web:?}");

    // Without it, and in a method that is not for the caller.
    let missing = http.get("/v1/orders/7").await;
    assert_eq!((missing.status, missing.reason().as_str()), (401, "TOKEN_MISSING"));
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    let forbidden = http.call("POST", CREATE_PRODUCT, &json, b"{}").await;
    assert_eq!((forbidden.status, forbidden.json()["code"].as_str()), (403, Some("permission_denied")));
    let refused = http.call("POST", CREATE_PRODUCT, &web, &frame(0, b"")).await;
    assert_eq!((refused.status, refused.header("grpc-status")), (200, "7"));
}

/// A JWT with this header, and a signature of nothing.
fn unsigned(header: &str, claims: &Claims) -> String {
    let claims = format!(r#"{{"iss":"{}","aud":"openorder","sub":"{}","exp":{}}}"#, claims.iss, claims.sub, claims.exp);
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(header), part(&claims), part("no signature"))
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_refused_and_never_taken_for_none() {
    // Where who has no token may do everything.
    let world = World::ready(|_| {}).await;
    let (users, good) = (&world.users, claims("ada", "s", &["operator"]));
    let other = SigningKey::from_seed(&[9; 32]).unwrap();
    let same_id = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{}"}}"#, users.key.key_id());
    let none = r#"{"alg":"none","typ":"at+jwt"}"#;
    let tampered = {
        let token = users.key.sign(&good);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let raised = BASE64_URL_SAFE_NO_PAD.encode(format!(
            r#"{{"iss":"{}","aud":"openorder","sub":"root","exp":{},"roles":["operator"]}}"#,
            good.iss, good.exp
        ));
        format!("{header}.{raised}.{signature}")
    };
    let wrong = [
        (users.key.sign(&Claims { exp: now() - 60, ..good.clone() }), "TOKEN_EXPIRED"),
        (users.key.sign(&Claims { iat: now() + 600, exp: now() + 900, ..good.clone() }), "TOKEN_NOT_YET_VALID"),
        (users.key.sign(&Claims { nbf: Some(now() + 600), ..good.clone() }), "TOKEN_NOT_YET_VALID"),
        (users.key.sign(&Claims { aud: "shop".to_owned(), ..good.clone() }), "TOKEN_AUDIENCE_WRONG"),
        (users.key.sign(&Claims { iss: "https://evil.test".to_owned(), ..good.clone() }), "TOKEN_ISSUER_UNKNOWN"),
        (users.key.sign(&Claims { sub: "a b".to_owned(), ..good.clone() }), "TOKEN_MALFORMED"),
        (other.sign(&good), "TOKEN_KEY_UNKNOWN"),
        (tampered, "TOKEN_INVALID"),
        (unsigned(&same_id, &good), "TOKEN_INVALID"),
        (unsigned(none, &good), "TOKEN_MALFORMED"),
        ("abc".to_owned(), "TOKEN_MALFORMED"),
        ("x".repeat(9_000), "TOKEN_MALFORMED"),
        ("oo_abc".to_owned(), "API_KEY_UNKNOWN"),
    ];
    let mut http = Http1::connect(&world.gateway).await;
    for (token, expected) in &wrong {
        let (reason, text) = world.says(GET_ORDER, token).await;
        assert_eq!(&reason, expected, "{text}");
        assert!(token.len() < 8 || !text.contains(token.as_str()), "nothing of a token is said back");
        let bearer = format!("Bearer {token}");
        let rest = http.call("GET", "/v1/orders/7", &[("authorization", &bearer)], b"").await;
        assert_eq!((rest.status, rest.reason().as_str()), (401, *expected));
        assert_eq!(rest.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    }
    for scheme in ["Basic YTpi", "Bearer", "Token x"] {
        let rest = http.call("GET", "/v1/orders/7", &[("authorization", scheme)], b"").await;
        assert_eq!((rest.status, rest.reason().as_str()), (401, "TOKEN_MALFORMED"), "{scheme}");
    }
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    let status = Raw::connect(&world.gateway).await.begin(GET_ORDER, &twice).await.status().await;
    assert_eq!(openorder_rpc::reason_of(&status).as_deref(), Some("TOKEN_MALFORMED"));
}

#[tokio::test]
async fn who_signs_in_anew_may_still_send_a_token_that_has_ended() {
    let world = World::ready(|settings| settings.anonymous = Anonymous::Nobody).await;
    let ended = world.users.key.sign(&Claims { exp: now() - 60, ..claims("ada", "s", &["operator"]) });
    for token in ["", "nonsense", &ended] {
        let (reason, told) = world.says(AUTHENTICATE, token).await;
        assert_eq!((reason.as_str(), told.as_str()), (REACHED, "anonymous  - 127.0.0.1"));
    }
    let valid = world.users.token("ada", "s", &["operator"]);
    assert_eq!(world.says(AUTHENTICATE, &valid).await.1, "ada operator s 127.0.0.1");
}

#[tokio::test]
async fn what_is_revoked_is_refused_soon_and_what_comes_after_is_not() {
    let world = World::ready(|_| {}).await;
    let users = &world.users;
    let issued = |user: &str, session: &str, at: i64| {
        users.key.sign(&Claims { iat: at, ..claims(user, session, &["customer"]) })
    };
    let (session, other, user) = (issued("ada", "s1", now()), issued("ada", "s2", now()), issued("bob", "s3", now()));
    for token in [&session, &other, &user] {
        assert_eq!(world.says(GET_ORDER, token).await.0, REACHED);
    }
    let started = Instant::now();
    users.revoke(Target::SessionId("s1".to_owned()), now());
    users.revoke(Target::UserId("bob".to_owned()), now());
    for token in [&session, &user] {
        until(async || world.says(GET_ORDER, token).await.0 == "TOKEN_REVOKED").await;
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(world.says(GET_ORDER, &other).await.0, REACHED, "another session of the same user");
    // One that was never seen before, and one that is newer.
    assert_eq!(world.says(GET_ORDER, &issued("bob", "s4", now() - 5)).await.0, "TOKEN_REVOKED");
    assert_eq!(world.says(GET_ORDER, &issued("bob", "s3", now() + 2)).await.0, REACHED);
}

#[tokio::test]
async fn callers_go_on_while_the_user_service_is_away_and_none_is_believed_before_it_was_there() {
    let users = Users::new();
    users.is_away.store(true, Ordering::SeqCst);
    let world = World::with(users.clone(), |_| {}).await;
    let token = users.token("ada", "s", &["customer"]);
    until(async || users.asked.load(Ordering::SeqCst) > 1).await;
    let mut request = Request::new(String::new());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let status = call_with(&world.channel, GET_ORDER, request).await.unwrap_err();
    assert_eq!(openorder_rpc::reason_of(&status).as_deref(), Some("SIGN_IN_UNAVAILABLE"));
    assert!(openorder_rpc::status::is_unavailable(&status) && retry_after_of(&status).is_some());
    let mut http = Http1::connect(&world.gateway).await;
    let keys = http.get("/.well-known/jwks.json").await;
    assert_eq!((keys.status, keys.header("retry-after")), (503, "1"));
    assert_eq!(world.says(GET_ORDER, "").await.0, REACHED, "who has no token needs nobody");

    users.is_away.store(false, Ordering::SeqCst);
    until(async || world.says(GET_ORDER, &token).await.0 == REACHED).await;
    let gone = users.token("ada", "gone", &["customer"]);
    users.revoke(Target::SessionId("gone".to_owned()), now());
    until(async || world.says(GET_ORDER, &gone).await.0 == "TOKEN_REVOKED").await;

    users.is_away.store(true, Ordering::SeqCst);
    let asked = users.asked.load(Ordering::SeqCst);
    until(async || users.asked.load(Ordering::SeqCst) > asked + 1).await;
    assert_eq!(world.says(GET_ORDER, &token).await.0, REACHED);
    assert_eq!(world.says(GET_ORDER, &users.token("new", "s2", &["customer"])).await.0, REACHED);
    assert_eq!(world.says(GET_ORDER, &gone).await.0, "TOKEN_REVOKED", "what was revoked stays so");
}

/// All that is said in spans and lines of the log, as text.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Text(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Text(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Text(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn nothing_of_a_token_is_in_logs_and_traces() {
    let said = Said::default();
    let _guard = tracing::subscriber::set_default(said.clone());
    let (role, spans) = testing::recording("gateway", 1.0);
    let users = Users::new();
    let world = World::of(role, users.clone(), None, |_| {}).await;
    let (good, gone) = (users.token("ada", "s1", &["customer"]), users.token("ada", "s2", &["customer"]));
    until(async || world.says(GET_ORDER, &good).await.0 == REACHED).await;
    users.revoke(Target::SessionId("s2".to_owned()), now());
    until(async || world.says(GET_ORDER, &gone).await.0 == "TOKEN_REVOKED").await;
    let (key, other) = (ApiKey::new(&[4; 10], &[5; 32]), ApiKey::new(&[4; 10], &[6; 32]));
    users.api_keys.lock().unwrap().push((key.clone(), claims("shop", key.id(), &["service"])));
    let keys = [key.expose().to_string(), other.expose().to_string()];
    let wrong = SigningKey::from_seed(&[9; 32]).unwrap().sign(&claims("ada", "s", &["operator"]));
    let tokens = [good, gone, wrong];
    for token in tokens.iter().chain(&keys) {
        world.says(GET_ORDER, token).await;
    }
    // A user service that is away is said.
    users.is_away.store(true, Ordering::SeqCst);
    let text = || said.0.lock().unwrap().clone();
    until(async || text().contains("user service does not say")).await;
    let text = format!("{} {:?}", text(), spans.all());
    assert!(text.contains("GetOrder"), "the calls are there");
    let parts = tokens.iter().flat_map(|token| token.split('.').skip(1)).chain(keys.iter().map(|key| &key[20..]));
    for part in parts {
        assert!(!text.contains(part));
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_session_is_revoked() {
    let (users, orders) = (Users::new(), orders().await);
    let role = RoleTelemetry::disabled("gateway");
    let world = World::of(role, users.clone(), Some(&orders.url()), |_| {}).await;
    let (gone, kept) = (users.token("ada", "s1", &["customer"]), users.token("ada", "s2", &["customer"]));
    let get = "/openorder.product.v1.ProductService/GetProduct";
    until(async || world.says(get, &gone).await.0 == REACHED).await;
    let (raw, bearer) = (Raw::connect(&world.gateway).await, |token: &str| format!("Bearer {token}"));
    // Ten thousand answers, one in a while.
    let body = framed("10000 50");
    let ended = raw.call(WATCH_ORDER, &[("authorization", &bearer(&gone))], &body).await;
    let going_on = raw.call(WATCH_ORDER, &[("authorization", &bearer(&kept))], &body).await;
    let mut http = Http1::connect(&world.gateway).await;
    let lines = [("authorization", bearer(&gone)), ("content-type", "application/grpc-web+proto".to_owned())];
    let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
    http.send("POST", WATCH_ORDER, &lines, &body).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    users.revoke(Target::SessionId("s1".to_owned()), now());
    let status = ended.status().await;
    assert_eq!(openorder_rpc::reason_of(&status).as_deref(), Some("TOKEN_REVOKED"));
    // Its last words are a refusal in every protocol.
    let web = http.answer().await;
    assert!(String::from_utf8_lossy(&web.body).contains("grpc-status: 16"), "{web:?}");
    assert!(going_on.status_within(Duration::from_millis(300)).await.is_none(), "another session goes on");
}

#[tokio::test]
async fn the_public_keys_are_there_for_whoever_verifies_tokens_too() {
    let world = World::ready(|_| {}).await;
    let mut http = Http1::connect(&world.gateway).await;
    let keys = http.get("/.well-known/jwks.json").await;
    assert_eq!((keys.status, keys.header("content-type")), (200, "application/jwk-set+json"));
    let json = keys.json();
    let verifying = openorder_auth::parse_jwk_set(&json, &[openorder_auth::Algorithm::EdDsa]);
    assert_eq!(verifying[0].0, world.users.key.key_id());
    assert!(!keys.text().contains("\"d\""), "no private key");
    assert_eq!(http.call("POST", "/.well-known/jwks.json", &[], b"").await.status, 405);
}

#[tokio::test]
async fn a_caller_has_one_share_whatever_connections_it_comes_by() {
    let world = World::ready(|settings| settings.requests_arriving_max = 20).await;
    let (ada, bob) = (world.users.token("ada", "1", &["customer"]), world.users.token("bob", "2", &["customer"]));
    let again = world.users.token("ada", "3", &["customer"]);
    let connections = [Raw::connect(&world.gateway).await, Raw::connect(&world.gateway).await];
    let mut held = Vec::new();
    // Bodies that do not come: nine tenths of all.
    for number in 0..18 {
        let token = format!("Bearer {}", if number % 3 == 0 { &again } else { &ada });
        held.push(connections[number % 2].begin(CREATE_ORDER, &[("authorization", &token)]).await);
    }
    let bearer = format!("Bearer {ada}");
    until(async || {
        let call = connections[0].begin(CREATE_ORDER, &[("authorization", &bearer)]).await;
        let status = call.status_within(Duration::from_millis(50)).await;
        status.is_some_and(|status| openorder_rpc::reason_of(&status).as_deref() == Some("OVERLOADED"))
    })
    .await;
    // Another caller has room, by the same connection.
    let bearer = format!("Bearer {bob}");
    let other = connections[0].begin(CREATE_ORDER, &[("authorization", &bearer)]).await;
    assert!(other.status_within(Duration::from_millis(200)).await.is_none(), "it waits for its body");
    drop(held);
    assert_eq!(world.says(CREATE_ORDER, &ada).await.0, REACHED);
}

#[tokio::test]
async fn a_token_is_verified_once_and_asks_nobody() {
    let world = World::ready(|settings| settings.trust_interval_ms = 60_000).await;
    let asked = world.users.asked.load(Ordering::SeqCst);
    let token = world.users.token("ada", "s", &["customer"]);
    for _ in 0..50 {
        assert_eq!(world.says(GET_ORDER, &token).await.0, REACHED);
    }
    let other = caller(&world.gateway).await;
    let mut request = Request::new(String::new());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let status = call_with(&other, GET_ORDER, request).await.unwrap_err();
    assert_eq!(openorder_rpc::reason_of(&status).as_deref(), Some(REACHED));
    assert_eq!(world.users.asked.load(Ordering::SeqCst), asked);
    assert_eq!(world.users.exchanged.load(Ordering::SeqCst), 0);
}
