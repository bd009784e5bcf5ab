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
