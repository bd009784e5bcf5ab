//! What the customer was told about an order.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::domain::{Latest, Stamp};

/// Messages that a document keeps, the newest ones: some three a kind and order, and kinds may be added.
const MESSAGES_MAX: usize = 64;

/// Where one message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Number of the kind.
    pub kind: i32,
    /// Number of the channel.
    pub channel: i32,
    /// Number of the status.
    pub status: i32,
    pub attempts: i32,
    /// Stable, `UPPER_SNAKE`; empty: none.
    pub failure_reason: String,
}

/// All messages about one order, by their ids, which are in the order of making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages(BTreeMap<Uuid, Latest<Message>>);

impl Messages {
    pub(super) fn hear(&mut self, notification_id: Uuid, stamp: Stamp, message: Message) {
        self.0.entry(notification_id).or_default().hear(stamp, message);
        while self.0.len() > MESSAGES_MAX {
            self.0.pop_first();
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (id, latest) in other.0 {
            if let Some((stamp, message)) = latest.get() {
                self.hear(id, stamp, message.clone());
            }
        }
    }

    /// The messages as they stand, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, Stamp, &Message)> {
        self.0.iter().filter_map(|(id, latest)| latest.get().map(|(stamp, message)| (*id, stamp, message)))
    }
}

impl FromIterator<(Uuid, Stamp, Message)> for Messages {
    fn from_iter<I: IntoIterator<Item = (Uuid, Stamp, Message)>>(messages: I) -> Self {
        let mut all = Self::default();
        for (id, stamp, message) in messages {
            all.hear(id, stamp, message);
        }
        all
    }
}
