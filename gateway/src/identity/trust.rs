//! Which tokens of the user service are believed, and which are so no more.
//!
//! It is what the user service said last. While that is away it stays as it was: who has a token goes on, and only
//! signing in has to wait.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, ensure};
use bytes::Bytes;
use openorder_auth::{
    ACCESS_TOKEN_TYPE, AUDIENCE, Claims, Expected, LEEWAY_SECONDS, TokenError, VerifyingKey, jwk_set, verify,
};
use openorder_proto::internal::user::v1::{GetTrustResponse, Revocation, TrustedKey, revocation::Target};
use tokio::sync::Notify;

/// What is known; nothing before the user service has answered once.
#[derive(Default)]
pub(crate) struct Trust {
    known: RwLock<Option<Arc<Known>>>,
    /// One more whenever tokens may not be believed any more that were before.
    generation: AtomicU64,
    /// Told then.
    changed: Notify,
}

/// What the user service said.
pub(crate) struct Known {
    issuer: String,
    keys: HashMap<String, VerifyingKey>,
    /// The keys as `/.well-known/jwks.json` has them.
    jwks: Bytes,
    revoked: Arc<Revoked>,
}

/// What was revoked, by session and by user.
#[derive(Clone, Default)]
struct Revoked {
    sessions: HashMap<String, Cut>,
    users: HashMap<String, Cut>,
}

/// Tokens that were issued in this second or before are refused. Both in seconds since 1970.
#[derive(Clone, Copy)]
struct Cut {
    issued: i64,
    /// From then on there are none of them any more.
    until: i64,
}

/// What a token is believed by, and may be revoked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) key_id: String,
    pub(crate) subject: String,
    pub(crate) session_id: String,
    pub(crate) issued: i64,
}

impl Trust {
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was found out about a token under an earlier generation has to be looked at again.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns when tokens of this origin were revoked.
    pub(crate) async fn revoked(&self, origin: &Origin) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before the look, so that no change falls between.
            changed.as_mut().enable();
            if self.known().is_some_and(|known| known.has_revoked(origin)) {
                return;
            }
            changed.await;
        }
    }

    /// Takes over an answer of the user service, and the revocations that came with it.
    ///
    /// # Errors
    ///
    /// When it cannot be one: then everything stays as it was.
    pub(crate) fn apply(&self, answer: GetTrustResponse, now: i64) -> anyhow::Result<()> {
        ensure!(!answer.issuer.is_empty(), "it names no issuer");
        let pairs: Vec<_> = answer.keys.into_iter().map(pair).collect::<anyhow::Result<_>>()?;
        ensure!(!pairs.is_empty(), "it has no key");
        let mut keys = HashMap::with_capacity(pairs.len());
        for (key_id, public_key) in &pairs {
            keys.insert(key_id.clone(), VerifyingKey::from_ed25519(public_key)?);
        }
        let before = self.known();
        let (revoked, is_less) = match before.as_deref() {
            None => (Arc::new(Revoked::default().with(answer.revocations, now)), true),
            Some(before) => {
                let stays =
                    keys.len() >= before.keys.len() && before.keys.keys().all(|key_id| keys.contains_key(key_id));
                let is_less = !answer.revocations.is_empty() || !stays || before.issuer != answer.issuer;
                let revoked = match answer.revocations.is_empty() {
                    true => Arc::clone(&before.revoked),
                    false => Arc::new(Revoked::clone(&before.revoked).with(answer.revocations, now)),
                };
                (revoked, is_less)
            }
        };
        let jwks = Bytes::from(jwk_set(&pairs).to_string());
        let known = Arc::new(Known { issuer: answer.issuer, keys, jwks, revoked });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        if is_less {
            // After it is there: who sees the new number sees the new state as well.
            self.generation.fetch_add(1, Ordering::Release);
            self.changed.notify_waiters();
        }
        Ok(())
    }
}

impl Known {
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public keys as a JWK set.
    pub(crate) fn jwks(&self) -> &Bytes {
        &self.jwks
    }

