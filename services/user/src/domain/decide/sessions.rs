//! Sessions: begun by a password, refreshed, ended.

use openorder_types::{Rejection, UserId};
use uuid::Uuid;

use crate::domain::decide::{About, Asked, Decided, changed};
use crate::domain::{ActivityType, Change, Fact, Presented, Session, SignIn, SignOutTarget, User, rejection};

impl Asked<'_> {
    pub(super) fn sign_in(&self, asked: &SignIn) -> Result<Decided, Rejection> {
        let user = self.state.user(&asked.user_id).ok_or_else(rejection::credentials_refused)?;
        if asked.credentials.compared_with != user.password {
            return Err(rejection::credentials_changed());
        }
        if !asked.credentials.are_right || !user.is_active() {
            return Err(rejection::credentials_refused());
        }
        let (now, rules) = (self.rules.now, self.rules);
        let expire_time = now + rules.session_life;
        let session = Session {
            session_id: asked.session.session_id,
            user_id: user.user_id.clone(),
            client_id: asked.session.client_id.clone(),
            salt: asked.session.salt.clone(),
            create_time: now,
            expire_time,
            generation: 0,
            rotate_time: now,
            refresh_expire_time: expire_time.min(now + rules.refresh_token_life),
            end_time: None,
        };
        let about = About { session_id: Some(session.session_id), ..About::default() };
        let password = asked.rehashed.as_ref().unwrap_or(&user.password).clone();
        let mut change = self.told(User { password, ..user.clone() }, ActivityType::SignedIn, Fact::Activity, &about);
        // Who signed in is who did it: the caller was nobody before.
        if let Some((activity, _)) = &mut change.activity {
            activity.actor = user.user_id.to_string();
        }
        let open = self.state.open_sessions(&user.user_id, now);
        let too_many = (open.len() + 1).saturating_sub(rules.sessions_max);
        for oldest in open.into_iter().take(too_many) {
            self.end_session(&mut change, oldest);
        }
        change.sessions.push(session);
        changed(change)
    }

    /// Written down now and then: whoever tries passwords is not to fill the tables.
    pub(super) fn fail_sign_in(&self, user_id: &UserId) -> Result<Decided, Rejection> {
        let found = self.state.user(user_id).filter(|user| !user.is_erased());
        let Some(user) = found else { return Ok(Decided::Unchanged) };
        let now = self.rules.now;
        if user.failure_time.is_some_and(|last| now - last < self.rules.failure_interval) {
            return Ok(Decided::Unchanged);
        }
        let user = User { failure_time: Some(now), ..user.clone() };
        changed(self.told(user, ActivityType::SignInFailed, Fact::Activity, &About::default()))
    }

    pub(super) fn refresh(&self, session_id: Uuid, generation: i32) -> Result<Decided, Rejection> {
        let session = self.state.session(session_id).ok_or_else(rejection::refresh_token_refused)?;
        let user = self.state.user(&session.user_id).filter(|user| user.is_active());
        let user = user.ok_or_else(rejection::refresh_token_refused)?;
        let now = self.rules.now;
        match session.presented(generation, now, self.rules.grace) {
            Presented::Refused => Err(rejection::refresh_token_refused()),
            Presented::Again => Ok(Decided::Unchanged),
            Presented::Current => {
                let rotated = Session {
                    generation: session.generation + 1,
                    rotate_time: now,
                    refresh_expire_time: session.expire_time.min(now + self.rules.refresh_token_life),
                    ..session.clone()
                };
                changed(Change {
                    user: user.clone(),
                    sessions: vec![rotated],
                    api_keys: Vec::new(),
                    revocations: Vec::new(),
                    activity: None,
                })
            }
            Presented::Reused => {
                let about = About { session_id: Some(session_id), ..About::default() };
                let mut change = self.told(user.clone(), ActivityType::SessionCompromised, Fact::Session, &about);
                self.end_session(&mut change, session);
                Ok(Decided::Compromised(Box::new(change)))
            }
        }
    }

    pub(super) fn sign_out(&self, target: &SignOutTarget) -> Result<Decided, Rejection> {
        let now = self.rules.now;
        let (user_id, sessions, session_id) = match target {
            SignOutTarget::User(user_id) => {
                self.changeable(user_id)?;
                (user_id, self.state.open_sessions(user_id, now), None)
            }
            SignOutTarget::Proven(session_id) | SignOutTarget::Session(session_id) => {
                let found = self.state.session(*session_id).filter(|session| session.is_open(now));
                // Somebody else's session is as one that never was.
                let is_proven = matches!(target, SignOutTarget::Proven(_));
                let found = found.filter(|session| is_proven || self.actor.may_change(&session.user_id));
                let Some(session) = found else { return Ok(Decided::Unchanged) };
                (&session.user_id, vec![session], Some(*session_id))
            }
        };
        if sessions.is_empty() {
            return Ok(Decided::Unchanged);
        }
        let about = About { session_id, ..About::default() };
        let user = self.state.find(user_id)?.clone();
        let mut change = self.told(user, ActivityType::SignedOut, Fact::Activity, &about);
        for session in sessions {
            self.end_session(&mut change, session);
        }
        changed(change)
    }
}
