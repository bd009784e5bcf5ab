//! A call as this service sees it: who makes it, from where, in which session. Here, methods may be open to those who have
//! not signed in.

use openorder_auth::{PEER_METADATA, SESSION_METADATA, api_key};
use openorder_proto::user::v1::User as UserMessage;
use openorder_rpc::{CallContext, calls::access, rejection};
use openorder_types::{Rejection, UserId};
use tonic::{Request, Status};

use crate::credentials::Tokens;
use crate::domain::{Actor, User, user_not_found};
use crate::present;

/// Longest network address, or session, that is taken.
const LENGTH_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct UserCall {
    pub(super) context: CallContext,
    /// Network address that the call came from; empty: not known.
    pub(super) peer: String,
    /// Session or API key of the caller's token; empty: not known.
    session: String,
}

impl UserCall {
    /// Also of those who have not signed in.
    pub(super) fn anybody<T>(request: &Request<T>) -> Result<Self, Status> {
        CallContext::of_anybody(request).map(|context| Self::of(context, request)).map_err(rejection)
    }

    pub(super) fn anyone<T>(request: &Request<T>) -> Result<Self, Status> {
        access::anyone(request).map(|context| Self::of(context, request))
    }

    pub(super) fn staff_reads<T>(request: &Request<T>) -> Result<Self, Status> {
        access::staff_reads(request).map(|context| Self::of(context, request))
    }

    pub(super) fn operator<T>(request: &Request<T>) -> Result<Self, Status> {
        access::operator(request).map(|context| Self::of(context, request))
    }

    fn of<T>(context: CallContext, request: &Request<T>) -> Self {
        let text = |key| {
            let value = request.metadata().get(key).and_then(|value| value.to_str().ok());
            value.filter(|value| value.len() <= LENGTH_MAX).unwrap_or_default().to_owned()
        };
        Self { context, peer: text(PEER_METADATA), session: text(SESSION_METADATA) }
    }

    /// Whether the caller has no role: it is nobody that is known here.
    pub(super) fn is_nobody(&self) -> bool {
        self.context.caller.roles.is_empty()
    }

    pub(super) fn is_operator(&self) -> bool {
        self.context.caller.is_operator()
    }

    /// Whether the caller signed in with an API key.
    pub(super) fn is_by_api_key(&self) -> bool {
        api_key::is_id(&self.session)
    }

    pub(super) fn is_user(&self, user_id: &UserId) -> bool {
        !self.is_nobody() && self.context.caller.subject == user_id.as_str()
    }

    pub(super) fn actor(&self, tokens: &Tokens) -> Actor {
        let subject = if self.is_nobody() { String::new() } else { self.context.caller.subject.clone() };
        Actor { subject, is_operator: self.is_operator(), peer_hash: tokens.peer_hash(&self.peer) }
    }

    /// Lets those pass who may see the user: itself, operators, services and viewers. It does not exist for others.
    ///
    /// # Errors
    /// `USER_NOT_FOUND`.
    pub(super) fn may_see(&self, user_id: &UserId) -> Result<(), Rejection> {
        match self.is_user(user_id) || self.context.caller.reads_all() {
            true => Ok(()),
            false => Err(user_not_found(user_id)),
        }
    }

    /// The user as this caller sees it: one that only looks on sees neither mail address nor name.
    pub(super) fn shown(&self, user: &User) -> UserMessage {
        let shown = present::user(user);
        if self.is_user(&user.user_id) || self.context.caller.is_staff() {
            return shown;
        }
        UserMessage { email: String::new(), display_name: String::new(), ..shown }
    }

    /// Lets those pass who may change the user: itself and operators. It does not exist for others.
    ///
    /// # Errors
    /// `USER_NOT_FOUND`.
    pub(super) fn may_change(&self, user_id: &UserId) -> Result<(), Rejection> {
        match self.is_user(user_id) || self.is_operator() {
            true => Ok(()),
            false => Err(user_not_found(user_id)),
        }
    }
}

/// Implements the trait of a gRPC service from a table with a line for each method, as [`openorder_rpc::calls!`] does; the
/// last word is a function of [`UserCall`].
macro_rules! user_calls {
    (impl $service:ident for $server:ty {
        $($method:ident($request:ty) -> $response:ty = $function:ident, $access:ident;)*
    }) => {
        #[tonic::async_trait]
        impl $service for $server {
            $(
                async fn $method(
                    &self,
                    request: tonic::Request<$request>,
                ) -> Result<tonic::Response<$response>, tonic::Status> {
                    let call = $crate::grpc::call::UserCall::$access(&request)?;
                    let answer = self.$function(call, request.into_inner()).await;
                    answer.map(tonic::Response::new).map_err(openorder_rpc::status::status)
                }
            )*
        }
    };
}

pub(super) use user_calls;
