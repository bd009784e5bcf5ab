//! What a batch touches: loaded and locked once, changed in memory, written once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use openorder_messaging::{Envelope, UnitOfWork};
use openorder_proto::user::v1::{
    AuthenticateResponse, ChangePasswordResponse, RefreshTokenResponse, RotateSigningKeysResponse, SignOutResponse,
};
use openorder_rpc::timestamp_to_proto;
use openorder_service::NewEvents;
use openorder_types::{Fault, Rejection, UserId};
use uuid::Uuid;

use crate::application::{Request, UserReply, events};
use crate::credentials::{SealedKey, Tokens};
use crate::domain::{
    Activity, Actor, Change, Command, Decided, Revocation, Rules, State, api_key_not_found, decide,
    refresh_token_refused, user_not_found,
};
use crate::{persistence, present};

type Outcome = Result<UserReply, Rejection>;

pub(crate) struct WorkingSet<'a> {
    tokens: &'a Tokens,
    rules: Rules,
    state: State,
    stored_users: HashSet<UserId>,
    stored_sessions: HashSet<Uuid>,
    stored_api_keys: HashSet<String>,
    changed_users: BTreeSet<String>,
    changed_sessions: BTreeSet<Uuid>,
    changed_api_keys: BTreeSet<String>,
    /// Users that are nobody any more, as of this batch.
    erased_users: BTreeSet<String>,
    activities: Vec<Activity>,
    revocations: Vec<Revocation>,
    signing_keys: BTreeMap<String, SealedKey>,
    events: NewEvents,
}

