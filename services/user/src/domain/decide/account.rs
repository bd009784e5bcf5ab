//! Users themselves: registered, changed, disabled.

use openorder_types::{EmailAddress, Rejection, UserId};

use crate::domain::decide::{About, Asked, Decided, changed, not_erased};
use crate::domain::{
    ActivityType, ChangePassword, Credentials, Fact, NewUser, ProfileUpdate, Roles, User, UserRole, UserState,
    rejection,
};

impl Asked<'_> {
    pub(super) fn register(&self, new: &NewUser) -> Result<Decided, Rejection> {
        if self.state.user(&new.user_id).is_some() {
            return Err(rejection::user_id_taken(&new.user_id));
        }
        self.is_free(&new.email, &new.user_id)?;
        let user = User {
            user_id: new.user_id.clone(),
            registration_id: new.registration_id,
            email: new.email.clone(),
            display_name: new.display_name.clone(),
            roles: new.roles,
            state: UserState::Active,
            password: new.password.clone(),
            version: 1,
            activity_count: 0,
            activity_version: 0,
            tokens_after: 0,
            failure_time: None,
            create_time: self.rules.now,
            update_time: self.rules.now,
        };
        changed(self.told(user, ActivityType::Registered, Fact::Profile, &About::default()))
    }

    pub(super) fn update_profile(&self, update: &ProfileUpdate) -> Result<Decided, Rejection> {
        let user = self.changeable(&update.user_id)?;
        not_erased(user)?;
        check_version(user, update.expected_version)?;
        let email = update.email.as_ref().unwrap_or(&user.email);
        let display_name = update.display_name.as_ref().unwrap_or(&user.display_name);
        if *email == user.email && *display_name == user.display_name {
            return Ok(Decided::Unchanged);
        }
        if *email != user.email && !self.actor.is_operator {
            return Err(rejection::operators_only("only operators may change a mail address"));
        }
        self.is_free(email, &user.user_id)?;
        let user = User { email: email.clone(), display_name: display_name.clone(), ..self.next_version(user) };
        changed(self.told(user, ActivityType::ProfileUpdated, Fact::Profile, &About::default()))
    }

    pub(super) fn assign_roles(
        &self,
        user_id: &UserId,
        expected_version: Option<i64>,
        roles: Roles,
    ) -> Result<Decided, Rejection> {
        let user = self.state.find(user_id)?;
        not_erased(user)?;
        check_version(user, expected_version)?;
        if user.roles == roles {
            return Ok(Decided::Unchanged);
        }
        if self.actor.subject == user_id.as_str() && !roles.has(UserRole::Operator) {
            return Err(rejection::operator_is_oneself());
        }
        let user = User { roles, ..self.next_version(user) };
        let mut change = self.told(user, ActivityType::RolesAssigned, Fact::Profile, &About::default());
        self.revoke_tokens(&mut change);
        changed(change)
    }

    pub(super) fn set_state(&self, user_id: &UserId, state: UserState) -> Result<Decided, Rejection> {
        let user = self.state.find(user_id)?;
        not_erased(user)?;
        if user.state == state {
            return Ok(Decided::Unchanged);
        }
        if state == UserState::Disabled && self.actor.subject == user_id.as_str() {
            return Err(rejection::operator_is_oneself());
        }
        let activity_type = match state {
            UserState::Active => ActivityType::Enabled,
            UserState::Disabled | UserState::Erased => ActivityType::Disabled,
        };
        let sessions = self.state.open_sessions(user_id, self.rules.now);
        let user = User { state, ..self.next_version(user) };
        let mut change = self.told(user, activity_type, Fact::Profile, &About::default());
        if state == UserState::Disabled {
            for session in sessions {
                self.end_session(&mut change, session);
            }
            // One for all of them, and for the tokens of API keys.
            change.revocations.clear();
            self.revoke_tokens(&mut change);
        }
        changed(change)
    }

    pub(super) fn change_password(&self, asked: &ChangePassword) -> Result<Decided, Rejection> {
        let user = self.changeable(&asked.user_id)?;
        not_erased(user)?;
        self.proven(user, asked.current.as_ref())?;
        let open = self.state.open_sessions(&asked.user_id, self.rules.now);
        let kept = asked.keep_session_id.filter(|kept| open.iter().any(|session| session.session_id == *kept));
        let about = About { session_id: kept, ..About::default() };
        let user = User { password: asked.new.clone(), ..user.clone() };
        let mut change = self.told(user, ActivityType::PasswordChanged, Fact::Activity, &about);
        for session in open.into_iter().filter(|session| Some(session.session_id) != kept) {
            self.end_session(&mut change, session);
        }
        changed(change)
    }

    /// Whoever has taken a session over is not to do with it what takes a password; operators do it for others without.
    pub(super) fn proven(&self, user: &User, current: Option<&Credentials>) -> Result<(), Rejection> {
        match current {
            Some(current) if current.compared_with != user.password => Err(rejection::credentials_changed()),
            Some(current) if !current.are_right => Err(rejection::current_password_wrong()),
            None if !self.actor.is_operator || self.actor.subject == user.user_id.as_str() => {
                Err(rejection::current_password_wrong())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Nobody else has the mail address.
    fn is_free(&self, email: &EmailAddress, user_id: &UserId) -> Result<(), Rejection> {
        match self.state.by_email(email) {
            Some(other) if other.user_id != *user_id => Err(rejection::email_taken()),
            _ => Ok(()),
        }
    }
}

fn check_version(user: &User, expected: Option<i64>) -> Result<(), Rejection> {
    match expected {
        Some(version) if version != user.version => Err(rejection::version_mismatch(user)),
        _ => Ok(()),
    }
}
