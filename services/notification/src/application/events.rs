//! From notifications to protobuf events. They hold no address and no text.

use openorder_messaging::NewEvent;
use openorder_proto::{EventMessage, notification::v1 as proto};

use crate::{
    domain::{Notification, Status},
    present,
};

/// The event of a notification that has just been requested, sent or given up; none for one that is not wanted.
pub(crate) fn of(one: &Notification, cause: usize) -> Option<NewEvent> {
    let notification_id = one.notification_id.to_string();
    let user_id = one.user_id.to_string();
    let order_id = one.order_id.to_string();
    let channel = present::channel(one.channel).into();
    let kind = present::kind(one.kind).into();
    let (version, attempts) = (one.version, one.attempts);
    match one.status {
        Status::Suppressed => None,
        Status::Requested => {
            let message = proto::NotificationRequested { notification_id, user_id, order_id, channel, kind, version };
            Some(event(one, &message, cause))
        }
        Status::Sent => {
            let message =
                proto::NotificationSent { notification_id, user_id, order_id, channel, kind, version, attempts };
            Some(event(one, &message, cause))
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
            Some(event(one, &message, cause))
        }
    }
}

fn event<M: EventMessage>(one: &Notification, message: &M, cause: usize) -> NewEvent {
    NewEvent {
        event_type: M::EVENT_TYPE,
        topic: M::TOPIC,
        key: one.order_id.to_string(),
        aggregate_type: "notification",
        aggregate_id: one.notification_id.to_string(),
        aggregate_version: one.event_version,
        payload: message.encode_to_vec(),
        cause,
    }
}
