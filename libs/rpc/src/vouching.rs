//! Who may vouch for a caller: what the headers of a call say of its caller is believed, or not, by the role that sends them.
//!
//! The whole rule is the table in `belief`. Which role is at the other end of a connection is known since its handshake
//! ([`tls`](crate::tls)), so a call costs one look at that. Without TLS a service is reached from its own machine alone, and
//! believes all there.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use openorder_types::{Rejection, Role};

use crate::caller::{RESERVED_PREFIX, ROLES, SUBJECT};

/// The role that knows callers by their tokens.
pub const GATEWAY: &str = "gateway";
/// The role that operators work with.
pub const OPERATIONS: &str = "operations";
/// The commands of this program, where they call a service and not the gateway.
pub const TOOLS: &str = "tools";

/// Metadata key of the caller's session, as the gateway knows it.
const SESSION: &str = "x-openorder-session";
/// Metadata key of the address that the caller called the gateway from.
const ADDRESS: &str = "x-openorder-peer";

/// What a header says of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Subject,
    Roles,
    Session,
    Address,
    /// It is reserved, and has no meaning yet.
    Other,
}

impl Claim {
    /// What the header of this name says; `None` of one that says nothing of the caller.
    fn of(header: &str) -> Option<Self> {
        Some(match header {
            SUBJECT => Self::Subject,
            ROLES => Self::Roles,
            SESSION => Self::Session,
            ADDRESS => Self::Address,
            other if other.starts_with(RESERVED_PREFIX) => Self::Other,
            _ => return None,
        })
    }
}

/// What a role is among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gateway,
    Operations,
    Tools,
    /// A service that calls others.
    Service,
    /// One that calls nobody, and so passes nobody on.
    Alone,
}

/// Whether a role is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Always,
    /// Of operators, of viewers, and of itself.
    OfOperators,
    OfItself,
    Never,
}

/// The table: whether a role is believed when it says that of a caller.
fn belief(kind: Kind, claim: Claim) -> Belief {
    match (kind, claim) {
        // It has seen the token, or that there was none.
        (Kind::Gateway, _) => Belief::Always,
        // For itself, and for the caller that it passes on.
        (Kind::Service, Claim::Subject | Claim::Roles) => Belief::Always,
        (Kind::Operations | Kind::Tools, Claim::Subject | Claim::Roles) => Belief::OfOperators,
        (Kind::Alone, Claim::Subject | Claim::Roles) => Belief::OfItself,
        // Sign-in goes by these: they come from the edge, and are not passed on.
        (Kind::Service | Kind::Operations | Kind::Tools | Kind::Alone, _) => Belief::Never,
    }
}

/// A role that may be at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRole {
    /// Its name.
    pub name: &'static str,
    /// Whether it calls services for callers of its own.
    pub passes_callers_on: bool,
}

/// The roles that may be at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct KnownRoles(Arc<[KnownRole]>);

impl KnownRoles {
    pub(crate) fn new(all: impl IntoIterator<Item = KnownRole>) -> Self {
        Self(all.into_iter().collect())
    }

    /// The role of this name, if it is one of them.
    pub(crate) fn find(&self, name: &str) -> Option<PeerRole> {
        self.0.iter().copied().find(|known| known.name == name).map(PeerRole::new)
    }
}

/// The role at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerRole {
    name: &'static str,
    kind: Kind,
}

impl PeerRole {
    fn new(known: KnownRole) -> Self {
        let kind = match known.name {
            GATEWAY => Kind::Gateway,
            OPERATIONS => Kind::Operations,
            TOOLS => Kind::Tools,
            _ if known.passes_callers_on => Kind::Service,
            _ => Kind::Alone,
        };
        Self { name: known.name, kind }
    }

    /// Lets a call of the role pass with what it says of the caller. One that says nothing is made by the role itself; of the
    /// gateway, by nobody.
    ///
    /// # Errors
    ///
    /// `PEER_MAY_NOT_VOUCH`: the role is not believed in that.
    pub(crate) fn admit(self, headers: &mut HeaderMap) -> Result<(), Rejection> {
        if self.kind == Kind::Gateway {
            return Ok(());
        }
        let mut says_nothing = true;
        for header in headers.keys() {
            let Some(claim) = Claim::of(header.as_str()) else { continue };
            says_nothing = false;
            let is_believed = match belief(self.kind, claim) {
                Belief::Always => true,
                Belief::OfOperators => self.says_itself(headers) || runs_the_system(headers),
                Belief::OfItself => self.says_itself(headers),
                Belief::Never => false,
            };
            if !is_believed {
                return Err(self.refusal(header.as_str()));
            }
        }
        if says_nothing && let Ok(subject) = HeaderValue::from_str(self.name) {
            headers.insert(SUBJECT, subject);
            headers.insert(ROLES, HeaderValue::from_static(Role::Service.as_str()));
        }
        Ok(())
    }

    fn says_itself(self, headers: &HeaderMap) -> bool {
        first(headers, SUBJECT) == self.name && first(headers, ROLES) == Role::Service.as_str()
    }

    fn refusal(self, header: &str) -> Rejection {
        let role = self.name;
        tracing::warn!(role, header, "a role says of a caller what it is not believed in");
        let text = format!("{role} is not believed in what it says of its caller by {header}");
        Rejection::permission_denied("PEER_MAY_NOT_VOUCH", text)
    }
}

