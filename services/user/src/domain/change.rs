//! What a command changes, as data: rows as they are afterwards, and what is told of it.

use openorder_types::{Timestamp, UserId, numbered};
use uuid::Uuid;

use crate::domain::{ApiKey, Roles, Session, User};

numbered! {
    /// What a user did, or what was done to it.
    pub enum ActivityType {
        Registered = 1 "REGISTERED",
        SignedIn = 2 "SIGNED_IN",
        SignInFailed = 3 "SIGN_IN_FAILED",
        SignedOut = 4 "SIGNED_OUT",
        PasswordChanged = 5 "PASSWORD_CHANGED",
        ProfileUpdated = 6 "PROFILE_UPDATED",
        RolesAssigned = 7 "ROLES_ASSIGNED",
        Disabled = 8 "DISABLED",
        Enabled = 9 "ENABLED",
        ApiKeyCreated = 10 "API_KEY_CREATED",
        ApiKeyRevoked = 11 "API_KEY_REVOKED",
        SessionCompromised = 12 "SESSION_COMPROMISED",
        Erased = 13 "ERASED",
    }
}

/// One entry of what a user did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    pub user_id: UserId,
    /// 1, 2, 3 … of the user.
    pub number: i64,
    pub activity_type: ActivityType,
    pub time: Timestamp,
    /// Subject of whoever did it; empty: not known.
    pub actor: String,
    pub session_id: Option<Uuid>,
    pub api_key_id: Option<String>,
    pub roles: Option<Roles>,
    /// Empty: not known.
    pub peer_hash: String,
}

/// Whose access tokens are refused before they end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationTarget {
    /// `sid` of a session or of an API key.
    Session(String),
    User(UserId),
}

/// Access tokens that are refused before they end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    pub target: RevocationTarget,
    pub revoke_time: Timestamp,
    /// After it no token that it is about is valid anyhow.
    pub expire_time: Timestamp,
}

/// Which event tells of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// One of the user as it is now.
    Profile,
    /// One of what it did.
    Activity,
    /// One of the session that was ended.
    Session,
}

/// What a command changes: the rows as they are afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub user: User,
    pub sessions: Vec<Session>,
    pub api_keys: Vec<ApiKey>,
    pub revocations: Vec<Revocation>,
    /// What is written down and told, if anything is.
    pub activity: Option<(Activity, Fact)>,
}
