//! A user that is nobody any more.

use openorder_types::Rejection;

use crate::domain::decide::{About, Asked, Decided, changed};
use crate::domain::{ActivityType, ApiKey, Erasure, Fact, PasswordHash, User, UserRole, UserState, rejection};

impl Asked<'_> {
    /// What is known of the person is taken out; the id stays, for what others keep by it.
    pub(super) fn erase(&self, asked: &Erasure) -> Result<Decided, Rejection> {
        let user = self.changeable(&asked.user_id)?;
        if user.is_erased() {
            return Ok(Decided::Unchanged);
        }
        self.proven(user, asked.current.as_ref())?;
        if self.actor.subject == user.user_id.as_str() && user.roles.has(UserRole::Operator) {
            return Err(rejection::operator_is_oneself());
        }
        let now = self.rules.now;
        let sessions = self.state.open_sessions(&user.user_id, now);
        let keys = self.state.active_api_keys(&user.user_id, now);
        let erased = User {
            email: asked.email.clone(),
            display_name: asked.display_name.clone(),
            state: UserState::Erased,
            // No password makes this.
            password: PasswordHash::new(""),
            failure_time: None,
            ..self.next_version(user)
        };
        let mut change = self.told(erased, ActivityType::Erased, Fact::Profile, &About::default());
        for session in sessions {
            self.end_session(&mut change, session);
        }
        // One for all of them, and for the tokens of API keys.
        change.revocations.clear();
        self.revoke_tokens(&mut change);
        change.api_keys.extend(keys.into_iter().map(|key| ApiKey { revoke_time: Some(now), ..key.clone() }));
        // Where the person was when it asked for it is not kept either.
        if let Some((activity, _)) = &mut change.activity {
            activity.peer_hash.clear();
        }
        changed(change)
    }
}
