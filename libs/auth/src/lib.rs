//! Access tokens, the keys that sign and verify them, and API keys. Nothing here does I/O or reads a clock.
//!
//! - [`token`]: [`Claims`] of an access token (RFC 9068), [`peek`] to choose its key, [`verify`] to believe it;
//! - [`keys`]: [`SigningKey`] (Ed25519) and [`VerifyingKey`], whose algorithm is fixed by whoever made it, never by a token;
//! - [`jwk`]: public keys as a JWK set (RFC 7517, RFC 8037), written and read;
//! - [`api_key`]: keys of programs, `oo_<id>_<secret>`.
//!
//! No error and no `Debug` output has the text of a token, a key or a secret in it.

pub mod api_key;
pub mod jwk;
pub mod keys;
pub mod token;

pub use api_key::ApiKey;
pub use jwk::{jwk_set, parse_jwk_set};
pub use keys::{Algorithm, KeyError, SigningKey, VerifyingKey};
pub use token::{Claims, Expected, TokenError, Unverified, peek, verify};

/// Audience of OpenOrder's own access tokens.
pub const AUDIENCE: &str = "openorder";
/// `typ` of an access token (RFC 9068).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";
/// How far the clocks of two machines may be apart, seconds.
pub const LEEWAY_SECONDS: i64 = 30;
/// Longest token that is read, bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// `client_id` of access tokens that an API key was exchanged for; their `sid` is the key's id.
pub const API_KEY_CLIENT_ID: &str = "api-key";
/// Metadata key by which the gateway hands the `sid` of a caller's token on to services, beside subject and roles. Absent
/// for a caller without a token of OpenOrder's own.
pub const SESSION_METADATA: &str = "x-openorder-session";
/// Metadata key by which the gateway hands on the network address that a call came from, without its port: sign-in is
/// slowed down by it. Absent where it is not known.
pub const PEER_METADATA: &str = "x-openorder-peer";

/// Base64 as JWS writes it: base64url without padding, one text for each value.
pub(crate) fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}
