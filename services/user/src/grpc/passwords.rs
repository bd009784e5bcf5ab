//! What has to do with passwords: registration, sign-in, another password.

use openorder_messaging::RequestKey;
use openorder_proto::user::v1::{
    AuthenticateRequest, AuthenticateResponse, ChangePasswordRequest, ChangePasswordResponse, RegisterUserRequest,
    RegisterUserResponse, User as UserMessage,
};
use openorder_rpc::{RequestFingerprint, query_failed};
use openorder_service::{Commands, request_key};
use openorder_types::{CallError, EmailAddress, UserId};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use crate::application::Request;
use crate::domain::{
    CREDENTIALS_CHANGED, CURRENT_PASSWORD_WRONG, ChangePassword, ClientId, Command, Credentials, NewSession, NewUser,
    PasswordHash, Roles, Salt, SignIn, User, credentials_refused, is_common, operators_only, password_too_common,
};
use crate::grpc::parse::PasswordChange;
use crate::grpc::{UserCall, UserGrpc, parse};
use crate::persistence;

/// How often a password is compared again because another one was set meanwhile.
pub(super) const COMPARISONS_MAX: usize = 3;

impl UserGrpc {
    pub(super) async fn register(
        &self,
        call: UserCall,
        message: RegisterUserRequest,
    ) -> Result<RegisterUserResponse, CallError> {
        let new = parse::register(&message)?;
        if (new.user_id.is_some() || new.roles.is_some()) && !call.is_operator() {
            return Err(operators_only("only operators may choose a user id or roles").into());
        }
        let fingerprint = RequestFingerprint::of("RegisterUser", &message);
        let mut key = request_key(&call.context, fingerprint, new.request_id.into_string());
        if call.is_nobody() {
            // Those who have not signed in have no name: what they ask for is told apart by the mail address.
            key.caller = format!("{}/{}", call.context.caller.subject, new.email.as_str());
        }
        // What was done is answered without hashing a password again.
        if let Some(user) = self.committer.recall_call::<UserMessage>(&key).await? {
            return Ok(RegisterUserResponse { user: Some(user) });
        }
        if is_common(&new.password) {
            return Err(password_too_common().into());
        }
        let password = self.hasher.hash(new.password).await?;
        let registration_id = Uuid::now_v7();
        let own_id = || UserId::parse(&registration_id.to_string()).map_err(|_| CallError::Internal);
        let command = Command::Register(Box::new(NewUser {
            registration_id,
            user_id: new.user_id.map_or_else(own_id, Ok)?,
            email: new.email,
            display_name: new.display_name,
            roles: new.roles.unwrap_or(Roles::CUSTOMER),
            password,
        }));
        let request = Request::Command(command, call.actor(&self.tokens));
        let user: UserMessage = self.committer.call_under(&call.context, key, request).await?;
        Ok(RegisterUserResponse { user: Some(user) })
    }

    pub(super) async fn sign_in(
        &self,
        call: UserCall,
        message: AuthenticateRequest,
    ) -> Result<AuthenticateResponse, CallError> {
        let (email, client_id) = parse::authenticate(&message)?;
        let password = Zeroizing::new(message.password);
        self.limits.admit(email.as_str(), &call.peer).await?;
        let signed_in = self.begin_session(&call, &email, &password, &client_id).await;
        if signed_in.is_ok() {
            self.limits.succeeded(email.as_str(), &call.peer).await;
        } else if reason(&signed_in) != Some(credentials_refused().reason) {
            // It was not the password.
            self.limits.take_back(email.as_str(), &call.peer).await;
        }
        signed_in
    }

    async fn begin_session(
        &self,
        call: &UserCall,
        email: &EmailAddress,
        password: &Zeroizing<String>,
        client_id: &ClientId,
    ) -> Result<AuthenticateResponse, CallError> {
        for _ in 0..COMPARISONS_MAX {
            let user = persistence::find_user_by_email(self.backbone.pool(), email).await.map_err(query_failed)?;
            let kept = user.as_ref().map(|user| &user.password);
            let is_right = self.hasher.is_right(password.clone(), kept).await?;
            let Some(user) = user else { return Err(credentials_refused().into()) };
            if !is_right {
                self.note_failure(call, user.user_id);
                return Err(credentials_refused().into());
            }
            let command = Command::SignIn(Box::new(SignIn {
                rehashed: self.rehashed(&user, password).await?,
                user_id: user.user_id,
                credentials: Credentials { compared_with: user.password, are_right: true },
                session: NewSession {
                    session_id: Uuid::now_v7(),
                    salt: Salt::new(rand::random()),
                    client_id: client_id.clone(),
                },
            }));
            match self.unkept(call, command).await {
                Err(CallError::Rejected(rejection)) if rejection.reason == CREDENTIALS_CHANGED => {}
                answer => return answer?.try_into(),
            }
        }
        Err(credentials_refused().into())
    }

