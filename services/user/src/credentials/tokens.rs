//! Access tokens, refresh tokens and API keys.
//!
//! A refresh token is `session.number.code`: the code is an HMAC of both and the session's salt. So nothing of it is stored,
//! a token gives its successor again, and one that was guessed is told from one that was used up: only the latter ends a
//! session. Neither the database nor the service's key is enough to make one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::TimeDelta;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use openorder_auth::{API_KEY_CLIENT_ID, AUDIENCE, ApiKey as ApiKeyText, Claims};
use openorder_proto::user::v1 as proto;
use openorder_rpc::timestamp_to_proto;
use openorder_types::{Fault, Timestamp};
use secrecy::zeroize::Zeroizing;
use sha2::Sha256;
use uuid::Uuid;

use crate::credentials::Keyring;
use crate::domain::{ApiKey, Salt, Session, User};

/// Longest refresh token that is read, bytes.
const REFRESH_TOKEN_BYTES_MAX: usize = 256;
/// Hexadecimal digits of a hashed network address.
const PEER_HASH_DIGITS: usize = 16;
/// Bytes of what a count of failed sign-ins is known by.
const SIGN_IN_CODE_BYTES: usize = 16;

/// A refresh token as somebody presents it, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub session_id: Uuid,
    pub generation: i32,
    code: [u8; 32],
}

impl RefreshToken {
    /// `None` of what cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > REFRESH_TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = text.split('.');
        let (session, generation, code) = (parts.next()?, parts.next()?, parts.next()?);
        let session_id = Uuid::from_slice(&BASE64.decode(session).ok()?).ok()?;
        let number: i32 = generation.parse().ok()?;
        // One text for each token: no sign, no zero before it.
        let is_plain = number >= 0 && number.to_string() == generation && parts.next().is_none();
        let code = BASE64.decode(code).ok()?.try_into().ok()?;
        is_plain.then_some(Self { session_id, generation: number, code })
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken(***)")
    }
}

/// Makes tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    keyring: Keyring,
    issuer: String,
    life: TimeDelta,
}

impl Tokens {
    #[must_use]
    pub fn new(keyring: Keyring, issuer: String, life: TimeDelta) -> Self {
        Self { keyring, issuer, life }
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// A session with the tokens of its generation.
    ///
    /// # Errors
    /// Permanent: there is no key.
    pub fn session(&self, session: &Session, user: &User, now: Timestamp) -> Result<proto::Session, Fault> {
        let sid = session.session_id.to_string();
        let end = session.expire_time.min(now + self.life);
        let access_token = self.access_token(user, sid.clone(), session.client_id.as_str(), now, end)?;
        Ok(proto::Session {
            session_id: sid,
            access_token,
            access_token_expire_time: Some(timestamp_to_proto(&end)),
            refresh_token: self.refresh_token(session),
            refresh_token_expire_time: Some(timestamp_to_proto(&session.refresh_expire_time)),
            session_expire_time: Some(timestamp_to_proto(&session.expire_time)),
        })
    }

    /// An access token for an API key of a user, and when it ends.
    ///
    /// # Errors
    /// Permanent: there is no key.
    pub fn of_api_key(&self, key: &ApiKey, user: &User, now: Timestamp) -> Result<(String, Timestamp), Fault> {
        let life = now + self.life;
        let end = key.expire_time.map_or(life, |end| end.min(life));
        let token = self.access_token(user, key.api_key_id.clone(), API_KEY_CLIENT_ID, now, end)?;
        Ok((token, end))
    }

    fn access_token(
        &self,
        user: &User,
        sid: String,
        client_id: &str,
        now: Timestamp,
        end: Timestamp,
    ) -> Result<String, Fault> {
        let keys = self.keyring.keys();
        let signing = keys.current(now).ok_or_else(|| Fault::permanent("there is no key to sign with"))?;
        // Tokens of the second in which the user's were revoked, and of before, are refused.
        let iat = now.timestamp().max(user.tokens_after + 1);
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: user.user_id.to_string(),
            exp: end.timestamp(),
            iat,
            jti: Uuid::now_v7().to_string(),
            client_id: client_id.to_owned(),
            sid,
            roles: user.roles.token_names(),
            ..Claims::default()
        };
        Ok(signing.key.sign(&claims))
    }

