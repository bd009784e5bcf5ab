//! Tokens of other issuers (OpenID Connect): whoever they sign in calls as well, in the roles that the settings give it.
//!
//! * this file: which issuers, and who their tokens say the caller is; `settings.rs`: how an issuer is written in the
//!   settings; `keys.rs`: its keys, fetched from it.

mod keys;
mod settings;

use std::time::Duration;

use openorder_auth::{Expected, LEEWAY_SECONDS, peek, verify};
use openorder_types::Role;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tonic::Status;

use self::keys::{Client, IssuerKeys};
use self::settings::IssuerSettings;
use super::sign_in::{Told, refused};

/// Longest subject that can be a user: what ids of users are.
const USER_ID_LENGTH_MAX: usize = 64;
/// Bytes of a hash that stand for a subject that is none.
const HASHED_BYTES: usize = 20;

/// All other issuers that are believed.
pub(crate) struct Issuers(Vec<Issuer>);

/// One of them.
pub(crate) struct Issuer {
    settings: IssuerSettings,
    keys: IssuerKeys,
}

impl Issuers {
    /// # Errors
    ///
    /// A setting that cannot be used, named.
    pub(crate) fn new(entries: &[String], timeout: Duration) -> anyhow::Result<Self> {
        if entries.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let client = Client::new(timeout)?;
        let issuers = IssuerSettings::all(entries)?
            .into_iter()
            .map(|settings| Issuer { keys: IssuerKeys::new(&settings, client.clone()), settings });
        Ok(Self(issuers.collect()))
    }

    /// The issuer with this name in `iss`.
    pub(crate) fn of(&self, issuer: &str) -> Option<&Issuer> {
        self.0.iter().find(|one| one.settings.issuer == issuer)
    }
}

impl Issuer {
    /// Who a token of the issuer says its caller is.
    ///
    /// # Errors
    ///
    /// The reasons of [`openorder_auth::TokenError`]; `SIGN_IN_UNAVAILABLE` while the issuer's keys were never had.
    pub(crate) async fn told(&self, token: &str, now: i64) -> Result<Told, Status> {
        let key_id = peek(token).map_err(refused)?.key_id;
        let key = self.keys.get(&key_id).await?;
        let IssuerSettings { issuer, audience, typ, .. } = &self.settings;
        let expected = Expected { issuer, audience, typ, leeway_seconds: LEEWAY_SECONDS };
        let claims = verify(token, &key, &expected, now).map_err(refused)?;
        let roles = self.roles(&claims.roles, &claims.other);
        let subject = self.subject(&claims.sub);
        Ok(Told { subject, roles, origin: None, until: claims.exp.saturating_add(LEEWAY_SECONDS) })
    }

    /// The subject behind the issuer's name: one that is the id of a user here, whatever it is there, and never that of
    /// another issuer's.
    fn subject(&self, subject: &str) -> String {
        let name = &self.settings.name;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = name.len() + 1 + subject.len() <= USER_ID_LENGTH_MAX
            && !subject.is_empty()
            && !subject.starts_with('.')
            && subject.bytes().all(is_plain);
        if fits {
            return format!("{name}.{subject}");
        }
        // Two dots: no plain one looks so.
        let hashed = Sha256::digest(subject);
        let hashed: String = hashed[..HASHED_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}..{hashed}")
    }

    /// The roles here of the names that the token has there; a name that the settings do not know gives none.
    fn roles(&self, named: &[String], claims: &Map<String, Value>) -> Vec<Role> {
        let names = match self.settings.roles_claim.as_str() {
            "roles" => named.to_vec(),
            path => names(claims, path),
        };
        let known = |name: &String| self.settings.roles.iter().find(|(there, _)| there == name).map(|(_, role)| *role);
        let mut roles: Vec<Role> = names.iter().filter_map(known).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

/// The texts at a path of names with dots between them: a list, or one text with blanks between its words.
fn names(claims: &Map<String, Value>, path: &str) -> Vec<String> {
    let mut steps = path.split('.');
    let first = steps.next().and_then(|step| claims.get(step));
    match steps.try_fold(first, |value, step| value.map(|value| value.get(step))).flatten() {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn issuer(more: &str) -> Issuer {
        let entry =
            format!("name=corp;issuer=https://sso.example.com;audience=shop;roles=clerk:operator buyer:customer{more}");
        Issuers::new(&[entry], Duration::from_secs(1)).unwrap().0.remove(0)
    }

    #[test]
    fn a_subject_of_another_issuer_is_the_id_of_a_user_here_and_of_no_other() {
        let issuer = issuer("");
        assert_eq!(issuer.subject("ada"), "corp.ada");
        let odd = ["auth0|ada", "", ".ada", "ada lovelace", &"x".repeat(60)].map(|subject| issuer.subject(subject));
        for subject in &odd {
            assert!(subject.starts_with("corp..") && subject.len() <= USER_ID_LENGTH_MAX, "{subject}");
            assert!(openorder_types::UserId::parse(subject).is_ok(), "{subject}");
        }
        let different: std::collections::BTreeSet<_> = odd.iter().collect();
        assert_eq!(different.len(), odd.len());
    }

    #[test]
    fn only_roles_that_the_settings_name_are_given() {
        let named = ["clerk", "buyer", "buyer", "operator", "king"].map(str::to_owned);
        assert_eq!(issuer("").roles(&named, &Map::new()), [Role::Customer, Role::Operator]);
        let claims = json!({"realm_access": {"roles": ["buyer"]}, "scope": "read clerk"});
        let claims = claims.as_object().unwrap();
        assert_eq!(issuer(";roles_claim=realm_access.roles").roles(&named, claims), [Role::Customer]);
        assert_eq!(issuer(";roles_claim=scope").roles(&named, claims), [Role::Operator]);
        for nothing in ["realm_access", "realm_access.roles.0", "none.at.all"] {
            assert!(issuer(&format!(";roles_claim={nothing}")).roles(&named, claims).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn an_issuer_is_known_by_its_whole_name() {
        let issuers = Issuers(vec![issuer("")]);
        assert!(issuers.of("https://sso.example.com").is_some());
        assert!(issuers.of("https://sso.example.com/").is_none() && issuers.of("").is_none());
    }
}
