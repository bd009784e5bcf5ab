//! `user.profile.v1`: where an erased user was reached is forgotten.

use openorder_proto::user::v1::UserErased;
use openorder_types::{UserId, ValueError};

use crate::domain::Command;

pub(super) fn erased(event: UserErased) -> Result<Command, ValueError> {
    Ok(Command::Forget { user_id: UserId::parse(&event.user.unwrap_or_default().user_id)? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use openorder_proto::user::v1::UserProfile;

    use super::*;

    #[test]
    fn an_erased_user_is_forgotten_by_its_id() {
        let event = |user_id: &str| UserErased {
            user: Some(UserProfile { user_id: user_id.to_owned(), ..UserProfile::default() }),
        };
        let forget = Command::Forget { user_id: UserId::parse("ada").unwrap() };
        assert_eq!(erased(event("ada")), Ok(forget));
        assert_eq!(erased(event("")).unwrap_err().reason, "USER_ID_MALFORMED");
    }
}