impl<'a> WorkingSet<'a> {
    /// Locks every user that the batch is about, and reads those of their sessions and API keys that it may touch: nobody
    /// else changes them meanwhile.
    pub(crate) async fn load(
        unit: &mut UnitOfWork,
        batch: &[Envelope<'_, Request>],
        tokens: &'a Tokens,
        rules: Rules,
    ) -> Result<Self, Fault> {
        let commands: Vec<&Command> = batch.iter().filter_map(|envelope| command(envelope.command)).collect();
        let session_ids: Vec<Uuid> = commands.iter().filter_map(|command| command.session_id()).collect();
        let key_ids: Vec<&str> = commands.iter().filter_map(|command| command.api_key_id()).collect();
        let named = |wanted: fn(&Command) -> bool| -> Vec<String> {
            let commands = commands.iter().filter(|command| wanted(command));
            commands.filter_map(|command| command.user_id()).map(UserId::to_string).collect()
        };
        let mut user_ids = named(|_| true);
        user_ids.extend(persistence::find_session_owners(unit.connection(), &session_ids).await?);
        user_ids.extend(persistence::find_api_key_owners(unit.connection(), &key_ids).await?);
        let emails = commands.iter().filter_map(|command| command.email()).map(|email| email.as_str().to_owned());
        let users = persistence::lock_users(unit.connection(), user_ids, emails.collect()).await?;
        let all_of = named(Command::concerns_all_sessions);
        let sessions = persistence::find_sessions(&mut *unit.connection(), &session_ids, all_of).await?;
        let all_of = named(Command::concerns_all_api_keys);
        let api_keys = persistence::find_api_keys(&mut *unit.connection(), &key_ids, all_of).await?;
        Ok(Self {
            tokens,
            rules,
            stored_users: users.iter().map(|user| user.user_id.clone()).collect(),
            stored_sessions: sessions.iter().map(|session| session.session_id).collect(),
            stored_api_keys: api_keys.iter().map(|key| key.api_key_id.clone()).collect(),
            state: State::of(users, sessions, api_keys),
            changed_users: BTreeSet::new(),
            changed_sessions: BTreeSet::new(),
            changed_api_keys: BTreeSet::new(),
            erased_users: BTreeSet::new(),
            activities: Vec::new(),
            revocations: Vec::new(),
            signing_keys: BTreeMap::new(),
            events: NewEvents::default(),
        })
    }

    /// Decides one command, whose index in the batch this is, on what the commands before it have left.
    ///
    /// # Errors
    /// A fault: there is no key to sign with.
    pub(crate) fn execute(&mut self, index: usize, request: &Request) -> Result<Outcome, Fault> {
        self.events.begin_command(index);
        let (command, actor) = match request {
            Request::Command(command, actor) => (command, actor),
            Request::AddSigningKey(key) => {
                self.signing_keys.insert(key.key_id.clone(), key.clone());
                let activate_time = Some(timestamp_to_proto(&key.activate_time));
                let reply = RotateSigningKeysResponse { key_id: key.key_id.clone(), activate_time };
                return Ok(Ok(UserReply::SigningKey(reply)));
            }
        };
        self.decide(command, actor)
    }

    fn decide(&mut self, command: &Command, actor: &Actor) -> Result<Outcome, Fault> {
        let decided = match decide(&self.state, command, actor, &self.rules) {
            Ok(decided) => decided,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let ended = match &decided {
            Decided::Changed(change) | Decided::Compromised(change) => {
                self.apply(change);
                change.sessions.iter().filter(|session| session.end_time.is_some()).count()
            }
            Decided::Unchanged => 0,
        };
        if let Decided::Compromised(_) = decided {
            // The session has ended, which is to be kept: the caller is refused when that is durable.
            return Ok(Ok(UserReply::Noted));
        }
        self.reply(command, i32::try_from(ended).unwrap_or(i32::MAX))
    }

    fn apply(&mut self, change: &Change) {
        self.state.apply(change);
        self.changed_users.insert(change.user.user_id.to_string());
        if change.user.is_erased() {
            self.erased_users.insert(change.user.user_id.to_string());
        }
        self.changed_sessions.extend(change.sessions.iter().map(|session| session.session_id));
        self.changed_api_keys.extend(change.api_keys.iter().map(|key| key.api_key_id.clone()));
        self.activities.extend(change.activity.iter().map(|(activity, _)| activity.clone()));
        self.revocations.extend(change.revocations.iter().cloned());
        events::publish(&mut self.events, change);
    }

    fn reply(&self, command: &Command, ended_sessions: i32) -> Result<Outcome, Fault> {
        let user = |user_id: &UserId| {
            let found = self.state.user(user_id).ok_or_else(|| user_not_found(user_id));
            found.map(|user| UserReply::User(present::user(user)))
        };
        let api_key = |id: &str| {
            let found = self.state.api_key(id).ok_or_else(|| api_key_not_found(id));
            found.map(|key| UserReply::ApiKey(present::api_key(key)))
        };
        Ok(match command {
            Command::Register(new) => user(&new.user_id),
            Command::UpdateProfile(update) => user(&update.user_id),
            Command::AssignRoles { user_id, .. } | Command::SetState { user_id, .. } => user(user_id),
            Command::Erase(erasure) => user(&erasure.user_id),
            Command::CreateApiKey(new) => api_key(&new.api_key_id),
            Command::RevokeApiKey(id) => api_key(id),
            Command::ChangePassword(_) => Ok(UserReply::PasswordChanged(ChangePasswordResponse { ended_sessions })),
            Command::SignOut(_) => Ok(UserReply::SignedOut(SignOutResponse { ended_sessions })),
            Command::FailSignIn(_) => Ok(UserReply::Noted),
            Command::SignIn(sign_in) => return self.signed_in(sign_in.session.session_id),
            Command::Refresh { session_id, .. } => return self.refreshed(*session_id),
        })
    }

    fn signed_in(&self, session_id: Uuid) -> Result<Outcome, Fault> {
        let Some(session) = self.state.session(session_id) else { return Ok(Err(refresh_token_refused())) };
        let Some(user) = self.state.user(&session.user_id) else { return Ok(Err(refresh_token_refused())) };
        let tokens = self.tokens.session(session, user, self.rules.now)?;
        let reply = AuthenticateResponse { user: Some(present::user(user)), session: Some(tokens) };
        Ok(Ok(UserReply::SignedIn(reply)))
    }

    fn refreshed(&self, session_id: Uuid) -> Result<Outcome, Fault> {
        let outcome = self.signed_in(session_id)?;
        Ok(outcome.map(|reply| match reply {
            UserReply::SignedIn(AuthenticateResponse { session, .. }) => {
                UserReply::Refreshed(RefreshTokenResponse { session })
            }
            other => other,
        }))
    }

    /// Writes what changed and hands the events to the unit of work.
    pub(crate) async fn save(self, unit: &mut UnitOfWork) -> Result<(), Fault> {
        let users = self.changed_users.iter().filter_map(|id| self.state.user(&UserId::parse(id).ok()?));
        let (stored, new): (Vec<_>, Vec<_>) = users.partition(|user| self.stored_users.contains(&user.user_id));
        persistence::save_users(unit.connection(), &new, &stored).await?;
        let sessions = self.changed_sessions.iter().filter_map(|id| self.state.session(*id));
        let (stored, new): (Vec<_>, Vec<_>) =
            sessions.partition(|session| self.stored_sessions.contains(&session.session_id));
        persistence::save_sessions(unit.connection(), &new, &stored).await?;
        let api_keys = self.changed_api_keys.iter().filter_map(|id| self.state.api_key(id));
        let (stored, new): (Vec<_>, Vec<_>) = api_keys.partition(|key| self.stored_api_keys.contains(&key.api_key_id));
        persistence::save_api_keys(unit.connection(), &new, &stored).await?;
        persistence::add_activities(unit.connection(), &self.activities).await?;
        persistence::forget_persons(unit.connection(), self.erased_users.iter().cloned().collect()).await?;
        for key in self.signing_keys.values() {
            persistence::add_server_key(&mut *unit.connection(), key).await?;
        }
        // Last: its lock is held until the commit.
        persistence::add_revocations(unit.connection(), &self.revocations).await?;
        self.events.append_to(unit);
        Ok(())
    }
}

fn command(request: &Request) -> Option<&Command> {
    match request {
        Request::Command(command, _) => Some(command),
        Request::AddSigningKey(_) => None,
    }
}
