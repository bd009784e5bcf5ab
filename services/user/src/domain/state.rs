//! What commands are decided on.

use std::collections::HashMap;

use openorder_types::{EmailAddress, Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{ApiKey, Change, Session, User, rejection};

/// Users, sessions and API keys that commands name. What is missing does not exist.
#[derive(Debug, Default)]
pub struct State {
    users: HashMap<UserId, User>,
    sessions: HashMap<Uuid, Session>,
    api_keys: HashMap<String, ApiKey>,
}

impl State {
    #[must_use]
    pub fn of(users: Vec<User>, sessions: Vec<Session>, api_keys: Vec<ApiKey>) -> Self {
        Self {
            users: users.into_iter().map(|user| (user.user_id.clone(), user)).collect(),
            sessions: sessions.into_iter().map(|session| (session.session_id, session)).collect(),
            api_keys: api_keys.into_iter().map(|key| (key.api_key_id.clone(), key)).collect(),
        }
    }

    #[must_use]
    pub fn user(&self, user_id: &UserId) -> Option<&User> {
        self.users.get(user_id)
    }

    /// The user that a caller names.
    ///
    /// # Errors
    /// `USER_NOT_FOUND`.
    pub fn find(&self, user_id: &UserId) -> Result<&User, Rejection> {
        self.users.get(user_id).ok_or_else(|| rejection::user_not_found(user_id))
    }

    #[must_use]
    pub fn by_email(&self, email: &EmailAddress) -> Option<&User> {
        self.users.values().find(|user| user.email == *email)
    }

    #[must_use]
    pub fn session(&self, session_id: Uuid) -> Option<&Session> {
        self.sessions.get(&session_id)
    }

    #[must_use]
    pub fn api_key(&self, api_key_id: &str) -> Option<&ApiKey> {
        self.api_keys.get(api_key_id)
    }

    /// The sessions of a user that go on, the one that was refreshed longest ago first.
    #[must_use]
    pub fn open_sessions(&self, user_id: &UserId, now: Timestamp) -> Vec<&Session> {
        let of_user = self.sessions.values().filter(|session| session.user_id == *user_id && session.is_open(now));
        let mut sessions: Vec<&Session> = of_user.collect();
        sessions.sort_by_key(|session| (session.rotate_time, session.session_id));
        sessions
    }

    /// The API keys of a user that may be used.
    #[must_use]
    pub fn active_api_keys(&self, user_id: &UserId, now: Timestamp) -> Vec<&ApiKey> {
        self.api_keys.values().filter(|key| key.user_id == *user_id && key.is_active(now)).collect()
    }

    pub fn apply(&mut self, change: &Change) {
        self.users.insert(change.user.user_id.clone(), change.user.clone());
        for session in &change.sessions {
            self.sessions.insert(session.session_id, session.clone());
        }
        for key in &change.api_keys {
            self.api_keys.insert(key.api_key_id.clone(), key.clone());
        }
    }
}
