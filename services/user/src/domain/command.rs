//! What the rules of users decide on.

use openorder_types::{EmailAddress, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{ClientId, PasswordHash, Roles, Salt, UserName, UserState};

/// Who asks, as far as the rules care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Empty: nobody is known.
    pub subject: String,
    pub is_operator: bool,
    /// Of the network address; empty: not known.
    pub peer_hash: String,
}

impl Actor {
    /// Whether it may change what is this user's: operators may, and the user itself.
    #[must_use]
    pub fn may_change(&self, user_id: &UserId) -> bool {
        self.is_operator || self.subject == user_id.as_str()
    }
}

/// A user to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// UUID version 7.
    pub registration_id: Uuid,
    pub user_id: UserId,
    pub email: EmailAddress,
    pub display_name: UserName,
    pub roles: Roles,
    pub password: PasswordHash,
}

/// A session to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// UUID version 7.
    pub session_id: Uuid,
    pub salt: Salt,
    pub client_id: ClientId,
}

/// A password that was found right, or not, for what was kept of it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// What the password was compared with: another one by now was changed meanwhile.
    pub compared_with: PasswordHash,
    pub are_right: bool,
}

/// Somebody signs in with the right password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    pub user_id: UserId,
    pub credentials: Credentials,
    /// The same password, hashed as it is hashed now.
    pub rehashed: Option<PasswordHash>,
    pub session: NewSession,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePassword {
    pub user_id: UserId,
    /// None: an operator sets it for somebody else.
    pub current: Option<Credentials>,
    pub new: PasswordHash,
    pub keep_session_id: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileUpdate {
    pub user_id: UserId,
    /// Only if it has this version.
    pub expected_version: Option<i64>,
    /// None: as it is.
    pub display_name: Option<UserName>,
    /// None: as it is.
    pub email: Option<EmailAddress>,
}

/// The person is taken out of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub user_id: UserId,
    /// None: an operator erases somebody else.
    pub current: Option<Credentials>,
    /// What stands in the place of the person, which nobody else has.
    pub email: EmailAddress,
    pub display_name: UserName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignOutTarget {
    /// A session that the caller has shown a refresh token of.
    Proven(Uuid),
    /// A session by its id.
    Session(Uuid),
    /// All of a user.
    User(UserId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    pub api_key_id: String,
    pub user_id: UserId,
    pub display_name: UserName,
    pub salt: Salt,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    pub expire_time: Option<Timestamp>,
}

/// A command of a caller; who asks for it is the [`Actor`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Register(Box<NewUser>),
    SignIn(Box<SignIn>),
    /// A wrong password was given for this user.
    FailSignIn(UserId),
    /// A refresh token that this service has made is presented.
    Refresh {
        session_id: Uuid,
        generation: i32,
    },
    SignOut(SignOutTarget),
    ChangePassword(Box<ChangePassword>),
    UpdateProfile(ProfileUpdate),
    AssignRoles {
        user_id: UserId,
        expected_version: Option<i64>,
        roles: Roles,
    },
    SetState {
        user_id: UserId,
        state: UserState,
    },
    Erase(Box<Erasure>),
    CreateApiKey(Box<NewApiKey>),
    RevokeApiKey(String),
}

impl Command {
    /// The user that it names, if it does by id.
    #[must_use]
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::Register(new) => Some(&new.user_id),
            Self::SignIn(sign_in) => Some(&sign_in.user_id),
            Self::FailSignIn(user_id) | Self::SignOut(SignOutTarget::User(user_id)) => Some(user_id),
            Self::ChangePassword(change) => Some(&change.user_id),
            Self::UpdateProfile(update) => Some(&update.user_id),
            Self::AssignRoles { user_id, .. } | Self::SetState { user_id, .. } => Some(user_id),
            Self::Erase(erasure) => Some(&erasure.user_id),
            Self::CreateApiKey(new) => Some(&new.user_id),
            Self::Refresh { .. } | Self::SignOut(_) | Self::RevokeApiKey(_) => None,
        }
    }

    /// A mail address that nobody else may have.
    #[must_use]
    pub fn email(&self) -> Option<&EmailAddress> {
        match self {
            Self::Register(new) => Some(&new.email),
            Self::UpdateProfile(update) => update.email.as_ref(),
            _ => None,
        }
    }

    /// The session that it names.
    #[must_use]
    pub fn session_id(&self) -> Option<Uuid> {
        match self {
            Self::Refresh { session_id, .. }
            | Self::SignOut(SignOutTarget::Proven(session_id) | SignOutTarget::Session(session_id)) => {
                Some(*session_id)
            }
            _ => None,
        }
    }

    /// The API key that it names.
    #[must_use]
    pub fn api_key_id(&self) -> Option<&str> {
        match self {
            Self::RevokeApiKey(api_key_id) => Some(api_key_id),
            _ => None,
        }
    }

    /// Whether it is about all open sessions of the user that it names.
    #[must_use]
    pub fn concerns_all_sessions(&self) -> bool {
        matches!(
            self,
            Self::SignIn(_)
                | Self::SignOut(SignOutTarget::User(_))
                | Self::ChangePassword(_)
                | Self::SetState { .. }
                | Self::Erase(_)
        )
    }

    /// Whether it is about all API keys of the user that it names.
    #[must_use]
    pub fn concerns_all_api_keys(&self) -> bool {
        matches!(self, Self::CreateApiKey(_) | Self::Erase(_))
    }
}
