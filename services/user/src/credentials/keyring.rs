//! The service's own keys as they are used: read from the database, and again every moment, so that all instances and all
//! gateways know each before it signs.

use std::sync::{Arc, PoisonError, RwLock};

use openorder_auth::SigningKey;
use openorder_types::{Fault, Timestamp};
use secrecy::zeroize::Zeroizing;

use crate::credentials::Sealer;

openorder_types::numbered! {
    /// What a key is for.
    pub enum Purpose {
        Signing = 1 "SIGNING",
        Deriving = 2 "DERIVING",
    }
}

/// A key as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    pub key_id: String,
    pub purpose: Purpose,
    pub sealed: Vec<u8>,
    pub create_time: Timestamp,
    /// From when on it signs.
    pub activate_time: Timestamp,
}

impl SealedKey {
    /// A key that signs access tokens.
    ///
    /// # Errors
    /// Permanent; never in practice.
    pub fn signing(sealer: &Sealer, now: Timestamp, activate_time: Timestamp) -> Result<Self, Fault> {
        let key = SigningKey::generate().map_err(Fault::permanent)?;
        let sealed = sealer.seal(key.key_id(), key.seed()).map_err(Fault::permanent)?;
        let key_id = key.key_id().to_owned();
        Ok(Self { key_id, purpose: Purpose::Signing, sealed, create_time: now, activate_time })
    }

    /// The key that refresh tokens and API keys are derived with.
    ///
    /// # Errors
    /// Permanent; never in practice.
    pub fn deriving(sealer: &Sealer, now: Timestamp) -> Result<Self, Fault> {
        let key_id = "deriving".to_owned();
        let sealed = sealer.seal(&key_id, &rand::random()).map_err(Fault::permanent)?;
        Ok(Self { key_id, purpose: Purpose::Deriving, sealed, create_time: now, activate_time: now })
    }
}

/// A key that signs, from when on.
#[derive(Debug)]
pub struct Signing {
    pub key: SigningKey,
    pub create_time: Timestamp,
    pub activate_time: Timestamp,
}

/// All keys at one time.
pub struct Keys {
    /// The one that begins to sign last is first.
    signing: Vec<Arc<Signing>>,
    deriving: Zeroizing<[u8; 32]>,
    /// Ids of those that are sealed with the key before.
    sealed_before: Vec<String>,
}

impl Keys {
    /// Opens keys.
    ///
    /// # Errors
    /// Permanent: sealed with a key that the settings do not have, or none is there of a kind.
    pub fn open(sealer: &Sealer, stored: &[SealedKey]) -> Result<Self, Fault> {
        let (mut signing, mut deriving, mut sealed_before) = (Vec::new(), None, Vec::new());
        for key in stored {
            let opened = sealer.unseal(&key.key_id, &key.sealed).map_err(|error| {
                Fault::permanent(format!(
                    "the key {} in the database cannot be opened: {error}; set user.sealing_key, or \
                     user.sealing_key_before, to what it was sealed with",
                    key.key_id
                ))
            });
            let (secret, is_of_now) = opened?;
            if !is_of_now {
                sealed_before.push(key.key_id.clone());
            }
            match key.purpose {
                Purpose::Deriving => deriving = Some(secret),
                Purpose::Signing => signing.push(Arc::new(Signing {
                    key: SigningKey::from_seed(&secret).map_err(Fault::permanent)?,
                    create_time: key.create_time,
                    activate_time: key.activate_time,
                })),
            }
        }
        signing.sort_by_key(|key| std::cmp::Reverse((key.activate_time, key.create_time)));
        let missing = || Fault::permanent("a key of the service is missing in its database");
        if signing.is_empty() {
            return Err(missing());
        }
        Ok(Self { signing, deriving: deriving.ok_or_else(missing)?, sealed_before })
    }

    /// All that sign, have signed, or will, the last one first.
    pub fn signing(&self) -> &[Arc<Signing>] {
        &self.signing
    }

    /// The one that signs now; before the first one's time, that one.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> Option<&Arc<Signing>> {
        self.signing.iter().find(|key| key.activate_time <= now).or(self.signing.last())
    }

    #[must_use]
    pub fn deriving(&self) -> &[u8; 32] {
        &self.deriving
    }

    /// Whether one is sealed with the key before.
    #[must_use]
    pub fn sealed_before(&self) -> &[String] {
        &self.sealed_before
    }

    /// The secret of one of them, to be sealed anew.
    #[must_use]
    pub fn secret(&self, key_id: &str) -> Option<&[u8; 32]> {
        let signing = self.signing.iter().find(|signing| signing.key.key_id() == key_id);
        signing.map(|signing| signing.key.seed()).or(Some(&*self.deriving))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("signing", &self.signing).finish_non_exhaustive()
    }
}

/// The keys of now, shared by all who use them.
#[derive(Debug, Clone)]
pub struct Keyring(Arc<RwLock<Arc<Keys>>>);

impl Keyring {
    #[must_use]
    pub fn new(keys: Keys) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(keys))))
    }

    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replace(&self, keys: Keys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_new_key_is_known_before_it_signs_and_the_one_before_after_it_does() {
        let sealer = Sealer::new(&"".into(), &"".into(), true).unwrap();
        let now = Timestamp::UNIX_EPOCH + TimeDelta::days(20_000);
        let minute = TimeDelta::minutes(1);
        let first = SealedKey::signing(&sealer, now, now).unwrap();
        let second = SealedKey::signing(&sealer, now + minute, now + minute * 2).unwrap();
        let deriving = SealedKey::deriving(&sealer, now).unwrap();
        let keys = Keys::open(&sealer, &[first.clone(), second.clone(), deriving.clone()]).unwrap();
        let signs = |now| keys.current(now).map(|signing| signing.key.key_id().to_owned());
        assert_eq!(signs(now - minute), Some(first.key_id.clone()), "a clock that is late");
        assert_eq!(signs(now + minute), Some(first.key_id));
        assert_eq!(signs(now + minute * 2), Some(second.key_id));
        assert_eq!((keys.signing().len(), keys.sealed_before().len()), (2, 0));
        assert!(Keys::open(&sealer, &[deriving]).is_err() && Keys::open(&sealer, &[]).is_err());
    }
}
