//! Who asks, and for whom they may act.

use crate::error::Rejection;
use crate::value::UserId;

/// What a caller is allowed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Acts for itself alone.
    Customer,
    /// Runs the system: acts for everybody.
    Operator,
    /// A program that acts for everybody, such as another service of OpenOrder.
    Service,
    /// Looks on: reads what belongs to anybody, without personal data, and changes nothing.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Customer, Self::Operator, Self::Service, Self::Viewer];

    /// The name on the wire: `customer`, `operator`, `service` or `viewer`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Viewer => "viewer",
        }
    }

    /// The role with this name on the wire.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// An authenticated caller: the gateway vouches for both fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The user id of a person or the name of a service.
    pub subject: String,
    /// All roles that the caller has.
    pub roles: Vec<Role>,
}

impl Caller {
    /// A caller with these roles.
    pub fn new(subject: impl Into<String>, roles: impl Into<Vec<Role>>) -> Self {
        Self { subject: subject.into(), roles: roles.into() }
    }

    /// Another service of OpenOrder.
    pub fn service(name: impl Into<String>) -> Self {
        Self::new(name, [Role::Service])
    }

    /// Whether the caller has the role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether the caller runs the system. A service is not an operator.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.has(Role::Operator)
    }

    /// Whether the caller acts for everybody: an operator or a service.
    #[must_use]
    pub fn is_staff(&self) -> bool {
        self.has(Role::Operator) || self.has(Role::Service)
    }

    /// Lets operators and services pass.
    ///
    /// # Errors
    /// `ROLE_REQUIRED` for everybody else.
    pub fn must_be_staff(&self) -> Result<(), Rejection> {
        if self.is_staff() {
            return Ok(());
        }
        Err(Rejection::permission_denied("ROLE_REQUIRED", "only operators and services may do this"))
    }

    /// Whether the caller reads what belongs to anybody: operators, services and viewers.
    #[must_use]
    pub fn reads_all(&self) -> bool {
        self.is_staff() || self.has(Role::Viewer)
    }

    /// Whether the caller may read what belongs to the user. Personal data in it is for those alone who
    /// [may act for](Self::may_act_for) the user.
    #[must_use]
    pub fn may_see(&self, user: &UserId) -> bool {
        self.has(Role::Viewer) || self.may_act_for(user)
    }

    /// Whether the caller may read and change what belongs to the user: operators and services may
    /// for everybody, a customer for itself.
    #[must_use]
    pub fn may_act_for(&self, user: &UserId) -> bool {
        self.has(Role::Operator)
            || self.has(Role::Service)
            || (self.has(Role::Customer) && self.subject == user.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_customer_acts_for_itself_alone() {
        let ada = UserId::parse("ada").unwrap();
        let bob = UserId::parse("bob").unwrap();
        let caller = Caller::new("ada", [Role::Customer]);
        assert!(caller.may_act_for(&ada));
        assert!(!caller.may_act_for(&bob));
        assert!(!caller.is_operator());
        assert_eq!(caller.must_be_staff().map_err(|refused| refused.reason), Err("ROLE_REQUIRED"));
    }

    #[test]
    fn operators_and_services_act_for_everybody() {
        let ada = UserId::parse("ada").unwrap();
        assert!(Caller::new("root", [Role::Operator]).may_act_for(&ada));
        assert!(Caller::service("order").may_act_for(&ada));
        assert!(!Caller::service("order").is_operator());
        assert!(Caller::service("order").must_be_staff().is_ok());
        assert!(Caller::new("root", [Role::Operator]).must_be_staff().is_ok());
    }

    #[test]
    fn a_caller_without_a_role_may_nothing() {
        let ada = UserId::parse("ada").unwrap();
        assert!(!Caller::new("ada", []).may_act_for(&ada) && !Caller::new("ada", []).may_see(&ada));
    }

    #[test]
    fn a_viewer_reads_everybodys_and_changes_nobodys() {
        let ada = UserId::parse("ada").unwrap();
        let viewer = Caller::new("ada", [Role::Viewer]);
        assert!(viewer.reads_all() && viewer.may_see(&ada));
        assert!(!viewer.may_act_for(&ada) && !viewer.is_staff() && !viewer.is_operator());
        let both = Caller::new("ada", [Role::Viewer, Role::Customer]);
        let bob = UserId::parse("bob").unwrap();
        assert!(both.may_act_for(&ada) && both.may_see(&bob) && !both.may_act_for(&bob));
        assert!(!Caller::new("ada", [Role::Customer]).reads_all() && Caller::service("order").reads_all());
    }

    #[test]
    fn role_names_go_both_ways() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Operator"), None);
        assert_eq!(Role::parse(""), None);
    }
}
