//! Access tokens: JWTs as RFC 9068 profiles them, verified as RFC 8725 asks.

use serde_json::{Map, Value, json};

use crate::keys::{Algorithm, VerifyingKey};
use crate::{TOKEN_BYTES_MAX, decode};

/// Header parameters that name a key or ask for an extension: a token brings neither.
const REFUSED_PARAMETERS: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "crit", "b64"];
/// Beyond it, a number of JSON is not exact any more.
const TIME_MAX: f64 = 9_007_199_254_740_992.0;

/// What an access token says (RFC 9068). Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for. A token may name several: then it is the one that was expected.
    pub aud: String,
    /// Who calls: the user id.
    pub sub: String,
    /// When it ends.
    pub exp: i64,
    /// When it was issued; 0 if the issuer does not say.
    pub iat: i64,
    /// Before when it is not valid.
    pub nbf: Option<i64>,
    /// Its own id; empty if the issuer does not say.
    pub jti: String,
    /// What the user signed in with; [`crate::API_KEY_CLIENT_ID`] for an API key. Of other issuers `azp` where they have no
    /// `client_id`; empty if the issuer does not say.
    pub client_id: String,
    /// Its session; of an API key the key's id. Empty if the issuer does not say.
    pub sid: String,
    /// Names of roles, as [`roles`](https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3.1) lists them; empty if the issuer
    /// has no such list.
    pub roles: Vec<String>,
    /// All other claims, for issuers that say roles in their own way.
    pub other: Map<String, Value>,
}

/// What a token has to say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `iss`, exactly.
    pub issuer: &'a str,
    /// One of `aud`, exactly.
    pub audience: &'a str,
    /// `typ` of the header, such as [`crate::ACCESS_TOKEN_TYPE`]; upper and lower case mean the same.
    pub typ: &'a str,
    /// How far the clocks may be apart.
    pub leeway_seconds: i64,
}

/// Why a token is not believed. It has no part of the token in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT that is read here: too long, not three parts, no JSON, or without what has to be in it.
    #[error("the token is malformed")]
    Malformed,
    /// Nobody knows the key that it names. [`verify`] never says so: whoever looks the key up does.
    #[error("the token names an unknown key")]
    UnknownKey,
    /// It says another algorithm than its key is used with.
    #[error("the token is signed in another way than its key is used")]
    WrongAlgorithm,
    /// It is of another type.
    #[error("the token is of another type")]
    WrongType,
    /// The signature is not that of its key.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come, or it was issued in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Somebody else issued it.
    #[error("the token is of another issuer")]
    WrongIssuer,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
}

impl TokenError {
    /// Stable, `UPPER_SNAKE`, such as `TOKEN_EXPIRED`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "TOKEN_MALFORMED",
            Self::UnknownKey => "TOKEN_KEY_UNKNOWN",
            Self::WrongAlgorithm | Self::WrongType | Self::Signature => "TOKEN_INVALID",
            Self::Expired => "TOKEN_EXPIRED",
            Self::NotYetValid => "TOKEN_NOT_YET_VALID",
            Self::WrongIssuer => "TOKEN_ISSUER_UNKNOWN",
            Self::WrongAudience => "TOKEN_AUDIENCE_WRONG",
        }
    }
}

/// What a token says of itself before anything of it is believed: enough to choose the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// Which key signed it, as it says; empty if it does not.
    pub key_id: String,
    /// Who issued it, as it says.
    pub issuer: String,
    /// In which way it is signed, as it says.
    pub algorithm: Algorithm,
    /// What it is, as it says.
    pub typ: String,
}

/// The three parts, and what the first two say.
struct Parts<'a> {
    /// What is signed: the first two parts with the dot between them.
    signed: &'a str,
    signature: Vec<u8>,
    header: Header,
    claims: Map<String, Value>,
}

struct Header {
    key_id: String,
    algorithm: Algorithm,
    typ: String,
}

/// Reads what a token says of itself, to choose the key by which it is verified. Nothing of it is true until then.
///
/// # Errors
///
/// `Malformed` for one of more than [`TOKEN_BYTES_MAX`] bytes, for what is no signed JWT (`none` is no signature), for one
/// without `typ` or `iss`, and for one with a header that brings a key or asks for an extension.
pub fn peek(token: &str) -> Result<Unverified, TokenError> {
    let Parts { header: Header { key_id, algorithm, typ }, claims, .. } = Parts::of(token)?;
    Ok(Unverified { key_id, issuer: text(&claims, "iss").ok_or(TokenError::Malformed)?, algorithm, typ })
}

