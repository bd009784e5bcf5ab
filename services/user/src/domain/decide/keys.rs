//! API keys: made and revoked.

use openorder_types::Rejection;

use crate::domain::decide::{About, Asked, Decided, changed, not_erased};
use crate::domain::{ActivityType, ApiKey, Fact, NewApiKey, RevocationTarget, rejection};

impl Asked<'_> {
    pub(super) fn create_api_key(&self, new: &NewApiKey) -> Result<Decided, Rejection> {
        let user = self.changeable(&new.user_id)?;
        let now = self.rules.now;
        not_erased(user)?;
        if !user.is_active() {
            return Err(rejection::user_disabled(&new.user_id));
        }
        if new.expire_time.is_some_and(|end| end <= now) {
            return Err(rejection::expired_already(now));
        }
        if self.state.active_api_keys(&new.user_id, now).len() >= self.rules.api_keys_max {
            return Err(rejection::api_key_limit_reached(&new.user_id, self.rules.api_keys_max));
        }
        let about = About { api_key_id: Some(&new.api_key_id), ..About::default() };
        let mut change = self.told(user.clone(), ActivityType::ApiKeyCreated, Fact::Activity, &about);
        change.api_keys.push(ApiKey {
            api_key_id: new.api_key_id.clone(),
            user_id: new.user_id.clone(),
            display_name: new.display_name.clone(),
            salt: new.salt.clone(),
            secret_hash: new.secret_hash,
            create_time: now,
            expire_time: new.expire_time,
            last_use_time: None,
            revoke_time: None,
        });
        changed(change)
    }

    pub(super) fn revoke_api_key(&self, api_key_id: &str) -> Result<Decided, Rejection> {
        let found = self.state.api_key(api_key_id).filter(|key| self.actor.may_change(&key.user_id));
        let key = found.ok_or_else(|| rejection::api_key_not_found(api_key_id))?;
        if key.revoke_time.is_some() {
            return Ok(Decided::Unchanged);
        }
        let user = self.state.find(&key.user_id)?.clone();
        let about = About { api_key_id: Some(api_key_id), ..About::default() };
        let mut change = self.told(user, ActivityType::ApiKeyRevoked, Fact::Activity, &about);
        change.api_keys.push(ApiKey { revoke_time: Some(self.rules.now), ..key.clone() });
        change.revocations.push(self.revoked(RevocationTarget::Session(api_key_id.to_owned())));
        changed(change)
    }
}
