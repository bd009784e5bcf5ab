//! `user.profile.v1`: the cart of an erased user is forgotten.

use openorder_proto::user::v1::UserErased;
use openorder_types::{UserId, ValueError};

use crate::domain::Command;

pub(super) fn erased(event: UserErased) -> Result<Command, ValueError> {
    UserId::parse(&event.user.unwrap_or_default().user_id).map(Command::Forget)
}

#[cfg(test)]
mod tests {
    use openorder_proto::user::v1::UserProfile;

    use super::*;

    #[test]
    fn an_erased_user_is_forgotten_by_its_id() {
        let event = |user_id: &str| UserErased {
            user: Some(UserProfile { user_id: user_id.to_owned(), ..UserProfile::default() }),
        };
        assert_eq!(erased(event("ada")), Ok(Command::Forget(UserId::parse("ada").unwrap())));
        assert_eq!(erased(event("")).unwrap_err().reason, "USER_ID_MALFORMED");
    }
}
