//! `openorder.user.v1.UserService`, and `openorder.internal.user.v1.TrustService` for the gateway: parse, call, answer.
//!
//! - `call.rs`: who calls, from where, in which session;
//! - `accounts.rs`: users themselves; `erasure.rs`: their end; `passwords.rs`: what has to do with passwords; `sessions.rs`: refreshed and ended;
//! - `keys.rs`: API keys and signing keys; `trust.rs`: what the gateway asks;
//! - `limits/`: how fast passwords may be tried.

mod accounts;
mod call;
mod erasure;
mod keys;
mod limits;
mod parse;
mod passwords;
mod sessions;
mod trust;

use std::sync::Arc;

use chrono::TimeDelta;
use openorder_messaging::{Backbone, Committer};
use openorder_proto::internal::user::v1::{
    ExchangeApiKeyRequest, ExchangeApiKeyResponse, GetTrustRequest, GetTrustResponse,
    trust_service_server::{TrustService, TrustServiceServer},
};
use openorder_proto::user::v1::{
    AssignRoleRequest, AssignRoleResponse, AuthenticateRequest, AuthenticateResponse, ChangePasswordRequest,
    ChangePasswordResponse, CreateApiKeyRequest, CreateApiKeyResponse, DisableUserRequest, DisableUserResponse,
    EnableUserRequest, EnableUserResponse, EraseUserRequest, EraseUserResponse, GetUserRequest, GetUserResponse,
    ListApiKeysRequest, ListApiKeysResponse, ListUserActivityRequest, ListUserActivityResponse, ListUsersRequest,
    ListUsersResponse, RefreshTokenRequest, RefreshTokenResponse, RegisterUserRequest, RegisterUserResponse,
    RevokeApiKeyRequest, RevokeApiKeyResponse, RotateSigningKeysRequest, RotateSigningKeysResponse, SignOutRequest,
    SignOutResponse, UpdateProfileRequest, UpdateProfileResponse,
    user_service_server::{UserService, UserServiceServer},
};
use openorder_rpc::{PageTokens, RequestFingerprint};
use openorder_service::{Commands, request_key};
use openorder_telemetry::RoleTelemetry;
use openorder_types::{CallError, RequestId};
use prost::{Message, Name};
use tonic::service::Routes;

use crate::application::{Request, UserReply, Users, milliseconds};
use crate::config::UserSettings;
use crate::credentials::{Hasher, Sealer, Tokens};
use crate::domain::Command;
use crate::grpc::call::{UserCall, user_calls};
use crate::grpc::limits::Limits;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct UserGrpc {
    backbone: Arc<Backbone>,
    committer: Committer<Users>,
    page_tokens: PageTokens,
    tokens: Tokens,
    sealer: Arc<Sealer>,
    hasher: Arc<Hasher>,
    limits: Arc<Limits>,
    key_announce: TimeDelta,
    key_use_interval: TimeDelta,
}

/// What the routes are made of.
pub(crate) struct Parts {
    pub(crate) backbone: Arc<Backbone>,
    pub(crate) committer: Committer<Users>,
    pub(crate) page_tokens: PageTokens,
    pub(crate) tokens: Tokens,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) hasher: Hasher,
    pub(crate) telemetry: RoleTelemetry,
}

/// The service's routes.
///
/// # Errors
/// Redis' URL is none.
pub(crate) fn service(parts: Parts, settings: &UserSettings) -> anyhow::Result<Routes> {
    let limits = Limits::new(settings, parts.tokens.clone(), parts.telemetry)?;
    let grpc = UserGrpc {
        backbone: parts.backbone,
        committer: parts.committer,
        page_tokens: parts.page_tokens,
        tokens: parts.tokens,
        sealer: parts.sealer,
        hasher: Arc::new(parts.hasher),
        limits: Arc::new(limits),
        key_announce: milliseconds(settings.signing_key_announce_ms),
        key_use_interval: milliseconds(settings.api_key_use_interval_ms),
    };
    Ok(Routes::new(UserServiceServer::new(grpc.clone())).add_service(TrustServiceServer::new(grpc)))
}

impl UserGrpc {
    /// Submits a command under its request id.
    async fn command<R, M>(
        &self,
        call: &UserCall,
        method: &'static str,
        message: &M,
        (request_id, command): (RequestId, Command),
    ) -> Result<R, CallError>
    where
        R: TryFrom<UserReply, Error = CallError> + Send,
        M: Message + Name,
    {
        let key = request_key(&call.context, RequestFingerprint::of(method, message), request_id.into_string());
        self.committer.call_under(&call.context, key, Request::Command(command, call.actor(&self.tokens))).await
    }

    /// Submits a command that has no request id: nothing of its answer is kept.
    async fn unkept(&self, call: &UserCall, command: Command) -> Result<UserReply, CallError> {
        let request = Request::Command(command, call.actor(&self.tokens));
        self.committer.submit(None, request, call.context.trace.clone(), call.context.deadline).await
    }
}

user_calls! {
    impl UserService for UserGrpc {
        register_user(RegisterUserRequest) -> RegisterUserResponse = register, anybody;
        authenticate(AuthenticateRequest) -> AuthenticateResponse = sign_in, anybody;
        refresh_token(RefreshTokenRequest) -> RefreshTokenResponse = refresh, anybody;
        sign_out(SignOutRequest) -> SignOutResponse = end_sessions, anybody;
        change_password(ChangePasswordRequest) -> ChangePasswordResponse = set_password, anyone;
        get_user(GetUserRequest) -> GetUserResponse = user, anyone;
        update_profile(UpdateProfileRequest) -> UpdateProfileResponse = update, anyone;
        assign_role(AssignRoleRequest) -> AssignRoleResponse = assign, operator;
        disable_user(DisableUserRequest) -> DisableUserResponse = disable, operator;
        enable_user(EnableUserRequest) -> EnableUserResponse = enable, operator;
        erase_user(EraseUserRequest) -> EraseUserResponse = erase, anyone;
        list_users(ListUsersRequest) -> ListUsersResponse = users, staff_reads;
        list_user_activity(ListUserActivityRequest) -> ListUserActivityResponse = activities, anyone;
        create_api_key(CreateApiKeyRequest) -> CreateApiKeyResponse = create_key, anyone;
        revoke_api_key(RevokeApiKeyRequest) -> RevokeApiKeyResponse = revoke_key, anyone;
        list_api_keys(ListApiKeysRequest) -> ListApiKeysResponse = api_keys, anyone;
        rotate_signing_keys(RotateSigningKeysRequest) -> RotateSigningKeysResponse = rotate_keys, operator;
    }
}

user_calls! {
    impl TrustService for UserGrpc {
        get_trust(GetTrustRequest) -> GetTrustResponse = trust, anybody;
        exchange_api_key(ExchangeApiKeyRequest) -> ExchangeApiKeyResponse = exchange, anybody;
    }
}