    /// The claims of a token that is signed with the key that it names and has not ended.
    pub(crate) fn verify(&self, token: &str, key_id: &str, now: i64) -> Result<Claims, TokenError> {
        let key = self.keys.get(key_id).ok_or(TokenError::UnknownKey)?;
        let expected = Expected {
            issuer: &self.issuer,
            audience: AUDIENCE,
            typ: ACCESS_TOKEN_TYPE,
            leeway_seconds: LEEWAY_SECONDS,
        };
        verify(token, key, &expected, now)
    }

    /// Whether a token that was believed before still is.
    pub(crate) fn still_believes(&self, origin: &Origin) -> bool {
        self.keys.contains_key(&origin.key_id) && !self.has_revoked(origin)
    }

    fn has_revoked(&self, origin: &Origin) -> bool {
        // A session or key that has ended has, whenever a token of it was issued: one of the second in which the user's
        // tokens were revoked is dated a second later.
        let has_ended = self.revoked.sessions.contains_key(&origin.session_id);
        has_ended || self.revoked.users.get(&origin.subject).is_some_and(|cut| origin.issued <= cut.issued)
    }
}

impl Revoked {
    fn with(mut self, revocations: Vec<Revocation>, now: i64) -> Self {
        for Revocation { target, revoke_time, expire_time } in revocations {
            let seconds = |time: Option<prost_types::Timestamp>| time.map(|time| time.seconds);
            let (Some(target), Some(issued), Some(until)) = (target, seconds(revoke_time), seconds(expire_time)) else {
                tracing::warn!("a revocation without its target or its times was passed over");
                continue;
            };
            let (cuts, name) = match target {
                Target::SessionId(session_id) => (&mut self.sessions, session_id),
                Target::UserId(user_id) => (&mut self.users, user_id),
            };
            let cut = cuts.entry(name).or_insert(Cut { issued, until });
            *cut = Cut { issued: cut.issued.max(issued), until: cut.until.max(until) };
        }
        for cuts in [&mut self.sessions, &mut self.users] {
            cuts.retain(|_, cut| now <= cut.until + LEEWAY_SECONDS);
        }
        self
    }
}