/// Whether the caller is an operator or a viewer, whatever else it is.
fn runs_the_system(headers: &HeaderMap) -> bool {
    let roles = first(headers, ROLES).split(',');
    roles.filter_map(|role| Role::parse(role.trim())).any(|role| matches!(role, Role::Operator | Role::Viewer))
}

/// The first value, as whoever reads it takes it; empty where there is none.
fn first<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// Of the services, order calls others, and user calls nobody.
    const NAMES: [&str; 5] = [GATEWAY, OPERATIONS, TOOLS, "order", "user"];
    const CALLERS: [(&str, &str); 6] = [
        ("ada", "customer"),
        ("root", "operator"),
        ("eve", "viewer"),
        ("both", "customer,operator"),
        ("shop", "service"),
        ("nobody", ""),
    ];

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("00-1-2-01"));
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    fn peer(name: &'static str) -> PeerRole {
        PeerRole::new(KnownRole { name, passes_callers_on: name == "order" })
    }

    fn admitted(role: &'static str, pairs: &[(&'static str, &str)]) -> Result<HeaderMap, &'static str> {
        let mut headers = headers(pairs);
        peer(role).admit(&mut headers).map(|()| headers).map_err(|rejection| rejection.reason)
    }

    #[test]
    fn each_role_vouches_for_its_own_callers_alone() {
        for (subject, roles) in CALLERS {
            let says = [(SUBJECT, subject), (ROLES, roles)];
            let runs_it = roles.contains("operator") || roles.contains("viewer");
            for role in NAMES {
                let expected = match role {
                    OPERATIONS | TOOLS => runs_it,
                    "user" => false,
                    _ => true,
                };
                let seen = admitted(role, &says);
                assert_eq!(
                    seen,
                    if expected { Ok(headers(&says)) } else { Err("PEER_MAY_NOT_VOUCH") },
                    "{role} {says:?}"
                );
            }
        }
        for role in NAMES {
            let itself = [(SUBJECT, role), (ROLES, "service")];
            assert_eq!(admitted(role, &itself).unwrap(), headers(&itself), "{role} for itself");
        }
    }

    #[test]
    fn session_and_address_come_from_the_gateway_alone() {
        for header in [SESSION, ADDRESS, "x-openorder-anything"] {
            let says = [(SUBJECT, "root"), (ROLES, "operator"), (header, "1")];
            for role in NAMES {
                assert_eq!(admitted(role, &says).is_ok(), role == GATEWAY, "{role} {header}");
                assert_eq!(admitted(role, &says[2..]).is_ok(), role == GATEWAY, "{role} {header} alone");
            }
        }
    }

    #[test]
    fn who_says_nothing_is_itself_and_through_the_gateway_nobody() {
        for role in NAMES {
            let expected: &[_] = if role == GATEWAY { &[] } else { &[(SUBJECT, role), (ROLES, "service")] };
            assert_eq!(admitted(role, &[]).unwrap(), headers(expected), "{role}");
        }
    }

    #[test]
    fn the_first_of_two_values_counts_as_it_does_for_who_reads_them() {
        let mut twice = headers(&[(SUBJECT, "ada"), (ROLES, "customer")]);
        twice.append(ROLES, HeaderValue::from_static("operator"));
        assert!(peer(OPERATIONS).admit(&mut twice).is_err());
    }

    #[test]
    fn a_role_is_one_of_those_that_are_known() {
        let known = |name: &'static str| KnownRole { name, passes_callers_on: true };
        let roles = KnownRoles::new([known(GATEWAY), known("order")]);
        assert_eq!(roles.find("order").map(|role| role.kind), Some(Kind::Service));
        assert_eq!(roles.find("gateway").map(|role| role.kind), Some(Kind::Gateway));
        assert!(roles.find("product").is_none() && roles.find("").is_none() && roles.find("Order").is_none());
    }

    proptest! {
        /// Whatever else a call carries: what is let pass says what it said, or is the role itself.
        #[test]
        fn nothing_that_is_not_believed_passes(
            role in proptest::sample::select(NAMES.to_vec()),
            reserved in proptest::collection::btree_set("x-openorder-(subject|roles|session|peer|[a-z]{1,4})", 0..4),
            others in proptest::collection::btree_set("[a-w][a-z-]{0,9}", 0..4),
            value in "[ -~]{0,12}|operator|viewer|customer,viewer",
        ) {
            let mut sent = HeaderMap::new();
            for name in reserved.iter().chain(&others) {
                let name: http::HeaderName = name.parse().unwrap();
                sent.insert(name, value.parse().unwrap());
            }
            let peer = peer(role);
            let mut seen = sent.clone();
            match peer.admit(&mut seen) {
                Err(rejection) => {
                    prop_assert_eq!(rejection.reason, "PEER_MAY_NOT_VOUCH");
                    prop_assert!(role != GATEWAY && !reserved.is_empty());
                }
                Ok(()) if reserved.is_empty() && role != GATEWAY => {
                    prop_assert_eq!(seen.get(SUBJECT).unwrap(), role);
                    prop_assert_eq!(seen.len(), sent.len() + 2);
                }
                Ok(()) => {
                    prop_assert_eq!(&seen, &sent);
                    for name in &reserved {
                        let claim = Claim::of(name).unwrap();
                        prop_assert!(belief(peer.kind, claim) != Belief::Never, "{} {}", role, name);
                    }
                }
            }
        }
    }
}
