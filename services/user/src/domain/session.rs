//! Sessions with their refresh tokens, and API keys.

use chrono::TimeDelta;
use openorder_types::{Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{ClientId, Salt, UserName};

/// What began with a sign-in. Its refresh tokens are numbered, and each is made of its number, the salt and a key of the
/// service: nothing of them is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub session_id: Uuid,
    pub user_id: UserId,
    pub client_id: ClientId,
    pub salt: Salt,
    pub create_time: Timestamp,
    /// When it ends however often it is refreshed.
    pub expire_time: Timestamp,
    /// Number of the refresh token that was given last.
    pub generation: i32,
    /// When that was given.
    pub rotate_time: Timestamp,
    /// When it ends if it is not used.
    pub refresh_expire_time: Timestamp,
    /// When the session was ended before its time.
    pub end_time: Option<Timestamp>,
}

/// What a refresh token is that somebody presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented {
    /// The one that was given last.
    Current,
    /// The one before, so soon that its answer may have been lost.
    Again,
    /// One that was used up before: somebody has it who should not.
    Reused,
    /// Of a session that is over, or one that was never given.
    Refused,
}

impl Session {
    /// Whether it goes on.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.end_time.is_none() && now < self.refresh_expire_time && now < self.expire_time
    }

    /// What the refresh token with this number is now.
    #[must_use]
    pub fn presented(&self, generation: i32, now: Timestamp, grace: TimeDelta) -> Presented {
        if !self.is_open(now) || generation < 0 || generation > self.generation {
            return Presented::Refused;
        }
        match self.generation - generation {
            0 => Presented::Current,
            1 if now - self.rotate_time <= grace => Presented::Again,
            _ => Presented::Reused,
        }
    }
}

/// A key by which a program signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// 16 letters and digits.
    pub api_key_id: String,
    pub user_id: UserId,
    pub display_name: UserName,
    pub salt: Salt,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    pub create_time: Timestamp,
    /// When it ends by itself.
    pub expire_time: Option<Timestamp>,
    pub last_use_time: Option<Timestamp>,
    pub revoke_time: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it may be used.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoke_time.is_none() && self.expire_time.is_none_or(|end| now < end)
    }
}