fn pair(key: TrustedKey) -> anyhow::Result<(String, [u8; 32])> {
    let TrustedKey { key_id, public_key } = key;
    ensure!(!key_id.is_empty(), "one of its keys has no id");
    let public_key = public_key.as_slice().try_into().with_context(|| format!("its key {key_id} has not 32 bytes"))?;
    Ok((key_id, public_key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_auth::SigningKey;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    fn answer(keys: &[&SigningKey], revocations: Vec<Revocation>) -> GetTrustResponse {
        let trusted =
            |key: &&SigningKey| TrustedKey { key_id: key.key_id().to_owned(), public_key: key.public_key().to_vec() };
        GetTrustResponse {
            issuer: "https://shop.example".to_owned(),
            keys: keys.iter().map(trusted).collect(),
            revocations,
            ..GetTrustResponse::default()
        }
    }

    fn revocation(target: Target, seconds: i64) -> Revocation {
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 999 });
        Revocation { target: Some(target), revoke_time: time(seconds), expire_time: time(seconds + 300) }
    }

    fn claims(issued: i64) -> Claims {
        Claims {
            iss: "https://shop.example".to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: "ada".to_owned(),
            exp: issued + 300,
            iat: issued,
            sid: "s1".to_owned(),
            roles: vec!["customer".to_owned()],
            ..Claims::default()
        }
    }

    fn origin(key: &SigningKey, issued: i64) -> Origin {
        let claims = claims(issued);
        Origin { key_id: key.key_id().to_owned(), subject: claims.sub, session_id: claims.sid, issued }
    }

    #[test]
    fn tokens_of_all_keys_are_believed_and_of_no_other() {
        let (first, second, other) = (key(1), key(2), key(3));
        let trust = Trust::default();
        assert!(trust.known().is_none());
        trust.apply(answer(&[&first, &second], Vec::new()), NOW).unwrap();
        let known = trust.known().unwrap();
        for key in [&first, &second] {
            let token = key.sign(&claims(NOW));
            assert_eq!(known.verify(&token, key.key_id(), NOW).unwrap().sub, "ada");
            assert_eq!(known.verify(&token, key.key_id(), NOW + 330).unwrap_err(), TokenError::Expired);
        }
        let token = other.sign(&claims(NOW));
        assert_eq!(known.verify(&token, other.key_id(), NOW).unwrap_err(), TokenError::UnknownKey);
        assert_eq!(known.verify(&token, first.key_id(), NOW).unwrap_err(), TokenError::Signature);
        assert!(std::str::from_utf8(known.jwks()).unwrap().contains(second.key_id()));
    }

    #[test]
    fn what_is_revoked_is_refused_up_to_its_second_and_not_after_it() {
        let signing = key(1);
        let trust = Trust::default();
        trust.apply(answer(&[&signing], Vec::new()), NOW).unwrap();
        let generation = trust.generation();
        let of_another = |issued| Origin { session_id: "s2".to_owned(), ..origin(&signing, issued) };
        trust.apply(answer(&[&signing], vec![revocation(Target::UserId("ada".to_owned()), NOW)]), NOW).unwrap();
        let known = trust.known().unwrap();
        assert!(!known.still_believes(&of_another(NOW - 100)) && !known.still_believes(&of_another(NOW)));
        assert!(known.still_believes(&of_another(NOW + 1)) && known.still_believes(&origin(&signing, NOW + 1)));
        // The session ends in the same second: its token of after the user's revocation ends with it.
        trust.apply(answer(&[&signing], vec![revocation(Target::SessionId("s1".to_owned()), NOW)]), NOW).unwrap();
        let known = trust.known().unwrap();
        assert!(!known.still_believes(&origin(&signing, NOW + 1)) && known.still_believes(&of_another(NOW + 1)));
        let other = Origin { subject: "bob".to_owned(), session_id: "s2".to_owned(), ..origin(&signing, NOW) };
        assert!(trust.known().unwrap().still_believes(&other));
        assert_eq!(trust.generation(), generation + 2);
        // Nothing new: what was looked at need not be looked at again.
        trust.apply(answer(&[&signing], Vec::new()), NOW).unwrap();
        assert_eq!(trust.generation(), generation + 2);
        assert!(!trust.known().unwrap().still_believes(&origin(&signing, NOW)), "what was revoked stays so");
        // An earlier one that comes late takes nothing back.
        let late = revocation(Target::SessionId("s1".to_owned()), NOW - 50);
        trust.apply(answer(&[&signing], vec![late]), NOW).unwrap();
        assert!(!trust.known().unwrap().still_believes(&origin(&signing, NOW)));
    }

    #[test]
    fn a_key_that_is_taken_away_takes_its_tokens_with_it() {
        let (old, new) = (key(1), key(2));
        let trust = Trust::default();
        trust.apply(answer(&[&old], Vec::new()), NOW).unwrap();
        let generation = trust.generation();
        trust.apply(answer(&[&old, &new], Vec::new()), NOW).unwrap();
        assert_eq!(trust.generation(), generation, "a further key takes nothing away");
        trust.apply(answer(&[&new], Vec::new()), NOW).unwrap();
        assert_eq!(trust.generation(), generation + 1);
        assert!(!trust.known().unwrap().still_believes(&origin(&old, NOW)));
    }

    #[test]
    fn an_answer_that_cannot_be_one_changes_nothing() {
        let signing = key(1);
        let trust = Trust::default();
        trust.apply(answer(&[&signing], Vec::new()), NOW).unwrap();
        let good = || answer(&[&signing], Vec::new());
        let short = TrustedKey { key_id: "k".to_owned(), public_key: vec![1; 31] };
        for wrong in [
            GetTrustResponse { issuer: String::new(), ..good() },
            GetTrustResponse { keys: Vec::new(), ..good() },
            GetTrustResponse { keys: vec![short], ..good() },
        ] {
            assert!(trust.apply(wrong, NOW).is_err());
        }
        assert!(trust.known().unwrap().still_believes(&origin(&signing, NOW)));
    }

    #[test]
    fn revocations_that_cannot_matter_any_more_are_forgotten() {
        let old = revocation(Target::UserId("ada".to_owned()), NOW - 1_000);
        let new = revocation(Target::UserId("bob".to_owned()), NOW);
        let revoked = Revoked::default().with(vec![old, new], NOW);
        assert_eq!(revoked.users.keys().collect::<Vec<_>>(), ["bob"]);
    }
}
