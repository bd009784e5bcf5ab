//! The service's own keys as they stand in the database: encrypted, and bound to their ids.

use openorder_config::Secret;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

/// What is used on loopback when no key is configured. Everybody knows it: it protects nothing.
const FOR_DEVELOPMENT: &str = "openorder development sealing key: it protects nothing";
/// Shortest text that is taken.
const LENGTH_MIN: usize = 32;
/// Before it is hashed, so that the same text used for something else gives another key.
const CONTEXT: &str = "openorder user.sealing_key v1\n";

/// Why something cannot be unsealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another key, or was changed since")]
pub struct SealError;

/// Seals and unseals with the key of the configuration.
pub struct Sealer {
    key: LessSafeKey,
    before: Option<LessSafeKey>,
}

impl Sealer {
    /// The key of the settings; on loopback, if there is none, the one for development.
    ///
    /// # Errors
    /// Without a key beyond loopback, and for one that is too short.
    pub fn new(key: &Secret, before: &Secret, is_loopback: bool) -> anyhow::Result<Self> {
        let given = match (key.is_empty(), is_loopback) {
            (false, _) => key.expose(),
            (true, true) => {
                tracing::warn!(
                    "user.sealing_key is empty: the keys of access tokens are sealed with one that everybody knows, for \
                     development"
                );
                FOR_DEVELOPMENT
            }
            (true, false) => anyhow::bail!(
                "user.sealing_key is empty, and the service listens beyond loopback: set it to a secret of at least \
                 {LENGTH_MIN} characters, such as the output of `openssl rand -hex 32`"
            ),
        };
        let before = match (before.is_empty(), key.is_empty()) {
            (false, _) => Some(made("user.sealing_key_before", before.expose())?),
            // What was sealed before there was a key of one's own is sealed anew with it, on loopback.
            (true, false) if is_loopback => Some(made("user.sealing_key", FOR_DEVELOPMENT)?),
            (true, _) => None,
        };
        Ok(Self { key: made("user.sealing_key", given)?, before })
    }

    /// The secret, encrypted for whoever has the key, as the one with this id.
    ///
    /// # Errors
    /// Never for secrets of these lengths; the library says so by type.
    pub fn seal(&self, key_id: &str, secret: &[u8; 32]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut body = Zeroizing::new(secret.to_vec());
        let aad = Aad::from(key_id.as_bytes());
        let tag = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body);
        let tag = tag.map_err(|_| SealError)?;
        Ok([&nonce[..], &body[..], tag.as_ref()].concat())
    }

    /// The secret, and whether it is sealed with the key of now.
    ///
    /// # Errors
    /// What was sealed with another key, as another one, or was changed since.
    pub fn unseal(&self, key_id: &str, sealed: &[u8]) -> Result<(Zeroizing<[u8; 32]>, bool), SealError> {
        if let Some(secret) = opened(&self.key, key_id, sealed) {
            return Ok((secret, true));
        }
        let before = self.before.as_ref().and_then(|before| opened(before, key_id, sealed));
        before.map(|secret| (secret, false)).ok_or(SealError)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(***)")
    }
}

fn made(setting: &str, text: &str) -> anyhow::Result<LessSafeKey> {
    if text.len() < LENGTH_MIN {
        anyhow::bail!("{setting} is too short: it needs at least {LENGTH_MIN} characters");
    }
    let bytes: Zeroizing<[u8; 32]> =
        Zeroizing::new(Sha256::new_with_prefix(CONTEXT).chain_update(text).finalize().into());
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*bytes).map_err(|_| anyhow::anyhow!("{setting} cannot be used"))?;
    Ok(LessSafeKey::new(key))
}

fn opened(key: &LessSafeKey, key_id: &str, sealed: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut body = Zeroizing::new(body.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let secret = key.open_in_place(nonce, Aad::from(key_id.as_bytes()), &mut body).ok()?;
    <[u8; 32]>::try_from(&*secret).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn sealer(key: &str, before: &str) -> Sealer {
        Sealer::new(&key.into(), &before.into(), false).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_under_the_same_id_alone() {
        let sealed = sealer(KEY, "").seal("k1", &[7; 32]).unwrap();
        assert!(!sealed.windows(32).any(|window| window == [7; 32]));
        assert_eq!(sealer(KEY, "").unseal("k1", &sealed).map(|(secret, _)| *secret), Ok([7; 32]));
        assert!(sealer(KEY, "").unseal("k2", &sealed).is_err(), "it is bound to its id");
        assert!(sealer(OTHER, "").unseal("k1", &sealed).is_err());
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(sealer(KEY, "").unseal("k1", &changed).is_err(), "{place}");
        }
        assert!(sealer(KEY, "").unseal("k1", &[]).is_err());
    }

    #[test]
    fn what_the_key_before_has_sealed_is_told_to_be_sealed_anew() {
        let sealed = sealer(KEY, "").seal("k1", &[7; 32]).unwrap();
        let both = sealer(OTHER, KEY);
        assert_eq!(both.unseal("k1", &sealed).map(|(_, is_of_now)| is_of_now), Ok(false));
        let anew = both.seal("k1", &[7; 32]).unwrap();
        assert_eq!(both.unseal("k1", &anew).map(|(_, is_of_now)| is_of_now), Ok(true));
    }

    #[test]
    fn beyond_loopback_a_key_of_ones_own_is_needed() {
        let made = |key: &str, is_loopback| Sealer::new(&key.into(), &"".into(), is_loopback).map(drop);
        assert!(made("", true).is_ok() && made(KEY, false).is_ok());
        let refused = made("", false).unwrap_err().to_string();
        assert!(refused.contains("user.sealing_key"), "{refused}");
        assert!(made("short", true).is_err());
        // Keys of before stay readable when the development key is left behind.
        let dev = Sealer::new(&"".into(), &"".into(), true).unwrap();
        let own = Sealer::new(&KEY.into(), &"".into(), true).unwrap();
        assert!(own.unseal("k1", &dev.seal("k1", &[7; 32]).unwrap()).is_ok());
    }
}
