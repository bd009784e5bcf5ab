//! What signs, seals, hashes and derives. All secrets of the service live here.
//!
//! - `hasher.rs`: passwords, by few at a time;
//! - `sealer.rs`: the service's own keys as they stand in the database;
//! - `keyring.rs`: these keys as they are used;
//! - `tokens.rs`: access tokens, refresh tokens and API keys, made of them.

mod hasher;
mod keyring;
mod sealer;
mod tokens;

pub use hasher::Hasher;
pub use keyring::{Keyring, Keys, Purpose, SealedKey};
pub use sealer::Sealer;
pub use tokens::{RefreshToken, Tokens};

/// Tokens of a service that nobody else is.
#[cfg(test)]
pub(crate) mod testing {
    use chrono::{TimeDelta, Utc};

    use super::{Keyring, Keys, SealedKey, Sealer, Tokens};

    pub(crate) fn tokens() -> Tokens {
        let (sealer, now) = (Sealer::new(&"".into(), &"".into(), true).unwrap(), Utc::now());
        let stored = [SealedKey::signing(&sealer, now, now).unwrap(), SealedKey::deriving(&sealer, now).unwrap()];
        let keys = Keys::open(&sealer, &stored).unwrap();
        Tokens::new(Keyring::new(keys), "openorder".to_owned(), TimeDelta::minutes(5))
    }
}
