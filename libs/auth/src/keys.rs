//! Keys that sign and verify access tokens.

use std::fmt;

use ring::signature::{self, Ed25519KeyPair, KeyPair as _, RsaPublicKeyComponents, UnparsedPublicKey};
use secrecy::zeroize::Zeroizing;
use serde_json::Value;

use crate::token::Claims;
use crate::{ACCESS_TOKEN_TYPE, decode, encode, jwk};

/// Bytes of an Ed25519 seed, and of its public key.
pub(crate) const ED25519_BYTES: usize = 32;
/// Bytes of a coordinate of P-256.
const P256_BYTES: usize = 32;
/// Largest modulus of an RSA key, bytes: what the verification takes.
const RSA_BYTES_MAX: usize = 1024;

/// A signature algorithm of JWS (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519: OpenOrder's own.
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256, 2,048 to 8,192 bits.
    Rs256,
    /// RSA PSS with SHA-256, 2,048 to 8,192 bits.
    Ps256,
}

impl Algorithm {
    /// Its name in `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// The algorithm with this name; `None` for any other, `none` among them.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256, Self::Rs256, Self::Ps256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why something is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has not the form of one: a field is missing, or has a length that cannot be.
    #[error("the key is malformed")]
    Malformed,
    /// It is of another kind than the algorithm asks for, or for another use.
    #[error("the key is not for this algorithm")]
    OtherAlgorithm,
}

/// An Ed25519 key that signs access tokens.
pub struct SigningKey {
    seed: Zeroizing<[u8; ED25519_BYTES]>,
    pair: Ed25519KeyPair,
    public_key: [u8; ED25519_BYTES],
    key_id: String,
}

impl SigningKey {
    /// A new key, drawn at random.
    ///
    /// # Errors
    ///
    /// Never for a seed of 32 bytes; the library says so by type.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_seed(&rand::random())
    }

    /// The key of a seed.
    ///
    /// # Errors
    ///
    /// Never for a seed of 32 bytes; the library says so by type.
    pub fn from_seed(seed: &[u8; ED25519_BYTES]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Malformed)?;
        let public_key = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Malformed)?;
        let key_id = jwk::thumbprint(&public_key);
        Ok(Self { seed: Zeroizing::new(*seed), pair, public_key, key_id })
    }

    /// What the key is made of. Secret.
    #[must_use]
    pub fn seed(&self) -> &[u8; ED25519_BYTES] {
        &self.seed
    }

    /// Its RFC 7638 thumbprint: `kid` of its tokens.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The key that verifies its tokens.
    #[must_use]
    pub fn public_key(&self) -> [u8; ED25519_BYTES] {
        self.public_key
    }

    /// An access token with these claims: a JWT with `typ` `at+jwt`.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        let header = serde_json::json!({
            "alg": Algorithm::EdDsa.name(),
            "typ": ACCESS_TOKEN_TYPE,
            "kid": self.key_id,
        });
        let mut token = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_json().as_bytes()));
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        token.push_str(&encode(signature.as_ref()));
        token
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A public key and the one algorithm that it is used with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    /// As it stands in the JWK, or as an uncompressed point.
    Bytes(Vec<u8>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl VerifyingKey {
    /// An Ed25519 public key.
    ///
    /// # Errors
    ///
    /// `Malformed` unless it has 32 bytes.
    pub fn from_ed25519(public_key: &[u8]) -> Result<Self, KeyError> {
        if public_key.len() != ED25519_BYTES {
            return Err(KeyError::Malformed);
        }
        Ok(Self { algorithm: Algorithm::EdDsa, material: Material::Bytes(public_key.to_vec()) })
    }

    /// The key in a JWK (RFC 7517), for one algorithm.
    ///
    /// # Errors
    ///
    /// `OtherAlgorithm` for a key of another kind, with another `alg`, or for another use than signatures; `Malformed` for
    /// one without its numbers, or with numbers that cannot be.
    pub fn from_jwk(jwk: &Value, algorithm: Algorithm) -> Result<Self, KeyError> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let (kind, curve) = match algorithm {
            Algorithm::EdDsa => ("OKP", Some("Ed25519")),
            Algorithm::Es256 => ("EC", Some("P-256")),
            Algorithm::Rs256 | Algorithm::Ps256 => ("RSA", None),
        };
        let fits = text("kty") == Some(kind)
            && curve.is_none_or(|curve| text("crv") == Some(curve))
            && text("use").is_none_or(|usage| usage == "sig")
            && text("alg").is_none_or(|name| name == algorithm.name());
        if !fits {
            return Err(KeyError::OtherAlgorithm);
        }
        let number = |name: &str| text(name).and_then(decode).ok_or(KeyError::Malformed);
        match algorithm {
            Algorithm::EdDsa => Self::from_ed25519(&number("x")?),
            Algorithm::Es256 => {
                let (x, y) = (number("x")?, number("y")?);
                if x.len() != P256_BYTES || y.len() != P256_BYTES {
                    return Err(KeyError::Malformed);
                }
                // 4: both coordinates follow (SEC 1).
                let point = [&[4][..], &x, &y].concat();
                Ok(Self { algorithm, material: Material::Bytes(point) })
            }
            Algorithm::Rs256 | Algorithm::Ps256 => {
                let (modulus, exponent) = (without_zeros(number("n")?), without_zeros(number("e")?));
                if modulus.is_empty() || modulus.len() > RSA_BYTES_MAX || exponent.is_empty() || exponent.len() > 5 {
                    return Err(KeyError::Malformed);
                }
                Ok(Self { algorithm, material: Material::Rsa { modulus, exponent } })
            }
        }
    }

    /// The one algorithm that it is used with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the signature is the key owner's, of exactly these bytes.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let of_bytes = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match (&self.material, self.algorithm) {
            (Material::Bytes(key), Algorithm::EdDsa) => of_bytes(&signature::ED25519, key),
            (Material::Bytes(key), Algorithm::Es256) => of_bytes(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Material::Rsa { modulus, exponent }, Algorithm::Rs256 | Algorithm::Ps256) => {
                let padding = match self.algorithm {
                    Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(padding, message, signature).is_ok()
            }
            (Material::Bytes(_) | Material::Rsa { .. }, _) => false,
        }
    }
}

/// A number without the zeros before it, which some issuers write.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}
