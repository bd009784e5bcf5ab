//! From changes to protobuf events.

use openorder_proto::user::v1 as proto;
use openorder_service::{Aggregate, NewEvents};

use crate::domain::{Activity, ActivityType, Change, Fact, User};
use crate::present;

/// Adds the message of a change, if it has one.
pub(crate) fn publish(events: &mut NewEvents, change: &Change) {
    let Some((activity, fact)) = &change.activity else { return };
    match fact {
        Fact::Profile => profile(events, activity, &change.user),
        Fact::Activity => done(events, activity, &change.user),
        Fact::Session => {
            let Some(session_id) = activity.session_id else { return };
            // A session is compromised once. Its event stays in order with the user's others of the topic.
            let aggregate = Aggregate::new("session", session_id, 1).keyed_by(&change.user.user_id);
            let activity = Some(present::activity(activity));
            events.append(&proto::UserSessionCompromised { activity }, aggregate);
        }
    }
}

fn profile(events: &mut NewEvents, activity: &Activity, user: &User) {
    let aggregate = Aggregate::new("user", &user.user_id, user.version);
    let user = Some(present::profile(user));
    match activity.activity_type {
        ActivityType::Registered => events.append(&proto::UserCreated { user }, aggregate),
        ActivityType::RolesAssigned => events.append(&proto::UserRolesAssigned { user }, aggregate),
        ActivityType::Disabled => events.append(&proto::UserDisabled { user }, aggregate),
        ActivityType::Enabled => events.append(&proto::UserEnabled { user }, aggregate),
        ActivityType::Erased => events.append(&proto::UserErased { user }, aggregate),
        _ => events.append(&proto::UserUpdated { user }, aggregate),
    }
}

fn done(events: &mut NewEvents, activity: &Activity, user: &User) {
    let aggregate = Aggregate::new("user_activity", &user.user_id, user.activity_version);
    let (activity_type, activity) = (activity.activity_type, Some(present::activity(activity)));
    match activity_type {
        ActivityType::SignedIn => events.append(&proto::UserSignedIn { activity }, aggregate),
        ActivityType::SignedOut => events.append(&proto::UserSignedOut { activity }, aggregate),
        ActivityType::PasswordChanged => events.append(&proto::UserPasswordChanged { activity }, aggregate),
        ActivityType::ApiKeyCreated => events.append(&proto::UserApiKeyCreated { activity }, aggregate),
        ActivityType::ApiKeyRevoked => events.append(&proto::UserApiKeyRevoked { activity }, aggregate),
        _ => events.append(&proto::UserSignInFailed { activity }, aggregate),
    }
}
