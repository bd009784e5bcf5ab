//! Who may call a method: read from the options of the contract (`openorder/access/v1`), so that a new method needs no
//! line here, and one without the option stops the gateway from starting.

use anyhow::{Context, ensure};
use openorder_proto::access::v1::{AccessRule, Role as RoleWord};
use openorder_types::Role;
use prost_reflect::{Kind, MethodDescriptor};

/// The option of a method: a word.
const ACCESS: &str = "openorder.access.v1.access";
/// The option of the word: what it means.
const RULE: &str = "openorder.access.v1.rule";

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roles(u8);

impl Roles {
    pub(crate) fn has_one_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    fn names(self) -> Vec<&'static str> {
        let is_in = |role: &Role| self.has_one_of(Self::from_iter([*role]));
        Role::ALL.into_iter().filter(is_in).map(Role::as_str).collect()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | (1 << role as u8)))
    }
}

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// One of them is enough.
    pub(crate) roles: Roles,
    /// Whether who has no token may call as well.
    pub(crate) is_open: bool,
}

impl Access {
    /// # Errors
    ///
    /// When the method does not say who may call it, or nobody may.
    pub(crate) fn of(method: &MethodDescriptor) -> anyhow::Result<Self> {
        let name = method.full_name();
        let rule = rule(method).with_context(|| format!("{name} does not say who may call it ({ACCESS})"))?;
        let roles: Roles = rule.roles().filter_map(role).collect();
        ensure!(rule.open || roles != Roles::default(), "nobody may call {name} ({ACCESS})");
        Ok(Self { roles, is_open: rule.open })
    }

    pub(crate) fn lets_in(self, roles: Roles) -> bool {
        self.is_open || self.roles.has_one_of(roles)
    }

    /// The names of the roles that may.
    pub(crate) fn names(self) -> Vec<&'static str> {
        self.roles.names()
    }
}

fn rule(method: &MethodDescriptor) -> Option<AccessRule> {
    let pool = method.parent_pool();
    let (access, rule) = (pool.get_extension_by_name(ACCESS)?, pool.get_extension_by_name(RULE)?);
    let options = method.options();
    if !options.has_extension(&access) {
        return None;
    }
    let number = options.get_extension(&access).as_enum_number()?;
    let Kind::Enum(words) = access.kind() else { return None };
    let options = words.get_value(number)?.options();
    if !options.has_extension(&rule) {
        return None;
    }
    let value = options.get_extension(&rule);
    value.as_message()?.transcode_to().ok()
}

fn role(word: RoleWord) -> Option<Role> {
    match word {
        RoleWord::Customer => Some(Role::Customer),
        RoleWord::Operator => Some(Role::Operator),
        RoleWord::Service => Some(Role::Service),
        RoleWord::Viewer => Some(Role::Viewer),
        RoleWord::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::transcode::contract::PUBLIC;

    fn access(service: &str, method: &str) -> Access {
        let service = PUBLIC.pool().get_service_by_name(service).unwrap();
        let method = service.methods().find(|one| one.name() == method).unwrap();
        Access::of(&method).unwrap()
    }

    fn of(roles: &[Role]) -> Roles {
        roles.iter().copied().collect()
    }

    #[test]
    fn roles_are_those_that_the_word_of_a_method_means() {
        let orders = "openorder.order.v1.OrderService";
        let read = access(orders, "GetOrder");
        assert_eq!(read, Access { roles: of(&Role::ALL), is_open: false });
        let changed = access(orders, "CancelOrder");
        assert_eq!(changed.names(), ["customer", "operator", "service"]);
        assert!(changed.lets_in(of(&[Role::Viewer, Role::Customer])) && !changed.lets_in(of(&[Role::Viewer])));
        assert!(!changed.lets_in(Roles::default()));
        assert_eq!(access(orders, "SettleCompensation").names(), ["operator"]);
    }

    #[test]
    fn a_method_that_does_not_say_who_may_call_it_is_refused() {
        let health = prost_reflect::DescriptorPool::decode(tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
        let method = health.services().next().unwrap().methods().next().unwrap();
        let refused = Access::of(&method).unwrap_err().to_string();
        assert!(refused.contains("does not say who may call it"), "{refused}");
    }
}
