//! A user.

use openorder_types::{EmailAddress, Fault, Timestamp, UserId, numbered};
use uuid::Uuid;

use crate::domain::{PasswordHash, UserName};

numbered! {
    /// Whether a user may sign in.
    pub enum UserState {
        Active = 1 "ACTIVE",
        Disabled = 2 "DISABLED",
        Erased = 3 "ERASED",
    }
}

numbered! {
    /// What a caller may do.
    pub enum UserRole {
        Customer = 1 "CUSTOMER",
        Operator = 2 "OPERATOR",
        Service = 3 "SERVICE",
        Viewer = 4 "VIEWER",
    }
}

impl UserRole {
    /// Its name in access tokens.
    #[must_use]
    pub fn token_name(self) -> String {
        self.as_str().to_lowercase()
    }

    const fn bit(self) -> i16 {
        1 << self.number()
    }
}

/// At least one role, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles(i16);

impl Roles {
    pub const CUSTOMER: Self = Self(UserRole::Customer.bit());

    /// `None` without any.
    #[must_use]
    pub fn of(roles: impl IntoIterator<Item = UserRole>) -> Option<Self> {
        let bits = roles.into_iter().fold(0, |bits, role| bits | role.bit());
        (bits != 0).then_some(Self(bits))
    }

    /// As they are stored: a bit each.
    #[must_use]
    pub const fn bits(self) -> i16 {
        self.0
    }

    /// # Errors
    /// A permanent fault: a bit of no role, or none at all.
    pub fn from_stored(bits: i16) -> Result<Self, Fault> {
        let known = UserRole::ALL.iter().fold(0, |all, role| all | role.bit());
        if bits == 0 || bits & !known != 0 {
            return Err(Fault::permanent(format!("{bits} are no roles")));
        }
        Ok(Self(bits))
    }

    #[must_use]
    pub const fn has(self, role: UserRole) -> bool {
        self.0 & role.bit() != 0
    }

    /// By number.
    pub fn iter(self) -> impl Iterator<Item = UserRole> {
        UserRole::ALL.iter().copied().filter(move |role| self.has(*role))
    }

    /// As they stand in access tokens.
    #[must_use]
    pub fn token_names(self) -> Vec<String> {
        self.iter().map(UserRole::token_name).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub user_id: UserId,
    /// UUID version 7: the order of registration.
    pub registration_id: Uuid,
    /// In lower case; of an erased user a name that stands for nobody.
    pub email: EmailAddress,
    pub display_name: UserName,
    pub roles: Roles,
    pub state: UserState,
    pub password: PasswordHash,
    pub version: i64,
    /// Entries of what it did, and how many of them were published as activities.
    pub activity_count: i64,
    pub activity_version: i64,
    /// Seconds since 1970: access tokens issued in this second or before are refused.
    pub tokens_after: i64,
    /// When a failed sign-in was last written down.
    pub failure_time: Option<Timestamp>,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl User {
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == UserState::Active
    }

    /// Whether it is nobody any more.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.state == UserState::Erased
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_a_set_that_is_stored_as_bits() {
        let roles = Roles::of([UserRole::Viewer, UserRole::Customer, UserRole::Viewer]).unwrap();
        assert_eq!((roles.bits(), roles.token_names()), (18, vec!["customer".to_owned(), "viewer".to_owned()]));
        assert_eq!(Roles::from_stored(18), Ok(roles));
        assert!(roles.has(UserRole::Viewer) && !roles.has(UserRole::Operator));
        assert_eq!(Roles::of([]), None);
        for wrong in [0, 1, 32, -1] {
            assert!(Roles::from_stored(wrong).is_err(), "{wrong}");
        }
    }
}
