//! Every legitimate "no" of the service. None says anything of a secret.

use std::time::Duration;

use openorder_types::{Rejection, Timestamp, UserId};

use crate::domain::User;

/// Reason of a password that was compared with what is no longer kept: it is compared again, and no caller sees it.
pub const CREDENTIALS_CHANGED: &str = "CREDENTIALS_CHANGED";
/// Reason of a wrong current password.
pub const CURRENT_PASSWORD_WRONG: &str = "CURRENT_PASSWORD_WRONG";

/// There is no such user, or the caller may not see it.
pub fn user_not_found(user_id: &UserId) -> Rejection {
    Rejection::not_found("USER_NOT_FOUND", "there is no such user").with("user_id", user_id)
}

/// There is no such key, or the caller may not see it.
pub fn api_key_not_found(api_key_id: &str) -> Rejection {
    Rejection::not_found("API_KEY_NOT_FOUND", "there is no such API key").with("api_key_id", api_key_id)
}

/// The user has another version than the caller expects.
pub(super) fn version_mismatch(user: &User) -> Rejection {
    Rejection::aborted("USER_VERSION_MISMATCH", "the user has changed since it was read")
        .with("user_id", &user.user_id)
        .with("version", user.version)
}

pub(super) fn email_taken() -> Rejection {
    Rejection::already_exists("EMAIL_TAKEN", "another user has this mail address")
}

pub(super) fn user_id_taken(user_id: &UserId) -> Rejection {
    Rejection::already_exists("USER_ID_TAKEN", "another user has this id").with("user_id", user_id)
}

pub(super) fn user_disabled(user_id: &UserId) -> Rejection {
    Rejection::failed_precondition("USER_DISABLED", "the user is disabled").with("user_id", user_id)
}

/// There is nobody any more whom that could be done to.
pub(super) fn user_erased(user_id: &UserId) -> Rejection {
    Rejection::failed_precondition("USER_ERASED", "the user was erased").with("user_id", user_id)
}

/// Nobody takes the role of operators, or the right to sign in, from oneself: one operator is always left.
pub(super) fn operator_is_oneself() -> Rejection {
    let text = "operators cannot take that from themselves; another operator can";
    Rejection::failed_precondition("OPERATOR_IS_ONESELF", text)
}

pub(super) fn api_key_limit_reached(user_id: &UserId, limit: usize) -> Rejection {
    let text = "the user has as many active API keys as a user may have: revoke one first";
    Rejection::failed_precondition("API_KEY_LIMIT_REACHED", text).with("user_id", user_id).with("api_keys_max", limit)
}

pub(super) fn expired_already(now: Timestamp) -> Rejection {
    let text = format!("must be after {}", now.to_rfc3339());
    Rejection::invalid_field("expire_time", "EXPIRE_TIME_PASSED", text)
}

/// The caller has signed in with an API key.
pub fn api_key_not_allowed() -> Rejection {
    let text = "who signed in with an API key cannot make one";
    Rejection::permission_denied("API_KEY_NOT_ALLOWED", text)
}

/// For operators alone.
pub fn operators_only(text: &'static str) -> Rejection {
    Rejection::permission_denied("ROLE_REQUIRED", text)
}

/// No user has this mail address and password, or may not sign in: which of them is not said.
pub fn credentials_refused() -> Rejection {
    Rejection::unauthenticated("CREDENTIALS_REFUSED", "no user has this mail address and password")
}

pub(super) fn credentials_changed() -> Rejection {
    Rejection::aborted(CREDENTIALS_CHANGED, "the password was changed meanwhile")
}

pub(super) fn current_password_wrong() -> Rejection {
    Rejection::failed_precondition(CURRENT_PASSWORD_WRONG, "the current password is another one")
}

pub fn password_too_common() -> Rejection {
    let text = "the password is among the first that anybody tries";
    Rejection::failed_precondition("PASSWORD_TOO_COMMON", text)
}

/// Too many passwords wait to be hashed.
pub fn password_queue_full(retry_after: Duration) -> Rejection {
    let text = "too many passwords are being looked at";
    Rejection::resource_exhausted("PASSWORD_QUEUE_FULL", text).passing_after(retry_after)
}

/// Too many tries failed.
pub fn sign_in_delayed(retry_after: Duration) -> Rejection {
    let text = "too many tries failed: wait a moment";
    Rejection::resource_exhausted("SIGN_IN_DELAYED", text).passing_after(retry_after)
}

pub fn refresh_token_refused() -> Rejection {
    Rejection::unauthenticated("REFRESH_TOKEN_REFUSED", "the refresh token is none, or its session is over")
}

pub fn refresh_token_reused() -> Rejection {
    let text = "the refresh token was used before: its session has ended";
    Rejection::unauthenticated("REFRESH_TOKEN_REUSED", text)
}

/// Of a key that is none, or is not to be used any more: which of them is not said.
pub fn api_key_unknown() -> Rejection {
    Rejection::unauthenticated("API_KEY_UNKNOWN", "the API key is none, or is not to be used any more")
}
