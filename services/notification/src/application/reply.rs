//! What a caller gets back, and its stored form.

use openorder_messaging::Reply;
use openorder_proto::notification::v1::{Notification, NotificationPreferences};
use prost::Message;

/// Reply of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum NotificationReply {
    /// Preferences after their change.
    Preferences(NotificationPreferences),
    /// A notification after its change.
    Notification(Notification),
    /// A fact was taken note of.
    Noted,
}

impl Reply for NotificationReply {
    fn encode(&self) -> Vec<u8> {
        let (tag, mut bytes) = match self {
            Self::Preferences(preferences) => (1, preferences.encode_to_vec()),
            Self::Notification(notification) => (2, notification.encode_to_vec()),
            Self::Noted => (3, Vec::new()),
        };
        bytes.push(tag);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, message) = bytes.split_last()?;
        match tag {
            1 => NotificationPreferences::decode(message).ok().map(Self::Preferences),
            2 => Notification::decode(message).ok().map(Self::Notification),
            3 => Some(Self::Noted),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_they_were_written() {
        let preferences = NotificationPreferences { user_id: "ada".to_owned(), version: 3, ..Default::default() };
        let notification = Notification { subject: "Hello".to_owned(), attempts: 2, ..Default::default() };
        for reply in [
            NotificationReply::Preferences(preferences),
            NotificationReply::Notification(notification),
            NotificationReply::Noted,
        ] {
            assert_eq!(NotificationReply::decode(&reply.encode()), Some(reply));
        }
        assert_eq!(NotificationReply::decode(&[]), None);
        assert_eq!(NotificationReply::decode(&[9]), None);
    }
}
