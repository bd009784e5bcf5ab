//! Every legitimate "no" of the service.

use openorder_types::{Rejection, UserId};
use uuid::Uuid;

/// There is no such notification.
#[must_use]
pub fn not_found(notification_id: Uuid) -> Rejection {
    Rejection::not_found("NOTIFICATION_NOT_FOUND", "there is no such notification")
        .with("notification_id", notification_id)
}

/// The notification waits for its delivery already.
#[must_use]
pub fn in_progress(notification_id: Uuid) -> Rejection {
    let text = "the notification is being sent already";
    Rejection::failed_precondition("NOTIFICATION_IN_PROGRESS", text).with("notification_id", notification_id)
}

/// The notification has no address.
#[must_use]
pub fn recipient_missing(notification_id: Uuid) -> Rejection {
    let text = "there is no address that it could be sent to";
    Rejection::failed_precondition("RECIPIENT_MISSING", text).with("notification_id", notification_id)
}

/// The attempt is one of an earlier round, or the round has ended.
#[must_use]
pub fn delivery_outdated(notification_id: Uuid) -> Rejection {
    let text = "nobody waits for the result of this attempt";
    Rejection::failed_precondition("DELIVERY_OUTDATED", text).with("notification_id", notification_id)
}

/// The user does not exist for this caller.
#[must_use]
pub fn user_not_found(user_id: &UserId) -> Rejection {
    Rejection::not_found("USER_NOT_FOUND", "there is no such user").with("user_id", user_id)
}
