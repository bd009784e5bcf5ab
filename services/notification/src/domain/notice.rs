//! A change of an order that its customer is notified of.

use openorder_types::{EmailAddress, Money, UserId};
use uuid::Uuid;

use crate::domain::{Channel, Kind};

/// A fact about an order that its customer is notified of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Ids of the notifications to be.
    pub notification_ids: ChannelIds,
    pub order_id: Uuid,
    pub user_id: UserId,
    /// Where mail goes, if there is an address.
    pub recipient: Option<EmailAddress>,
    pub kind: Kind,
    /// What the customer pays.
    pub total: Option<Money>,
    pub lines: Vec<NoticeLine>,
    /// Why, in stable `UPPER_SNAKE`; empty where there is nothing to explain.
    pub reason: String,
    /// Why, for people; may be empty.
    pub detail: String,
}

/// An id for a notification over each channel, UUID version 7; those of channels that are not wanted are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelIds {
    pub email: Uuid,
    pub sms: Uuid,
    pub push: Uuid,
}

impl ChannelIds {
    /// That of one channel.
    #[must_use]
    pub const fn of(&self, channel: Channel) -> Uuid {
        match channel {
            Channel::Email => self.email,
            Channel::Sms => self.sms,
            Channel::Push => self.push,
        }
    }
}

/// One position of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeLine {
    pub display_name: String,
    pub quantity: i64,
    pub line_total: Option<Money>,
}
