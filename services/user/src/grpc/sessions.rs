//! Sessions: refreshed and ended.

use openorder_proto::user::v1::{
    RefreshTokenRequest, RefreshTokenResponse, SignOutRequest, SignOutResponse, sign_out_request::Target,
};
use openorder_rpc::{Violations, query_failed};
use openorder_types::{CallError, Rejection, UserId, parse_uuid};

use crate::application::UserReply;
use crate::credentials::RefreshToken;
use crate::domain::{Command, SignOutTarget, refresh_token_refused, refresh_token_reused};
use crate::grpc::{UserCall, UserGrpc};
use crate::persistence;

impl UserGrpc {
    pub(super) async fn refresh(
        &self,
        call: UserCall,
        message: RefreshTokenRequest,
    ) -> Result<RefreshTokenResponse, CallError> {
        if message.refresh_token.is_empty() {
            return Err(Rejection::invalid_field("refresh_token", "FIELD_MISSING", "must be set").into());
        }
        let presented = self.presented(&message.refresh_token).await?.ok_or_else(refresh_token_refused)?;
        let command = Command::Refresh { session_id: presented.session_id, generation: presented.generation };
        match self.unkept(&call, command).await? {
            UserReply::Noted => Err(refresh_token_reused().into()),
            reply => reply.try_into(),
        }
    }

    pub(super) async fn end_sessions(
        &self,
        call: UserCall,
        message: SignOutRequest,
    ) -> Result<SignOutResponse, CallError> {
        let target = match target(message.target)? {
            Asked::RefreshToken(text) => match self.presented(&text).await? {
                Some(presented) => SignOutTarget::Proven(presented.session_id),
                // What is no token of a session is of none that goes on.
                None => return Ok(SignOutResponse::default()),
            },
            Asked::Other(target) => target,
        };
        self.unkept(&call, Command::SignOut(target)).await?.try_into()
    }

    /// The token, if this service has made it. Its session's salt never changes: it is read before anything is decided.
    async fn presented(&self, text: &str) -> Result<Option<RefreshToken>, CallError> {
        let Some(presented) = RefreshToken::parse(text) else { return Ok(None) };
        let found = persistence::find_sessions(self.backbone.pool(), &[presented.session_id], Vec::new()).await;
        let found = found.map_err(query_failed)?;
        let is_ours = found.first().is_some_and(|session| self.tokens.is_made_here(&presented, &session.salt));
        Ok(is_ours.then_some(presented))
    }
}

/// What is asked to be ended.
enum Asked {
    RefreshToken(String),
    Other(SignOutTarget),
}

fn target(target: Option<Target>) -> Result<Asked, Rejection> {
    let mut violations = Violations::new();
    let asked = violations.required("target", target).and_then(|target| match target {
        Target::RefreshToken(text) => Some(Asked::RefreshToken(text)),
        Target::SessionId(text) => {
            let session_id = violations.take("session_id", parse_uuid(&text, "SESSION_ID_MALFORMED"));
            session_id.map(|session_id| Asked::Other(SignOutTarget::Session(session_id)))
        }
        Target::UserId(text) => {
            let user_id = violations.take("user_id", UserId::parse(&text));
            user_id.map(|user_id| Asked::Other(SignOutTarget::User(user_id)))
        }
    });
    asked.ok_or_else(|| violations.into_rejection())
}
