//! `notification.delivery.v1`: what the customer was told. One about no order is in no document.

use openorder_proto::notification::v1::{
    NotificationFailed, NotificationRequested, NotificationSent, NotificationStatus,
};
use openorder_types::{ValueError, parse_uuid};

use crate::{
    consumers::version,
    domain::{Fact, Message, Said},
};

/// What all events of a notification say in the same fields.
macro_rules! said {
    ($event:ident, $status:ident $(, $field:ident: $value:expr)* $(,)?) => {{
        if $event.order_id.is_empty() {
            return Ok(None);
        }
        let order_id = parse_uuid(&$event.order_id, "ORDER_ID_MALFORMED")?;
        let notification_id = parse_uuid(&$event.notification_id, "NOTIFICATION_ID_MALFORMED")?;
        let status = NotificationStatus::$status.into();
        let (kind, channel) = ($event.kind, $event.channel);
        let message = Message { kind, channel, status, attempts: 0, failure_reason: String::new() };
        let message = Message { $($field: $value,)* ..message };
        Ok(Some(Fact::new(order_id, version($event.version)?, Said::Message { notification_id, message })))
    }};
}

pub(super) fn requested(event: NotificationRequested) -> Result<Option<Fact>, ValueError> {
    said!(event, Requested)
}

pub(super) fn sent(event: NotificationSent) -> Result<Option<Fact>, ValueError> {
    said!(event, Sent, attempts: event.attempts)
}

pub(super) fn failed(event: NotificationFailed) -> Result<Option<Fact>, ValueError> {
    said!(event, Failed, attempts: event.attempts, failure_reason: event.failure_reason)
}
