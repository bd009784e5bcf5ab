//! How an issuer is written in `gateway.issuers`: parts with semicolons between them, each `key=value`.
//!
//! ```text
//! name=corp;issuer=https://sso.example.com/realms/shop;audience=openorder;roles=clerk:operator buyer:customer
//! ```

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use http::Uri;
use openorder_auth::{ACCESS_TOKEN_TYPE, Algorithm};
use openorder_types::Role;

/// Longest name of an issuer: it stands before each subject.
const NAME_LENGTH_MAX: usize = 16;
/// Where an issuer says what it has (OpenID Connect Discovery 1.0).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// One issuer.
#[derive(Debug, PartialEq)]
pub(crate) struct IssuerSettings {
    /// Before the subject of each of its callers.
    pub(crate) name: String,
    /// `iss`.
    pub(crate) issuer: String,
    /// `aud`.
    pub(crate) audience: String,
    /// `typ`.
    pub(crate) typ: String,
    pub(crate) keys_at: Arc<KeysAt>,
    pub(crate) algorithms: Vec<Algorithm>,
    /// Where in the token the names of roles are, with dots between steps.
    pub(crate) roles_claim: String,
    /// Names of roles there, and the roles here.
    pub(crate) roles: Vec<(String, Role)>,
}

/// Where its keys are.
#[derive(Debug, PartialEq)]
pub(crate) enum KeysAt {
    Url(Uri),
    /// Where this document says.
    Discovery(Uri),
}

impl IssuerSettings {
    /// # Errors
    ///
    /// What is wrong with the first entry that cannot be used, or two that are one.
    pub(crate) fn all(entries: &[String]) -> anyhow::Result<Vec<Self>> {
        let mut all: Vec<Self> = Vec::with_capacity(entries.len());
        for entry in entries {
            let one = Self::read(entry).with_context(|| format!("gateway.issuers: {entry:?}"))?;
            for other in &all {
                ensure!(other.name != one.name, "gateway.issuers: two have the name {:?}", one.name);
                ensure!(other.issuer != one.issuer, "gateway.issuers: two have the issuer {:?}", one.issuer);
            }
            all.push(one);
        }
        Ok(all)
    }

    fn read(entry: &str) -> anyhow::Result<Self> {
        let mut parts: Vec<(&str, &str)> = Vec::new();
        for part in entry.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').with_context(|| format!("{part:?} is no key=value"))?;
            let known = ["name", "issuer", "audience", "typ", "jwks_url", "algorithms", "roles_claim", "roles"];
            ensure!(known.contains(&key), "{key:?} is none of {}", known.join(", "));
            ensure!(parts.iter().all(|(other, _)| *other != key), "{key} stands there twice");
            parts.push((key, value.trim()));
        }
        let given = |key: &str| parts.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        let required =
            |key: &str| given(key).filter(|value| !value.is_empty()).with_context(|| format!("{key} is missing"));
        let name = required("name")?.to_owned();
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            name.len() <= NAME_LENGTH_MAX && name.bytes().all(is_name) && !name.starts_with('-'),
            "name must be 1 to {NAME_LENGTH_MAX} of a-z, 0-9 and -, and not begin with -"
        );
        let issuer = required("issuer")?.to_owned();
        let keys_at = match given("jwks_url") {
            Some(url) => KeysAt::Url(safe_url("jwks_url", url)?),
            None => {
                let document = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
                KeysAt::Discovery(safe_url("issuer", &document)?)
            }
        };
        let algorithms = given("algorithms").unwrap_or("RS256").split_ascii_whitespace();
        let algorithms: Vec<_> = algorithms
            .map(|name| {
                Algorithm::parse(name).with_context(|| format!("{name:?} is none of EdDSA, ES256, RS256, PS256"))
            })
            .collect::<anyhow::Result<_>>()?;
        ensure!(!algorithms.is_empty(), "algorithms names none");
        Ok(Self {
            name,
            issuer,
            audience: required("audience")?.to_owned(),
            typ: given("typ").unwrap_or(ACCESS_TOKEN_TYPE).to_owned(),
            keys_at: Arc::new(keys_at),
            algorithms,
            roles_claim: given("roles_claim").unwrap_or("roles").to_owned(),
            roles: roles(required("roles")?)?,
        })
    }
}

