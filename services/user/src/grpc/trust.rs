//! What the gateway asks: by which keys tokens are verified, what was revoked, and a token for an API key.

use chrono::{SubsecRound, Utc};
use openorder_auth::ApiKey as ApiKeyText;
use openorder_proto::internal::user::v1::{
    ExchangeApiKeyRequest, ExchangeApiKeyResponse, GetTrustRequest, GetTrustResponse, TrustedKey,
};
use openorder_rpc::{query_failed, timestamp_to_proto};
use openorder_types::CallError;

use crate::domain::api_key_unknown;
use crate::grpc::{UserCall, UserGrpc};
use crate::{persistence, present};

/// Revocations of one answer at most.
const REVOCATIONS_MAX: usize = 10_000;
/// Keys of one answer at most.
const KEYS_MAX: usize = 16;

impl UserGrpc {
    pub(super) async fn trust(&self, _: UserCall, message: GetTrustRequest) -> Result<GetTrustResponse, CallError> {
        let keys = self.tokens.keyring().keys();
        let trusted = keys.signing().iter().take(KEYS_MAX).map(|signing| TrustedKey {
            key_id: signing.key.key_id().to_owned(),
            public_key: signing.key.public_key().to_vec(),
        });
        let limit = i64::try_from(REVOCATIONS_MAX).unwrap_or(i64::MAX).saturating_add(1);
        let found = persistence::find_revocations(self.backbone.pool(), message.since.max(0), Utc::now(), limit).await;
        let (mut found, last) = found.map_err(query_failed)?;
        let has_more = found.len() > REVOCATIONS_MAX;
        found.truncate(REVOCATIONS_MAX);
        // Without more, all up to the last one are known, also those that do not matter any more.
        let position = if has_more { found.last().map_or(last, |(position, _)| *position) } else { last };
        Ok(GetTrustResponse {
            issuer: self.tokens.issuer().to_owned(),
            keys: trusted.collect(),
            revocations: found.iter().map(|(_, revocation)| present::revoked(revocation)).collect(),
            position,
            has_more,
        })
    }

    pub(super) async fn exchange(
        &self,
        _: UserCall,
        message: ExchangeApiKeyRequest,
    ) -> Result<ExchangeApiKeyResponse, CallError> {
        let presented = ApiKeyText::parse(&message.api_key).ok_or_else(api_key_unknown)?;
        let (pool, now) = (self.backbone.pool(), Utc::now().trunc_subsecs(6));
        let found = persistence::find_api_keys(pool, &[presented.id()], Vec::new()).await.map_err(query_failed)?;
        let key = found.first().filter(|key| presented.matches(&key.secret_hash) && key.is_active(now));
        let key = key.ok_or_else(api_key_unknown)?;
        let user = persistence::find_user(pool, &key.user_id).await.map_err(query_failed)?;
        let user = user.filter(|user| user.is_active()).ok_or_else(api_key_unknown)?;
        if key.last_use_time.is_none_or(|last| now - last >= self.key_use_interval) {
            let noted = persistence::note_use(pool, &key.api_key_id, now, now - self.key_use_interval).await;
            noted.map_err(query_failed)?;
        }
        let (access_token, end) = self.tokens.of_api_key(key, &user, now)?;
        Ok(ExchangeApiKeyResponse { access_token, expire_time: Some(timestamp_to_proto(&end)) })
    }
}
