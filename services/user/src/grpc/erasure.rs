//! A user is erased: by an operator, or by itself with its password.

use openorder_messaging::RequestKey;
use openorder_proto::user::v1::{EraseUserRequest, EraseUserResponse, User as UserMessage};
use openorder_rpc::RequestFingerprint;
use openorder_service::{Commands, request_key};
use openorder_types::{CallError, UserId};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use crate::application::Request;
use crate::domain::{
    CREDENTIALS_CHANGED, CURRENT_PASSWORD_WRONG, Command, Credentials, Erasure, UserName, parse_email,
};
use crate::grpc::passwords::{COMPARISONS_MAX, reason};
use crate::grpc::{UserCall, UserGrpc, parse};

impl UserGrpc {
    pub(super) async fn erase(
        &self,
        call: UserCall,
        message: EraseUserRequest,
    ) -> Result<EraseUserResponse, CallError> {
        let needs_current = |user_id: &UserId| !call.is_operator() || call.is_user(user_id);
        let parse::Erased { request_id, user_id } = parse::erase(&message, needs_current)?;
        call.may_change(&user_id)?;
        let fingerprint = RequestFingerprint::of("EraseUser", &message);
        let key = request_key(&call.context, fingerprint, request_id.into_string());
        // What was done is answered without a password that there is no more.
        if let Some(user) = self.committer.recall_call::<UserMessage>(&key).await? {
            return Ok(EraseUserResponse { user: Some(user) });
        }
        let current = Some(Zeroizing::new(message.current_password)).filter(|current| !current.is_empty());
        let is_tried = current.is_some();
        if is_tried {
            self.limits.admit(user_id.as_str(), &call.peer).await?;
        }
        let answer = self.take_out(&call, key, &user_id, current.as_ref()).await;
        if is_tried {
            let (is_right, is_wrong) = (answer.is_ok(), reason(&answer) == Some(CURRENT_PASSWORD_WRONG));
            self.has_tried(user_id.as_str(), &call.peer, is_right, is_wrong).await;
        }
        Ok(EraseUserResponse { user: Some(answer?) })
    }

    async fn take_out(
        &self,
        call: &UserCall,
        key: RequestKey,
        user_id: &UserId,
        current: Option<&Zeroizing<String>>,
    ) -> Result<UserMessage, CallError> {
        for _ in 0..COMPARISONS_MAX {
            let current = match current {
                Some(current) => Some(self.compared(user_id, current).await?),
                None => None,
            };
            let command = Command::Erase(Box::new(erasure(user_id, current)?));
            let request = Request::Command(command, call.actor(&self.tokens));
            let answer = self.committer.call_under(&call.context, key.clone(), request).await;
            if reason(&answer) != Some(CREDENTIALS_CHANGED) {
                return answer;
            }
        }
        Err(CallError::Internal)
    }
}

/// With a mail address that nobody can have: names below `invalid` lead nowhere (RFC 2606).
fn erasure(user_id: &UserId, current: Option<Credentials>) -> Result<Erasure, CallError> {
    let email = format!("{}@erased.invalid", Uuid::new_v4().simple());
    Ok(Erasure {
        user_id: user_id.clone(),
        current,
        email: parse_email(&email).map_err(|_| CallError::Internal)?,
        display_name: UserName::parse("").map_err(|_| CallError::Internal)?,
    })
}
