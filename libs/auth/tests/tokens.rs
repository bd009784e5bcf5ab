//! What is believed of a token, and what is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use openorder_auth::{
    ACCESS_TOKEN_TYPE, AUDIENCE, Algorithm, ApiKey, Claims, Expected, KeyError, LEEWAY_SECONDS, SigningKey, TokenError,
    VerifyingKey, api_key, jwk_set, parse_jwk_set, peek, verify,
};
use openorder_fuzzing::fuzz;
use proptest::prelude::*;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://shop.example";
const EXPECTED: Expected<'static> =
    Expected { issuer: ISSUER, audience: AUDIENCE, typ: ACCESS_TOKEN_TYPE, leeway_seconds: LEEWAY_SECONDS };

/// RFC 8037, appendix A.1.
const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
/// RFC 8037, appendix A.2.
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn key() -> SigningKey {
    SigningKey::from_seed(&BASE64.decode(SEED).unwrap().try_into().unwrap()).unwrap()
}

fn verifying() -> VerifyingKey {
    VerifyingKey::from_ed25519(&key().public_key()).unwrap()
}

fn claims() -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: "ada".to_owned(),
        exp: NOW + 300,
        iat: NOW,
        jti: "t1".to_owned(),
        client_id: "web".to_owned(),
        sid: "s1".to_owned(),
        roles: vec!["customer".to_owned()],
        ..Claims::default()
    }
}

/// A token of these JSON texts, with a right signature.
fn signed(header: &Value, payload: &Value) -> String {
    signed_bytes(header.to_string().as_bytes(), payload.to_string().as_bytes())
}

/// The same of what need not be JSON.
fn signed_bytes(header: &[u8], payload: &[u8]) -> String {
    let text = format!("{}.{}", BASE64.encode(header), BASE64.encode(payload));
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(key().seed()).unwrap();
    format!("{text}.{}", BASE64.encode(pair.sign(text.as_bytes())))
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": key().key_id()})
}

fn payload() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": NOW + 300, "iat": NOW})
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn checked(token: &str) -> Result<Claims, TokenError> {
    verify(token, &verifying(), &EXPECTED, NOW)
}

