//! The rules of users and their sessions, pure: no I/O, no clock, no randomness, no protobuf. Ids, salts, hashes and times
//! arrive as data. [`decide`] makes a change of a command, [`State::apply`] applies it.

mod change;
mod command;
mod decide;
mod rejection;
mod session;
mod state;
mod throttle;
mod user;
mod value;

pub use change::{Activity, ActivityType, Change, Fact, Revocation, RevocationTarget};
pub use command::{
    Actor, ChangePassword, Command, Credentials, Erasure, NewApiKey, NewSession, NewUser, ProfileUpdate, SignIn,
    SignOutTarget,
};
pub use decide::{Decided, Rules, decide};
pub use rejection::{
    CREDENTIALS_CHANGED, CURRENT_PASSWORD_WRONG, api_key_not_allowed, api_key_not_found, api_key_unknown,
    credentials_refused, operators_only, password_queue_full, password_too_common, refresh_token_refused,
    refresh_token_reused, sign_in_delayed, user_not_found,
};
pub use session::{ApiKey, Presented, Session};
pub use state::State;
pub use throttle::{Delays, Throttle};
pub use user::{Roles, User, UserRole, UserState};
pub use value::{ClientId, PasswordHash, Salt, UserName, check_password, is_common, parse_email};