    /// The refresh token of the session's generation.
    #[must_use]
    pub fn refresh_token(&self, session: &Session) -> String {
        let code = self.refresh_code(session.session_id, session.generation, &session.salt).finalize().into_bytes();
        format!("{}.{}.{}", BASE64.encode(session.session_id.as_bytes()), session.generation, BASE64.encode(code))
    }

    /// Whether this service has made the token, for the session with this salt.
    #[must_use]
    pub fn is_made_here(&self, token: &RefreshToken, salt: &Salt) -> bool {
        self.refresh_code(token.session_id, token.generation, salt).verify_slice(&token.code).is_ok()
    }

    /// The whole API key with this id and salt.
    ///
    /// # Errors
    /// Permanent: an id that is none.
    pub fn api_key(&self, api_key_id: &str, salt: &Salt) -> Result<ApiKeyText, Fault> {
        let secret: [u8; 32] =
            self.mac("api key", &[api_key_id.as_bytes(), salt.bytes()]).finalize().into_bytes().into();
        let secret = Zeroizing::new(secret);
        ApiKeyText::with_id(api_key_id, &secret).ok_or_else(|| Fault::permanent("an API key has an id that is none"))
    }

    /// What is written down of a network address: the same for the same one, and nothing of it.
    #[must_use]
    pub fn peer_hash(&self, peer: &str) -> String {
        if peer.is_empty() {
            return String::new();
        }
        let code = self.mac("peer", &[peer.as_bytes()]).finalize().into_bytes();
        let mut digits: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.truncate(PEER_HASH_DIGITS);
        digits
    }