#[test]
fn the_key_of_rfc_8037_has_its_public_key_and_its_thumbprint() {
    assert_eq!(BASE64.encode(key().public_key()), PUBLIC);
    assert_eq!(key().key_id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn a_signed_token_is_believed_as_it_was_signed() {
    let claims = Claims { nbf: Some(NOW - 1), ..claims() };
    let token = key().sign(&claims);
    assert_eq!(checked(&token), Ok(claims));
    let seen = peek(&token).unwrap();
    assert_eq!((seen.key_id.as_str(), seen.issuer.as_str()), (key().key_id(), ISSUER));
    assert_eq!((seen.algorithm, seen.typ.as_str()), (Algorithm::EdDsa, "at+jwt"));
}

#[test]
fn another_key_does_not_verify_it() {
    let other = SigningKey::generate().unwrap();
    assert_eq!(checked(&other.sign(&claims())), Err(TokenError::Signature));
}

#[test]
fn the_times_hold_with_their_leeway_and_not_a_second_more() {
    let at = |now| verify(&key().sign(&Claims { nbf: Some(NOW), ..claims() }), &verifying(), &EXPECTED, now);
    assert!(at(NOW + 300 + LEEWAY_SECONDS - 1).is_ok());
    assert_eq!(at(NOW + 300 + LEEWAY_SECONDS), Err(TokenError::Expired));
    assert!(at(NOW - LEEWAY_SECONDS).is_ok());
    assert_eq!(at(NOW - LEEWAY_SECONDS - 1), Err(TokenError::NotYetValid));
    let without_nbf = key().sign(&claims());
    assert_eq!(verify(&without_nbf, &verifying(), &EXPECTED, NOW - 31), Err(TokenError::NotYetValid));
}

#[test]
fn a_time_that_is_no_number_is_no_time() {
    for name in ["exp", "nbf", "iat"] {
        for value in [json!("9999999999"), json!(true), json!([NOW]), json!(null), json!(1e300)] {
            let token = signed(&header(), &with(payload(), name, value.clone()));
            assert_eq!(checked(&token), Err(TokenError::Malformed), "{name} {value}");
        }
    }
    assert!(checked(&signed(&header(), &with(payload(), "exp", json!(f64::from(1_800_000_000) + 0.5)))).is_ok());
}

#[test]
fn issuer_audience_and_type_are_exactly_what_is_expected() {
    let of = |name, value| checked(&signed(&header(), &with(payload(), name, value)));
    assert_eq!(of("iss", json!("https://shop.example/")), Err(TokenError::WrongIssuer));
    assert_eq!(of("aud", json!("other")), Err(TokenError::WrongAudience));
    assert_eq!(of("aud", json!(["other"])), Err(TokenError::WrongAudience));
    assert_eq!(of("aud", json!(["other", "openorder"])).map(|claims| claims.aud), Ok("openorder".to_owned()));
    for absent in ["iss", "aud", "sub", "exp"] {
        let mut payload = payload();
        payload.as_object_mut().unwrap().remove(absent);
        assert_eq!(checked(&signed(&header(), &payload)), Err(TokenError::Malformed), "{absent}");
    }
    let typ = |typ: &str| checked(&signed(&with(header(), "typ", json!(typ)), &payload())).map(|claims| claims.sub);
    assert_eq!(typ("JWT"), Err(TokenError::WrongType));
    assert_eq!(typ("application/AT+JWT"), Ok("ada".to_owned()));
}

#[test]
fn a_header_that_brings_a_key_or_an_extension_is_refused_before_anything_else() {
    for name in ["jku", "jwk", "x5u", "x5c", "crit", "b64"] {
        let token = signed(&with(header(), name, json!("https://evil.example/keys")), &payload());
        assert_eq!(
            (checked(&token).err(), peek(&token).err()),
            (Some(TokenError::Malformed), Some(TokenError::Malformed))
        );
    }
    for alg in ["none", "None", "HS256", "ES256K", ""] {
        let token = signed(&with(header(), "alg", json!(alg)), &payload());
        assert_eq!(peek(&token), Err(TokenError::Malformed), "{alg}");
    }
}

/// RFC 8725, 2.1: the algorithm of the header never chooses how a key is used.
#[test]
fn an_algorithm_that_is_not_the_keys_is_refused() {
    for alg in ["RS256", "PS256", "ES256"] {
        let token = signed(&with(header(), "alg", json!(alg)), &payload());
        assert_eq!(checked(&token), Err(TokenError::WrongAlgorithm), "{alg}");
    }
}

#[test]
fn a_token_has_three_parts_in_one_way_of_writing() {
    let token = key().sign(&claims());
    for wrong in
        ["", ".", "..", "a.b", &format!("{token}."), &format!("{token}.x"), &format!("{token}="), &format!(" {token}")]
    {
        assert_eq!(checked(wrong), Err(TokenError::Malformed), "{wrong}");
    }
    // The last letter of a signature has four bits of no meaning: one text of the sixteen is taken.
    let last = token.chars().last().unwrap();
    for letter in ('A'..='Z').chain('a'..='z').filter(|letter| *letter != last) {
        let mut other = token.clone();
        other.pop();
        other.push(letter);
        assert!(checked(&other).is_err(), "{letter}");
    }
    assert_eq!(checked(&"a".repeat(8 * 1024 + 1)), Err(TokenError::Malformed));
}

#[test]
fn ecdsa_of_another_issuer_is_verified_by_its_jwk() {
    let random = ring::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "e1", "use": "sig",
        "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..])});
    let text = format!(
        "{}.{}",
        BASE64.encode(json!({"alg": "ES256", "typ": "JWT", "kid": "e1"}).to_string()),
        BASE64.encode(with(payload(), "azp", json!("shop")).to_string())
    );
    let token = format!("{text}.{}", BASE64.encode(pair.sign(&random, text.as_bytes()).unwrap()));
    let keys = parse_jwk_set(&json!({"keys": [jwk]}), &[Algorithm::Rs256, Algorithm::Es256]);
    let [(key_id, key)] = keys.as_slice() else { panic!("one key: {keys:?}") };
    assert_eq!((key_id.as_str(), key.algorithm()), ("e1", Algorithm::Es256));
    let claims = verify(&token, key, &Expected { typ: "JWT", ..EXPECTED }, NOW).unwrap();
    assert_eq!((claims.sub.as_str(), claims.client_id.as_str(), claims.sid.as_str()), ("ada", "shop", ""));
}

/// RFC 7515, appendix A.2: RSA signs what is no access token, so the signature alone is right.
#[test]
fn rsa_signatures_are_verified_by_the_key_of_rfc_7515() {
    let jwk = json!({"kty": "RSA", "e": "AQAB", "n": concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pC",
        "gNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg6",
        "65xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW",
        "yuXpoQ")});
    let key = VerifyingKey::from_jwk(&jwk, Algorithm::Rs256).unwrap();
    let token = |signature: &str| {
        let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        format!("eyJhbGciOiJSUzI1NiJ9.{payload}.{signature}")
    };
    let signature = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t",
        "1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j",
        "zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ",
        "Ge77Rw"
    );
    // Without `typ` it is no token here, whatever its signature is.
    assert_eq!(peek(&token(signature)), Err(TokenError::Malformed));
    assert!(key.verifies(token("").trim_end_matches('.').as_bytes(), &BASE64.decode(signature).unwrap()));
    assert!(!key.verifies(b"something else", &BASE64.decode(signature).unwrap()));
    let other = VerifyingKey::from_jwk(&jwk, Algorithm::Ps256).unwrap();
    assert!(!other.verifies(token("").trim_end_matches('.').as_bytes(), &BASE64.decode(signature).unwrap()));
}

