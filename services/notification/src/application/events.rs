//! From notifications to protobuf events. They hold no address and no text.

use openorder_proto::notification::v1 as proto;
use openorder_service::{Aggregate, NewEvents};

use crate::{
    domain::{Notification, Status},
    present,
};

/// Appends the event of a notification that has just been requested, sent or given up; none for one that is not wanted.
pub(crate) fn publish(events: &mut NewEvents, one: &Notification) {
    let notification_id = one.notification_id.to_string();
    let user_id = one.user_id.to_string();
    let order_id = one.order_id.to_string();
    let channel = present::channel(one.channel).into();
    let kind = present::kind(one.kind).into();
    let (version, attempts) = (one.version, one.attempts);
    match one.status {
        Status::Suppressed => {}
        Status::Requested => {
            let message = proto::NotificationRequested { notification_id, user_id, order_id, channel, kind, version };
            events.append(&message, aggregate(one));
        }
        Status::Sent => {
            let message =
                proto::NotificationSent { notification_id, user_id, order_id, channel, kind, version, attempts };
            events.append(&message, aggregate(one));
        }
        Status::Failed => {
            let failure_reason = one.failure_reason.clone();
            let message = proto::NotificationFailed {
                notification_id,
                user_id,
                order_id,
                channel,
                kind,
                version,
                attempts,
                failure_reason,
            };
            events.append(&message, aggregate(one));
        }
    }
}

/// The events of all notifications of an order keep their order.
fn aggregate(one: &Notification) -> Aggregate {
    Aggregate::new("notification", one.notification_id, one.event_version).keyed_by(one.order_id)
}