/// Believes a token that this key signed, that says what is expected, and that is valid now.
///
/// # Errors
///
/// The first thing that is wrong, in the order: form, algorithm, signature, type, issuer, audience, times.
pub fn verify(
    token: &str,
    key: &VerifyingKey,
    expected: &Expected<'_>,
    now_unix_seconds: i64,
) -> Result<Claims, TokenError> {
    let parts = Parts::of(token)?;
    if parts.header.algorithm != key.algorithm() {
        return Err(TokenError::WrongAlgorithm);
    }
    if !key.verifies(parts.signed.as_bytes(), &parts.signature) {
        return Err(TokenError::Signature);
    }
    if !parts.header.typ.eq_ignore_ascii_case(media_subtype(expected.typ)) {
        return Err(TokenError::WrongType);
    }
    let claims = Claims::read(parts.claims, expected)?;
    let (latest, earliest) = (now_unix_seconds + expected.leeway_seconds, now_unix_seconds - expected.leeway_seconds);
    if claims.exp <= earliest {
        return Err(TokenError::Expired);
    }
    if claims.iat > latest || claims.nbf.is_some_and(|nbf| nbf > latest) {
        return Err(TokenError::NotYetValid);
    }
    Ok(claims)
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        Ok(Self {
            signed,
            signature: decode(signature).ok_or(TokenError::Malformed)?,
            header: Header::read(&object(header)?)?,
            // A fourth part would be a dot in here, which is no base64url.
            claims: object(claims)?,
        })
    }
}

impl Header {
    fn read(header: &Map<String, Value>) -> Result<Self, TokenError> {
        if REFUSED_PARAMETERS.iter().any(|parameter| header.contains_key(*parameter)) {
            return Err(TokenError::Malformed);
        }
        let algorithm = text(header, "alg").as_deref().and_then(Algorithm::parse).ok_or(TokenError::Malformed)?;
        let typ = text(header, "typ").ok_or(TokenError::Malformed)?;
        let key_id = match header.get("kid") {
            None => String::new(),
            Some(Value::String(key_id)) => key_id.clone(),
            Some(_) => return Err(TokenError::Malformed),
        };
        Ok(Self { key_id, algorithm, typ: media_subtype(&typ).to_owned() })
    }
}

/// `at+jwt` of `application/at+jwt`: both may be written (RFC 7515, section 4.1.9).
fn media_subtype(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.get(..PREFIX.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
        _ => typ,
    }
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = decode(part).ok_or(TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

/// A text that is there and not empty.
fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A time, if it is there: a number, and nothing that only looks like one.
fn time(object: &Map<String, Value>, name: &str) -> Result<Option<i64>, TokenError> {
    let Some(value) = object.get(name) else { return Ok(None) };
    if let Some(seconds) = value.as_i64() {
        return Ok(Some(seconds));
    }
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "below 2^53")]
        Some(seconds) if seconds.abs() < TIME_MAX => Ok(Some(seconds.floor() as i64)),
        _ => Err(TokenError::Malformed),
    }
}

impl Claims {
    /// As they stand in a token.
    pub(crate) fn to_json(&self) -> String {
        let mut claims = self.other.clone();
        let own = json!({
            "iss": self.iss, "aud": self.aud, "sub": self.sub, "exp": self.exp, "iat": self.iat, "jti": self.jti,
            "client_id": self.client_id, "sid": self.sid, "roles": self.roles,
        });
        if let Value::Object(own) = own {
            claims.extend(own);
        }
        if let Some(nbf) = self.nbf {
            claims.insert("nbf".to_owned(), nbf.into());
        }
        Value::Object(claims).to_string()
    }

    /// Of a token whose signature is right.
    fn read(mut claims: Map<String, Value>, expected: &Expected<'_>) -> Result<Self, TokenError> {
        let iss = text(&claims, "iss").ok_or(TokenError::Malformed)?;
        if iss != expected.issuer {
            return Err(TokenError::WrongIssuer);
        }
        let is_for_us = match claims.get("aud") {
            Some(Value::String(audience)) => audience == expected.audience,
            Some(Value::Array(audiences)) => audiences.iter().any(|one| one.as_str() == Some(expected.audience)),
            _ => return Err(TokenError::Malformed),
        };
        if !is_for_us {
            return Err(TokenError::WrongAudience);
        }
        let read = Self {
            iss,
            aud: expected.audience.to_owned(),
            sub: text(&claims, "sub").ok_or(TokenError::Malformed)?,
            exp: time(&claims, "exp")?.ok_or(TokenError::Malformed)?,
            iat: time(&claims, "iat")?.unwrap_or_default(),
            nbf: time(&claims, "nbf")?,
            jti: text(&claims, "jti").unwrap_or_default(),
            client_id: text(&claims, "client_id").or_else(|| text(&claims, "azp")).unwrap_or_default(),
            sid: text(&claims, "sid").unwrap_or_default(),
            roles: names(claims.get("roles")),
            other: Map::new(),
        };
        for known in ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "client_id", "sid", "roles"] {
            claims.remove(known);
        }
        Ok(Self { other: claims, ..read })
    }
}

/// A list of texts; anything else has none.
fn names(value: Option<&Value>) -> Vec<String> {
    let names = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
