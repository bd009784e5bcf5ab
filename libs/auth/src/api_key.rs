//! Keys by which programs sign in: `oo_<id>_<secret>`.
//!
//! The secret has 256 random bits, so a plain hash of it is as good as a slow one, and cannot be used to keep the service
//! busy. The prefix lets scanners of repositories find a key that was committed.

use std::fmt;

use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every key begins with.
pub const PREFIX: &str = "oo_";
/// Random bytes of an id.
pub const ID_BYTES: usize = 10;
/// Letters and digits of an id.
pub const ID_LENGTH: usize = 16;
/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// Letters and digits of a secret: 256 bits, five each.
const SECRET_LENGTH: usize = 52;

/// Crockford's base 32 in lower case: no letter that looks like a digit, and no `_`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// An API key. Shown without its secret.
#[derive(Clone)]
pub struct ApiKey {
    id: String,
    secret: Zeroizing<String>,
}

impl ApiKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(id: &[u8; ID_BYTES], secret: &[u8; SECRET_BYTES]) -> Self {
        Self { id: encode(id), secret: Zeroizing::new(encode(secret)) }
    }

    /// The key with an id that was made before; `None` for what is no id.
    #[must_use]
    pub fn with_id(id: &str, secret: &[u8; SECRET_BYTES]) -> Option<Self> {
        is_id(id).then(|| Self { id: id.to_owned(), secret: Zeroizing::new(encode(secret)) })
    }

    /// Reads a key; `None` for what is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let is_secret = secret.len() == SECRET_LENGTH && secret.bytes().all(|byte| ALPHABET.contains(&byte));
        (is_id(id) && is_secret).then(|| Self { id: id.to_owned(), secret: Zeroizing::new(secret.to_owned()) })
    }

    /// The part that is no secret: 16 letters and digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole key. Secret.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}_{}", self.id, *self.secret))
    }

    /// What is kept of the secret: its SHA-256.
    #[must_use]
    pub fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }

    /// Whether the secret is the one of which this was kept; as slow for any other.
    #[must_use]
    pub fn matches(&self, secret_hash: &[u8]) -> bool {
        self.secret_hash().ct_eq(secret_hash).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether a bearer token is meant as an API key, well-formed or not: no JWT begins like one.
#[must_use]
pub fn is_api_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Whether the text is the id of a key.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// Five bits a letter, the first ones first; the last letter is filled up with zeros.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut push = |bits: u32| text.push(char::from(ALPHABET[(bits & 31) as usize]));
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            push(bits >> held);
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        push(bits << (5 - held));
    }
    text
}