#[test]
fn a_jwk_set_goes_both_ways_and_what_is_unusable_is_passed_over() {
    let set = jwk_set(&[(key().key_id().to_owned(), key().public_key())]);
    assert_eq!(parse_jwk_set(&set, &[Algorithm::EdDsa]), [(key().key_id().to_owned(), verifying())]);
    assert_eq!(parse_jwk_set(&set, &[Algorithm::Es256]), []);
    let good = set["keys"][0].clone();
    for (name, value) in [("use", json!("enc")), ("alg", json!("ES256")), ("kty", json!("EC")), ("x", json!("AAAA"))] {
        let set = json!({"keys": [with(good.clone(), name, value), {"kty": "OKP"}, 7]});
        assert_eq!(parse_jwk_set(&set, &[Algorithm::EdDsa]), [], "{name}");
    }
    assert_eq!(parse_jwk_set(&json!({"error": "down"}), &[Algorithm::EdDsa]), []);
    assert_eq!(VerifyingKey::from_ed25519(&[0; 31]), Err(KeyError::Malformed));
}

#[test]
fn nothing_that_is_shown_has_a_secret_in_it() {
    let api_key = ApiKey::new(&[7; 10], &[8; 32]);
    let shown = format!("{:?} {:?}", key(), api_key);
    assert!(!shown.contains(&api_key.expose()[20..]), "{shown}");
    assert!(!shown.contains(SEED) && !shown.contains(&format!("{:?}", key().seed())), "{shown}");
}

#[test]
fn an_api_key_is_written_in_one_way() {
    let key = ApiKey::new(&[0xff; 10], &[0; 32]);
    assert_eq!(*key.expose(), format!("oo_{}_{}", "z".repeat(16), "0".repeat(52)));
    assert!(api_key::is_api_key(&key.expose()));
    let text = key.expose().to_string();
    for wrong in ["", "oo_", "oo__", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase()] {
        assert!(ApiKey::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn fuzz_tokens() {
    let (verifying, whole) = (verifying(), key().sign(&claims()));
    fuzz("tokens", |random| {
        let is_ours =
            |claims: &Claims| claims.iss == ISSUER && claims.aud == AUDIENCE && claims.exp > NOW - LEEWAY_SECONDS;
        if random.chance(70) {
            let token = random.damaged_text(&whole);
            let (read, seen) = (verify(&token, &verifying, &EXPECTED, NOW), peek(&token));
            assert_eq!(read.is_ok(), token == whole, "{token}");
            assert!(read.is_err() || seen.is_ok(), "{token}");
            return read.is_ok();
        }
        // Whoever has the key may write what it likes.
        let header = random.damaged(header().to_string().into_bytes());
        let payload = random.damaged(payload().to_string().into_bytes());
        let read = verify(&signed_bytes(&header, &payload), &verifying, &EXPECTED, NOW);
        assert!(read.as_ref().map_or(true, is_ours), "{}", String::from_utf8_lossy(&payload));
        read.is_ok()
    });
}

#[test]
fn fuzz_api_keys() {
    fuzz("api_keys", |random| {
        let (id, secret) = (random.bits().to_le_bytes(), random.bits().to_le_bytes());
        let mut bytes = ([0; 10], [0; 32]);
        bytes.0[..8].copy_from_slice(&id);
        bytes.1[..8].copy_from_slice(&secret);
        let whole = ApiKey::new(&bytes.0, &bytes.1);
        let text = random.damaged_text(&whole.expose());
        let read = ApiKey::parse(&text);
        // One text for each key, and nothing else is one.
        assert!(read.as_ref().is_none_or(|key| *key.expose() == text && api_key::is_api_key(&text)), "{text}");
        let is_it = read.is_some_and(|key| key.id() == whole.id() && key.matches(&whole.secret_hash()));
        assert_eq!(is_it, text == *whole.expose(), "{text}");
        is_it
    });
}

/// What another issuer says its keys are.
#[test]
fn fuzz_key_sets() {
    let whole = jwk_set(&[(key().key_id().to_owned(), key().public_key())]).to_string();
    fuzz("key_sets", |random| {
        let text = random.damaged_text(&whole);
        let Ok(set) = serde_json::from_str::<Value>(&text) else { return false };
        let algorithms = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256];
        let keys = parse_jwk_set(&set, &algorithms);
        assert!(keys.len() <= 100, "{text}");
        !keys.is_empty()
    });
}

proptest! {
    #[test]
    fn an_api_key_is_found_by_its_id_and_believed_by_its_secret(id: [u8; 10], secret: [u8; 32], other: [u8; 32]) {
        let key = ApiKey::new(&id, &secret);
        let read = ApiKey::parse(&key.expose()).unwrap();
        prop_assert_eq!(read.id(), key.id());
        prop_assert!(read.matches(&key.secret_hash()));
        prop_assert_eq!(ApiKey::with_id(key.id(), &other).unwrap().matches(&key.secret_hash()), other == secret);
    }

    #[test]
    fn no_text_makes_the_verification_panic(text in ".{0,200}") {
        prop_assert!(checked(&text).is_err());
        prop_assert!(peek(&text).is_err());
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_refused(place in 0_usize..400, letter in "[A-Za-z0-9_.-]") {
        let token = key().sign(&claims());
        let place = place % token.len();
        let mut changed = token.clone();
        changed.replace_range(place..=place, &letter);
        prop_assert_eq!(checked(&changed).is_ok(), changed == token);
    }
}
