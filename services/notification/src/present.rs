//! From the domain to protobuf.

use openorder_proto::notification::v1 as proto;
use openorder_rpc::timestamp_to_proto;
use openorder_types::Caller;

use crate::domain::{Channel, Kind, Notification, PhoneNumber, Preferences, PushToken, Recipient, Status};

pub(crate) fn notification(one: &Notification) -> proto::Notification {
    proto::Notification {
        notification_id: one.notification_id.to_string(),
        user_id: one.user_id.to_string(),
        order_id: one.order_id.to_string(),
        channel: channel(one.channel).into(),
        kind: kind(one.kind).into(),
        subject: one.subject.clone(),
        body: one.body.clone(),
        masked_recipient: one.recipient.as_ref().map(Recipient::masked).unwrap_or_default(),
        status: status(one.status).into(),
        attempts: one.attempts,
        create_time: Some(timestamp_to_proto(&one.create_time)),
        send_time: one.send_time.as_ref().map(timestamp_to_proto),
        failure_reason: one.failure_reason.clone(),
        trace_id: trace_id(&one.traceparent).to_owned(),
        version: one.version,
    }
}

/// The message as this caller sees it: one that only looks on sees neither its text nor where it went.
pub(crate) fn notification_for(caller: &Caller, one: &Notification) -> proto::Notification {
    let shown = notification(one);
    if caller.may_act_for(&one.user_id) {
        return shown;
    }
    let nothing = String::new;
    proto::Notification { subject: nothing(), body: nothing(), masked_recipient: nothing(), ..shown }
}

/// The preferences as this caller sees them: one that only looks on sees no address.
pub(crate) fn preferences_for(caller: &Caller, one: &Preferences) -> proto::NotificationPreferences {
    let shown = preferences(one);
    if caller.may_act_for(&one.user_id) {
        return shown;
    }
    proto::NotificationPreferences { phone_number: String::new(), push_token: String::new(), ..shown }
}

pub(crate) fn preferences(preferences: &Preferences) -> proto::NotificationPreferences {
    proto::NotificationPreferences {
        user_id: preferences.user_id.to_string(),
        email_enabled: preferences.email_enabled,
        sms_enabled: preferences.sms_enabled,
        push_enabled: preferences.push_enabled,
        muted_kinds: preferences.muted_kinds.iter().map(|muted| kind(*muted).into()).collect(),
        version: preferences.version,
        update_time: preferences.update_time.as_ref().map(timestamp_to_proto),
        phone_number: preferences.phone_number.as_ref().map(PhoneNumber::as_str).unwrap_or_default().to_owned(),
        push_token: preferences.push_token.as_ref().map(PushToken::as_str).unwrap_or_default().to_owned(),
    }
}

pub(crate) fn kind(kind: Kind) -> proto::NotificationKind {
    proto::NotificationKind::try_from(i32::from(kind.number())).unwrap_or_default()
}

pub(crate) fn channel(channel: Channel) -> proto::NotificationChannel {
    proto::NotificationChannel::try_from(i32::from(channel.number())).unwrap_or_default()
}

fn status(status: Status) -> proto::NotificationStatus {
    proto::NotificationStatus::try_from(i32::from(status.number())).unwrap_or_default()
}

/// The second part of a traceparent (W3C Trace Context).
fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use openorder_types::assert_numbered_as_in_the_contract;

    use super::*;

    #[test]
    fn the_numbers_of_the_tables_are_those_of_the_contract() {
        assert_numbered_as_in_the_contract! {
            Kind = proto::NotificationKind, "NOTIFICATION_KIND";
            Channel = proto::NotificationChannel, "NOTIFICATION_CHANNEL";
            Status = proto::NotificationStatus, "NOTIFICATION_STATUS";
        }
    }

    #[test]
    fn a_trace_id_is_part_of_its_context() {
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_id(context), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace_id(""), "");
    }
}