    /// What a count of failed sign-ins is known by: the same for the same text, and nothing of it.
    #[must_use]
    pub fn sign_in_code(&self, kind: &str, text: &str) -> String {
        let code = self.mac("sign-in", &[kind.as_bytes(), text.as_bytes()]).finalize().into_bytes();
        code.iter().take(SIGN_IN_CODE_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }

    fn refresh_code(&self, session_id: Uuid, generation: i32, salt: &Salt) -> Hmac<Sha256> {
        self.mac("refresh token", &[session_id.as_bytes(), &generation.to_be_bytes(), salt.bytes()])
    }

    /// Of these parts, each with its length before it, for one purpose.
    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        // HMAC fills a key of 32 bytes up to its block with zeros: so it is the same key, and making it cannot fail.
        let mut key = Zeroizing::new([0; 64]);
        key[..32].copy_from_slice(self.keyring.keys().deriving());
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*key).into());
        for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use openorder_auth::{ACCESS_TOKEN_TYPE, Expected, LEEWAY_SECONDS, VerifyingKey, verify};
    use openorder_fuzzing::fuzz;
    use openorder_types::UserId;
    use proptest::prelude::*;

    use super::*;
    use crate::credentials::{Keys, SealedKey, Sealer};
    use crate::domain::{ClientId, PasswordHash, Roles, UserName, UserState, parse_email};

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::days(20_000)
    }

    fn tokens() -> Tokens {
        let sealer = Sealer::new(&"".into(), &"".into(), true).unwrap();
        let stored = [SealedKey::signing(&sealer, now(), now()).unwrap(), SealedKey::deriving(&sealer, now()).unwrap()];
        let keys = Keys::open(&sealer, &stored).unwrap();
        Tokens::new(Keyring::new(keys), "openorder".to_owned(), TimeDelta::minutes(5))
    }

    fn session(generation: i32) -> Session {
        Session {
            session_id: Uuid::from_u128(7),
            user_id: UserId::parse("ada").unwrap(),
            client_id: ClientId::parse("web").unwrap(),
            salt: Salt::new([9; 32]),
            create_time: now(),
            expire_time: now() + TimeDelta::days(90),
            generation,
            rotate_time: now(),
            refresh_expire_time: now() + TimeDelta::days(30),
            end_time: None,
        }
    }

    fn user(tokens_after: i64) -> User {
        User {
            user_id: UserId::parse("ada").unwrap(),
            registration_id: Uuid::from_u128(1),
            email: parse_email("ada@example.com").unwrap(),
            display_name: UserName::parse("Ada").unwrap(),
            roles: Roles::CUSTOMER,
            state: UserState::Active,
            password: PasswordHash::new("x"),
            version: 1,
            activity_count: 1,
            activity_version: 0,
            tokens_after,
            failure_time: None,
            create_time: now(),
            update_time: now(),
        }
    }

    #[test]
    fn a_session_has_tokens_that_say_who_it_is_of() {
        let tokens = tokens();
        let made = tokens.session(&session(0), &user(0), now()).unwrap();
        let keys = tokens.keyring().keys();
        let key = VerifyingKey::from_ed25519(&keys.signing()[0].key.public_key()).unwrap();
        let expected = Expected {
            issuer: "openorder",
            audience: AUDIENCE,
            typ: ACCESS_TOKEN_TYPE,
            leeway_seconds: LEEWAY_SECONDS,
        };
        let claims = verify(&made.access_token, &key, &expected, now().timestamp()).unwrap();
        assert_eq!((claims.sub.as_str(), claims.sid.as_str()), ("ada", made.session_id.as_str()));
        assert_eq!((claims.roles, claims.client_id.as_str()), (vec!["customer".to_owned()], "web"));
        assert_eq!((claims.iat, claims.exp), (now().timestamp(), now().timestamp() + 300));
        let presented = RefreshToken::parse(&made.refresh_token).unwrap();
        assert!(tokens.is_made_here(&presented, &session(0).salt));
    }

    #[test]
    fn a_token_of_the_second_of_a_revocation_is_issued_after_it() {
        let tokens = tokens();
        let made = tokens.session(&session(0), &user(now().timestamp()), now()).unwrap();
        let payload = made.access_token.split('.').nth(1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&BASE64.decode(payload).unwrap()).unwrap();
        assert_eq!(claims["iat"], now().timestamp() + 1);
    }

    #[test]
    fn a_generation_has_one_refresh_token_and_no_other_session_has_it() {
        let tokens = tokens();
        let token = |session: &Session| tokens.refresh_token(session);
        assert_eq!(token(&session(3)), token(&session(3)), "the same again, whoever asks");
        assert_ne!(token(&session(3)), token(&session(4)));
        let of = |text: &str, salt| RefreshToken::parse(text).is_some_and(|read| tokens.is_made_here(&read, &salt));
        assert!(of(&token(&session(3)), Salt::new([9; 32])));
        assert!(!of(&token(&session(3)), Salt::new([8; 32])));
        let forged = token(&session(3)).replace(".3.", ".2.");
        assert!(!of(&forged, Salt::new([9; 32])), "a number that was changed is no older token");
        for wrong in
            ["", "..", "a.b.c", &token(&session(3)).replace(".3.", ".03."), &format!("{}.x", token(&session(3)))]
        {
            assert!(RefreshToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_api_key_is_the_same_for_the_same_salt() {
        let tokens = tokens();
        let key = |salt: u8| tokens.api_key("0123456789abcdef", &Salt::new([salt; 32])).unwrap();
        assert!(key(1).matches(&key(1).secret_hash()) && !key(2).matches(&key(1).secret_hash()));
        assert!(tokens.api_key("short", &Salt::new([1; 32])).is_err());
    }

    #[test]
    fn a_network_address_is_the_same_again_and_cannot_be_read() {
        let tokens = tokens();
        assert_eq!((tokens.peer_hash(""), tokens.peer_hash("192.0.2.7").len()), (String::new(), 16));
        assert_eq!(tokens.peer_hash("192.0.2.7"), tokens.peer_hash("192.0.2.7"));
        assert_ne!(tokens.peer_hash("192.0.2.7"), tokens.peer_hash("192.0.2.8"));
        assert_ne!(tokens.peer_hash("192.0.2.7"), self::tokens().peer_hash("192.0.2.7"), "another service's key");
    }

    #[test]
    fn fuzz_refresh_tokens() {
        let tokens = tokens();
        fuzz("refresh_tokens", |random| {
            let session = session((random.number() >> 33) as i32);
            let whole = tokens.refresh_token(&session);
            let text = random.damaged_text(&whole);
            let read = RefreshToken::parse(&text);
            let is_made_here = read.is_some_and(|token| tokens.is_made_here(&token, &session.salt));
            assert_eq!(is_made_here, text == whole, "{text} is taken for {whole}");
            is_made_here
        });
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reading_panic(text in ".{0,300}") {
            prop_assert!(RefreshToken::parse(&text).is_none());
        }
    }
}
