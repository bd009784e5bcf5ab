//! API keys, and the keys that sign access tokens.

use chrono::{SubsecRound, Utc};
use openorder_auth::{ApiKey as ApiKeyText, api_key};
use openorder_proto::user::v1::{
    ApiKey as ApiKeyMessage, CreateApiKeyRequest, CreateApiKeyResponse, ListApiKeysRequest, ListApiKeysResponse,
    RevokeApiKeyRequest, RevokeApiKeyResponse, RotateSigningKeysRequest, RotateSigningKeysResponse,
};
use openorder_rpc::{RequestFingerprint, query_failed};
use openorder_service::{Commands, request_key};
use openorder_types::{CallError, Rejection, RequestId};

use crate::application::Request;
use crate::credentials::SealedKey;
use crate::domain::{Command, NewApiKey, Salt, api_key_not_allowed, api_key_not_found};
use crate::grpc::{UserCall, UserGrpc, accounts, parse};
use crate::{persistence, present};

/// Keys of a user that are listed.
const LISTED_MAX: i64 = 100;

impl UserGrpc {
    pub(super) async fn create_key(
        &self,
        call: UserCall,
        message: CreateApiKeyRequest,
    ) -> Result<CreateApiKeyResponse, CallError> {
        let new = parse::create_api_key(&message)?;
        call.may_change(&new.user_id)?;
        if call.is_by_api_key() {
            return Err(api_key_not_allowed().into());
        }
        let id: [u8; api_key::ID_BYTES] = rand::random();
        let (api_key_id, salt) = (ApiKeyText::new(&id, &[0; 32]).id().to_owned(), Salt::new(rand::random()));
        let secret_hash = self.tokens.api_key(&api_key_id, &salt)?.secret_hash();
        let command = Command::CreateApiKey(Box::new(NewApiKey {
            api_key_id,
            user_id: new.user_id,
            display_name: new.display_name,
            salt,
            secret_hash,
            expire_time: new.expire_time,
        }));
        let command = (new.request_id, command);
        let created: ApiKeyMessage = self.command(&call, "CreateApiKey", &message, command).await?;
        // Of a repeated command it is the first one's key: it is made again of what is kept.
        let stored = persistence::find_api_keys(self.backbone.pool(), &[&created.api_key_id], Vec::new()).await;
        let stored = stored.map_err(query_failed)?;
        let stored = stored.first().ok_or_else(|| api_key_not_found(&created.api_key_id))?;
        let key = self.tokens.api_key(&stored.api_key_id, &stored.salt)?.expose().to_string();
        Ok(CreateApiKeyResponse { api_key: Some(created), key })
    }

    pub(super) async fn revoke_key(
        &self,
        call: UserCall,
        message: RevokeApiKeyRequest,
    ) -> Result<RevokeApiKeyResponse, CallError> {
        let command = parse::revoke_api_key(&message)?;
        let api_key: ApiKeyMessage = self.command(&call, "RevokeApiKey", &message, command).await?;
        Ok(RevokeApiKeyResponse { api_key: Some(api_key) })
    }

    pub(super) async fn api_keys(
        &self,
        call: UserCall,
        message: ListApiKeysRequest,
    ) -> Result<ListApiKeysResponse, CallError> {
        let user_id = accounts::user_id(&message.user_id)?;
        call.may_see(&user_id)?;
        self.find(&user_id).await?;
        let found = persistence::list_api_keys(self.backbone.pool(), &user_id, LISTED_MAX).await;
        let api_keys = found.map_err(query_failed)?.iter().map(present::api_key).collect();
        Ok(ListApiKeysResponse { api_keys })
    }

    pub(super) async fn rotate_keys(
        &self,
        call: UserCall,
        message: RotateSigningKeysRequest,
    ) -> Result<RotateSigningKeysResponse, CallError> {
        let request_id = RequestId::parse(&message.request_id)
            .map_err(|error| Rejection::invalid_field("request_id", error.reason, error.message))?;
        let now = Utc::now().trunc_subsecs(6);
        let key = SealedKey::signing(&self.sealer, now, now + self.key_announce)?;
        let fingerprint = RequestFingerprint::of("RotateSigningKeys", &message);
        let request_key = request_key(&call.context, fingerprint, request_id.into_string());
        self.committer.call_under(&call.context, request_key, Request::AddSigningKey(key)).await
    }
}
