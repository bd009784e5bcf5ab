//! From the domain to protobuf. Nothing secret is in it: tokens and keys are put in where a caller is answered.

use openorder_proto::internal::user::v1::{Revocation as RevocationMessage, revocation};
use openorder_proto::user::v1 as proto;
use openorder_rpc::timestamp_to_proto;

use crate::domain::{Activity, ApiKey, Revocation, RevocationTarget, Roles, User, UserRole};

pub(crate) fn roles(roles: Roles) -> Vec<i32> {
    roles.iter().map(UserRole::number).map(i32::from).collect()
}

pub(crate) fn user(user: &User) -> proto::User {
    // What stands in the place of an erased user's mail address is none.
    let email = if user.is_erased() { "" } else { user.email.as_str() };
    proto::User {
        user_id: user.user_id.to_string(),
        email: email.to_owned(),
        display_name: user.display_name.as_str().to_owned(),
        roles: roles(user.roles),
        state: i32::from(user.state.number()),
        version: user.version,
        create_time: Some(timestamp_to_proto(&user.create_time)),
        update_time: Some(timestamp_to_proto(&user.update_time)),
    }
}

/// What events tell of a user.
pub(crate) fn profile(user: &User) -> proto::UserProfile {
    proto::UserProfile {
        user_id: user.user_id.to_string(),
        roles: roles(user.roles),
        state: i32::from(user.state.number()),
        version: user.version,
        create_time: Some(timestamp_to_proto(&user.create_time)),
        update_time: Some(timestamp_to_proto(&user.update_time)),
    }
}

pub(crate) fn api_key(key: &ApiKey) -> proto::ApiKey {
    proto::ApiKey {
        api_key_id: key.api_key_id.clone(),
        user_id: key.user_id.to_string(),
        display_name: key.display_name.as_str().to_owned(),
        create_time: Some(timestamp_to_proto(&key.create_time)),
        expire_time: key.expire_time.as_ref().map(timestamp_to_proto),
        last_use_time: key.last_use_time.as_ref().map(timestamp_to_proto),
        revoke_time: key.revoke_time.as_ref().map(timestamp_to_proto),
    }
}

pub(crate) fn activity(activity: &Activity) -> proto::UserActivity {
    proto::UserActivity {
        user_id: activity.user_id.to_string(),
        number: activity.number,
        r#type: i32::from(activity.activity_type.number()),
        time: Some(timestamp_to_proto(&activity.time)),
        actor: activity.actor.clone(),
        session_id: activity.session_id.map(|id| id.to_string()).unwrap_or_default(),
        api_key_id: activity.api_key_id.clone().unwrap_or_default(),
        roles: activity.roles.map(roles).unwrap_or_default(),
        peer_hash: activity.peer_hash.clone(),
    }
}

pub(crate) fn revoked(revocation: &Revocation) -> RevocationMessage {
    let target = match &revocation.target {
        RevocationTarget::Session(session_id) => revocation::Target::SessionId(session_id.clone()),
        RevocationTarget::User(user_id) => revocation::Target::UserId(user_id.to_string()),
    };
    RevocationMessage {
        target: Some(target),
        revoke_time: Some(timestamp_to_proto(&revocation.revoke_time)),
        expire_time: Some(timestamp_to_proto(&revocation.expire_time)),
    }
}

#[cfg(test)]
mod tests {
    use openorder_types::assert_numbered_as_in_the_contract;

    use super::*;
    use crate::domain::{ActivityType, UserState};

    #[test]
    fn stored_numbers_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            UserState = proto::UserState, "USER_STATE";
            UserRole = proto::UserRole, "USER_ROLE";
            ActivityType = proto::UserActivityType, "USER_ACTIVITY_TYPE";
        }
    }
}