    /// The password as it is hashed now, if it was hashed in another way.
    async fn rehashed(&self, user: &User, password: &Zeroizing<String>) -> Result<Option<PasswordHash>, CallError> {
        if !user.is_active() || !self.hasher.is_outdated(&user.password) {
            return Ok(None);
        }
        self.hasher.hash(password.clone()).await.map(Some)
    }

    /// Written down beside the answer, which takes as long for a user that there is not. As many are under way as
    /// passwords are compared, and as the committer takes.
    fn note_failure(&self, call: &UserCall, user_id: UserId) {
        let request = Request::Command(Command::FailSignIn(user_id), call.actor(&self.tokens));
        let (committer, trace) = (self.committer.clone(), call.context.trace.clone());
        tokio::spawn(async move {
            if let Err(error) = committer.submit(None, request, trace, None).await {
                tracing::debug!(%error, "a failed sign-in was not written down");
            }
        });
    }

    pub(super) async fn set_password(
        &self,
        call: UserCall,
        message: ChangePasswordRequest,
    ) -> Result<ChangePasswordResponse, CallError> {
        let needs_current = |user_id: &UserId| !call.is_operator() || call.is_user(user_id);
        let change = parse::change_password(&message, needs_current)?;
        call.may_change(&change.user_id)?;
        let fingerprint = RequestFingerprint::of("ChangePassword", &message);
        let key = request_key(&call.context, fingerprint, change.request_id.to_string());
        if let Some(response) = self.committer.recall_call::<ChangePasswordResponse>(&key).await? {
            return Ok(response);
        }
        if is_common(&message.new_password) {
            return Err(password_too_common().into());
        }
        let current = Some(Zeroizing::new(message.current_password)).filter(|current| !current.is_empty());
        let (who, is_tried) = (change.user_id.as_str(), current.is_some());
        if is_tried {
            self.limits.admit(who, &call.peer).await?;
        }
        let new = Zeroizing::new(message.new_password);
        let answer = self.replace_password(&call, key, &change, current.as_ref(), new).await;
        if is_tried {
            let (is_right, is_wrong) = (answer.is_ok(), reason(&answer) == Some(CURRENT_PASSWORD_WRONG));
            self.has_tried(who, &call.peer, is_right, is_wrong).await;
        }
        answer
    }

    async fn replace_password(
        &self,
        call: &UserCall,
        key: RequestKey,
        change: &PasswordChange,
        current: Option<&Zeroizing<String>>,
        new: Zeroizing<String>,
    ) -> Result<ChangePasswordResponse, CallError> {
        let new = self.hasher.hash(new).await?;
        for _ in 0..COMPARISONS_MAX {
            let command = self.password_command(change, current, &new).await?;
            let request = Request::Command(command, call.actor(&self.tokens));
            let answer = self.committer.call_under(&call.context, key.clone(), request).await;
            if reason(&answer) != Some(CREDENTIALS_CHANGED) {
                return answer;
            }
        }
        Err(CallError::Internal)
    }

    async fn password_command(
        &self,
        change: &PasswordChange,
        current: Option<&Zeroizing<String>>,
        new: &PasswordHash,
    ) -> Result<Command, CallError> {
        let current = match current {
            None => None,
            Some(current) => Some(self.compared(&change.user_id, current).await?),
        };
        Ok(Command::ChangePassword(Box::new(ChangePassword {
            user_id: change.user_id.clone(),
            current,
            new: new.clone(),
            keep_session_id: change.keep_session_id,
        })))
    }
}

impl UserGrpc {
    /// Counts how a try of a user's current password ended; neither right nor wrong: it was not looked at.
    pub(super) async fn has_tried(&self, who: &str, peer: &str, is_right: bool, is_wrong: bool) {
        if is_right {
            self.limits.succeeded(who, peer).await;
        } else if !is_wrong {
            self.limits.take_back(who, peer).await;
        }
    }

    /// Whether a password is the user's, and what it was compared with.
    pub(super) async fn compared(
        &self,
        user_id: &UserId,
        password: &Zeroizing<String>,
    ) -> Result<Credentials, CallError> {
        let compared_with = self.find(user_id).await?.password;
        let are_right = self.hasher.is_right(password.clone(), Some(&compared_with)).await?;
        Ok(Credentials { compared_with, are_right })
    }
}

/// Of a rejection.
pub(super) fn reason<T>(answer: &Result<T, CallError>) -> Option<&'static str> {
    match answer {
        Err(CallError::Rejected(rejection)) => Some(rejection.reason),
        _ => None,
    }
}