fn roles(text: &str) -> anyhow::Result<Vec<(String, Role)>> {
    let pair = |pair: &str| {
        let (there, here) = pair.rsplit_once(':').with_context(|| format!("{pair:?} is no name:role"))?;
        let role = Role::parse(here).with_context(|| format!("{here:?} is no role"))?;
        ensure!(!there.is_empty(), "{pair:?} names no role of the issuer");
        Ok((there.to_owned(), role))
    };
    text.split_ascii_whitespace().map(pair).collect()
}

/// Where a key is fetched from: over TLS, or from this machine.
pub(crate) fn safe_url(what: &str, url: &str) -> anyhow::Result<Uri> {
    let uri: Uri = url.parse().with_context(|| format!("{what} must be a URL"))?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(uri),
        Some("http") if is_here => Ok(uri),
        _ => bail!("{what} must be https: whoever can change the keys on their way can sign in as anybody"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const GOOD: &str =
        "name=corp; issuer=https://sso.example.com/realms/shop; audience=openorder; roles=clerk:operator";

    fn read(entries: &[String]) -> Result<Vec<IssuerSettings>, String> {
        IssuerSettings::all(entries).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_issuer_is_read_with_its_defaults() {
        let one = read(&[GOOD.to_owned()]).unwrap().remove(0);
        let document = "https://sso.example.com/realms/shop/.well-known/openid-configuration";
        assert_eq!(*one.keys_at, KeysAt::Discovery(document.parse().unwrap()));
        assert_eq!(
            (one.typ.as_str(), one.roles_claim.as_str(), one.algorithms),
            ("at+jwt", "roles", vec![Algorithm::Rs256])
        );
        assert_eq!(one.roles, [("clerk".to_owned(), Role::Operator)]);
        let more = format!("{GOOD};jwks_url=http://127.0.0.1:1/keys;algorithms=ES256 EdDSA;typ=JWT;roles_claim=a.b");
        let one = read(&[more]).unwrap().remove(0);
        assert_eq!(*one.keys_at, KeysAt::Url("http://127.0.0.1:1/keys".parse().unwrap()));
        assert_eq!((one.typ.as_str(), one.algorithms), ("JWT", vec![Algorithm::Es256, Algorithm::EdDsa]));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let with = |more: &str| format!("{GOOD};{more}");
        let wrong = [
            ("name=corp".to_owned(), "issuer is missing"),
            ("issuer".to_owned(), "is no key=value"),
            ("colour=red".to_owned(), "\"colour\" is none of"),
            ("name=a;name=b".to_owned(), "name stands there twice"),
            (GOOD.replace("corp", "Corp"), "name must be"),
            (GOOD.replace("https", "http"), "issuer must be https"),
            (GOOD.replace("clerk:operator", "clerk:king"), "\"king\" is no role"),
            (GOOD.replace("roles=clerk:operator", ""), "roles is missing"),
            (with("algorithms=none"), "\"none\" is none of EdDSA"),
            (with("jwks_url=http://sso.example.com/keys"), "jwks_url must be https"),
        ];
        for (entry, expected) in wrong {
            let refused = read(std::slice::from_ref(&entry)).unwrap_err();
            assert!(refused.contains(expected), "{entry}: {refused}");
        }
        let twice = read(&[GOOD.to_owned(), GOOD.to_owned()]).unwrap_err();
        assert!(twice.contains("two have the name"), "{twice}");
        let one_issuer = read(&[GOOD.to_owned(), GOOD.replace("corp", "other")]).unwrap_err();
        assert!(one_issuer.contains("two have the issuer"), "{one_issuer}");
    }
}
