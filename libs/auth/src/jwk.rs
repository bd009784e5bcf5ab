//! Public keys as a JWK set (RFC 7517, RFC 8037).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::encode;
use crate::keys::{Algorithm, ED25519_BYTES, VerifyingKey};

/// Most keys that are read of one set.
pub const KEYS_MAX: usize = 100;

/// The JWK set of Ed25519 keys, each with its id: what `/.well-known/jwks.json` answers.
#[must_use]
pub fn jwk_set(keys: &[(String, [u8; ED25519_BYTES])]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(key_id, public_key)| {
            json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "use": "sig",
                "alg": Algorithm::EdDsa.name(),
                "kid": key_id,
                "x": encode(public_key),
            })
        })
        .collect();
    json!({ "keys": keys })
}

/// The keys of a set that have an id and are for one of these algorithms, each with its id; the others are passed over, as
/// RFC 7517 asks. A key that is for several of them is used with the first. At most [`KEYS_MAX`] are read.
#[must_use]
pub fn parse_jwk_set(set: &Value, algorithms: &[Algorithm]) -> Vec<(String, VerifyingKey)> {
    let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let usable = |jwk: &Value| {
        let key_id = jwk.get("kid").and_then(Value::as_str)?;
        let key = algorithms.iter().find_map(|algorithm| VerifyingKey::from_jwk(jwk, *algorithm).ok())?;
        Some((key_id.to_owned(), key))
    };
    keys.iter().take(KEYS_MAX).filter_map(usable).collect()
}

/// RFC 7638: SHA-256 of the members that make the key, in the order of their names.
pub(crate) fn thumbprint(public_key: &[u8; ED25519_BYTES]) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(public_key));
    encode(&Sha256::digest(members))
}
