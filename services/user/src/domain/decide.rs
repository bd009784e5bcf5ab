//! From a state and a command to what changes. Pure: time arrives in [`Rules`], ids, salts and hashes in the command.

mod account;
mod erasure;
mod keys;
mod sessions;

#[cfg(test)]
mod tests;

use chrono::TimeDelta;
use openorder_types::{Rejection, Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{
    Activity, ActivityType, Actor, Change, Command, Fact, Revocation, RevocationTarget, Session, State, User,
};

/// When it is decided, and what the settings say.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub now: Timestamp,
    /// How long an access token is valid, and how far clocks may be apart.
    pub access_token_life: TimeDelta,
    /// How long a refresh token is valid that is not used.
    pub refresh_token_life: TimeDelta,
    /// How long a session goes on however often it is refreshed.
    pub session_life: TimeDelta,
    /// How long a used refresh token gives its successor again.
    pub grace: TimeDelta,
    /// Failed sign-ins of one user are written down at most this often.
    pub failure_interval: TimeDelta,
    /// Open sessions a user at most: beyond them, the one that was refreshed longest ago ends.
    pub sessions_max: usize,
    /// Active API keys a user at most.
    pub api_keys_max: usize,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// Something is another way now.
    Changed(Box<Change>),
    /// All is as it was, and as was asked for.
    Unchanged,
    /// A refresh token was used a second time: the session has ended.
    Compromised(Box<Change>),
}

/// Decides one command.
///
/// # Errors
/// A legitimate "no".
pub fn decide(state: &State, command: &Command, actor: &Actor, rules: &Rules) -> Result<Decided, Rejection> {
    let asked = Asked { state, actor, rules };
    match command {
        Command::Register(new) => asked.register(new),
        Command::SignIn(sign_in) => asked.sign_in(sign_in),
        Command::FailSignIn(user_id) => asked.fail_sign_in(user_id),
        Command::Refresh { session_id, generation } => asked.refresh(*session_id, *generation),
        Command::SignOut(target) => asked.sign_out(target),
        Command::ChangePassword(change) => asked.change_password(change),
        Command::UpdateProfile(update) => asked.update_profile(update),
        Command::AssignRoles { user_id, expected_version, roles } => {
            asked.assign_roles(user_id, *expected_version, *roles)
        }
        Command::SetState { user_id, state } => asked.set_state(user_id, *state),
        Command::Erase(erasure) => asked.erase(erasure),
        Command::CreateApiKey(new) => asked.create_api_key(new),
        Command::RevokeApiKey(api_key_id) => asked.revoke_api_key(api_key_id),
    }
}

/// What a command is decided with.
struct Asked<'a> {
    state: &'a State,
    actor: &'a Actor,
    rules: &'a Rules,
}

/// What an entry is about besides its user.
#[derive(Default)]
struct About<'a> {
    session_id: Option<Uuid>,
    api_key_id: Option<&'a str>,
}

impl Asked<'_> {
    /// The user that a caller names and may change; others do not exist for it.
    fn changeable(&self, user_id: &UserId) -> Result<&User, Rejection> {
        let found = self.state.find(user_id)?;
        if self.actor.may_change(user_id) { Ok(found) } else { Err(super::rejection::user_not_found(user_id)) }
    }

    /// The user with one more version, for a change of what others see of it.
    fn next_version(&self, user: &User) -> User {
        User { version: user.version + 1, update_time: self.rules.now, ..user.clone() }
    }

    /// A change of the user, with its entry.
    fn told(&self, mut user: User, activity_type: ActivityType, fact: Fact, about: &About<'_>) -> Change {
        user.activity_count += 1;
        user.activity_version += i64::from(fact == Fact::Activity);
        let tells_roles = matches!(activity_type, ActivityType::Registered | ActivityType::RolesAssigned);
        let activity = Activity {
            user_id: user.user_id.clone(),
            number: user.activity_count,
            activity_type,
            time: self.rules.now,
            actor: self.actor.subject.clone(),
            session_id: about.session_id,
            api_key_id: about.api_key_id.map(str::to_owned),
            roles: tells_roles.then_some(user.roles),
            peer_hash: self.actor.peer_hash.clone(),
        };
        Change {
            user,
            sessions: Vec::new(),
            api_keys: Vec::new(),
            revocations: Vec::new(),
            activity: Some((activity, fact)),
        }
    }

    fn revoked(&self, target: RevocationTarget) -> Revocation {
        let now = self.rules.now;
        Revocation { target, revoke_time: now, expire_time: now + self.rules.access_token_life }
    }

    /// Refuses every access token of the user that was issued so far.
    fn revoke_tokens(&self, change: &mut Change) {
        // Tokens issued since an earlier revocation of this second are dated a second later.
        let tokens_after = self.rules.now.timestamp().max(change.user.tokens_after + 1);
        change.user.tokens_after = tokens_after;
        let mut revoked = self.revoked(RevocationTarget::User(change.user.user_id.clone()));
        let second = Timestamp::from_timestamp(tokens_after, 0).unwrap_or(revoked.revoke_time);
        revoked.revoke_time = revoked.revoke_time.max(second);
        change.revocations.push(revoked);
    }

    /// Ends a session and refuses its access tokens.
    fn end_session(&self, change: &mut Change, session: &Session) {
        change.sessions.push(Session { end_time: Some(self.rules.now), ..session.clone() });
        change.revocations.push(self.revoked(RevocationTarget::Session(session.session_id.to_string())));
    }
}

/// Nothing is done any more to who was erased.
fn not_erased(user: &User) -> Result<(), Rejection> {
    if user.is_erased() { Err(super::rejection::user_erased(&user.user_id)) } else { Ok(()) }
}

fn changed(change: Change) -> Result<Decided, Rejection> {
    Ok(Decided::Changed(Box::new(change)))
}
