//! Which notifications a user wants, over which channels.

use std::collections::BTreeSet;

use openorder_types::{Timestamp, UserId};

use crate::domain::{Channel, Kind, Notice, PhoneNumber, PushToken, Recipient};

/// Preferences of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// The user.
    pub user_id: UserId,
    /// Whether mail is wanted.
    pub email_enabled: bool,
    /// Whether text messages are wanted.
    pub sms_enabled: bool,
    /// Whether messages in the app are wanted.
    pub push_enabled: bool,
    /// Kinds that are not wanted over any channel.
    pub muted_kinds: BTreeSet<Kind>,
    /// Where text messages go, if the user said so.
    pub phone_number: Option<PhoneNumber>,
    /// Where messages in the app go, if the app said so.
    pub push_token: Option<PushToken>,
    /// 0 while the user never said what it wants.
    pub version: i64,
    /// When they last changed.
    pub update_time: Option<Timestamp>,
}

/// New values of some preferences; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreferencesChange {
    /// Whether mail is wanted.
    pub email_enabled: Option<bool>,
    /// Whether text messages are wanted.
    pub sms_enabled: Option<bool>,
    /// Whether messages in the app are wanted.
    pub push_enabled: Option<bool>,
    /// All kinds that are not wanted.
    pub muted_kinds: Option<BTreeSet<Kind>>,
    /// Where text messages go; `Some(None)`: nowhere any more.
    pub phone_number: Option<Option<PhoneNumber>>,
    /// Where messages in the app go; `Some(None)`: nowhere any more.
    pub push_token: Option<Option<PushToken>>,
}

impl PreferencesChange {
    /// Where a person was reached is forgotten, and with it that it wanted to be. What kinds it did not want stays.
    #[must_use]
    pub fn forgetting() -> Self {
        Self {
            sms_enabled: Some(false),
            push_enabled: Some(false),
            phone_number: Some(None),
            push_token: Some(None),
            ..Self::default()
        }
    }
}

impl Preferences {
    /// Of a user who never said what it wants: mail of every kind.
    #[must_use]
    pub fn default_of(user_id: UserId) -> Self {
        Self {
            user_id,
            email_enabled: true,
            sms_enabled: false,
            push_enabled: false,
            muted_kinds: BTreeSet::new(),
            phone_number: None,
            push_token: None,
            version: 0,
            update_time: None,
        }
    }

    /// The channels over which something about an order is decided. Mail always is, so that the history says what
    /// became of it; the others only where the user asked for them.
    pub fn channels(&self) -> impl Iterator<Item = Channel> {
        [(Channel::Email, true), (Channel::Sms, self.sms_enabled), (Channel::Push, self.push_enabled)]
            .into_iter()
            .filter_map(|(channel, considered)| considered.then_some(channel))
    }

    /// Where a notification goes over this channel: mail to the address that the order was given, everything else
    /// to what the user said here.
    #[must_use]
    pub fn recipient(&self, channel: Channel, notice: &Notice) -> Option<Recipient> {
        match channel {
            Channel::Email => notice.recipient.clone().map(Recipient::Email),
            Channel::Sms => self.phone_number.clone().map(Recipient::Sms),
            Channel::Push => self.push_token.clone().map(Recipient::Push),
        }
    }

    /// Why a notification of this kind is not to be sent over this channel, in stable `UPPER_SNAKE`; `None` when it
    /// is wanted.
    #[must_use]
    pub fn objection(&self, channel: Channel, kind: Kind) -> Option<&'static str> {
        let enabled = match channel {
            Channel::Email => self.email_enabled,
            Channel::Sms => self.sms_enabled,
            Channel::Push => self.push_enabled,
        };
        if !enabled {
            Some("CHANNEL_DISABLED")
        } else if self.muted_kinds.contains(&kind) {
            Some("KIND_MUTED")
        } else {
            None
        }
    }

    /// The preferences after a change; a change that changes nothing leaves the version.
    #[must_use]
    pub fn changed(&self, change: &PreferencesChange, now: Timestamp) -> Self {
        let next = Self {
            email_enabled: change.email_enabled.unwrap_or(self.email_enabled),
            sms_enabled: change.sms_enabled.unwrap_or(self.sms_enabled),
            push_enabled: change.push_enabled.unwrap_or(self.push_enabled),
            muted_kinds: change.muted_kinds.clone().unwrap_or_else(|| self.muted_kinds.clone()),
            phone_number: change.phone_number.clone().unwrap_or_else(|| self.phone_number.clone()),
            push_token: change.push_token.clone().unwrap_or_else(|| self.push_token.clone()),
            ..self.clone()
        };
        // The first word of a user counts, even if it says what was assumed: it is on record from then on.
        if next == *self && self.version > 0 {
            return next;
        }
        Self { version: self.version + 1, update_time: Some(now), ..next }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ada() -> Preferences {
        Preferences::default_of(UserId::parse("ada").unwrap())
    }

    #[test]
    fn who_never_said_so_gets_mail_of_every_kind_and_nothing_else() {
        for kind in Kind::ALL {
            assert_eq!(ada().objection(Channel::Email, *kind), None);
            assert_eq!(ada().objection(Channel::Sms, *kind), Some("CHANNEL_DISABLED"));
            assert_eq!(ada().objection(Channel::Push, *kind), Some("CHANNEL_DISABLED"));
        }
    }

    #[test]
    fn a_muted_kind_is_muted_alone() {
        let muted_kinds = Some(BTreeSet::from([Kind::OrderShipped]));
        let change = PreferencesChange { muted_kinds, ..PreferencesChange::default() };
        let preferences = ada().changed(&change, Timestamp::UNIX_EPOCH);
        assert_eq!(preferences.objection(Channel::Email, Kind::OrderShipped), Some("KIND_MUTED"));
        assert_eq!(preferences.objection(Channel::Email, Kind::OrderPaid), None);
    }

    #[test]
    fn what_a_change_does_not_name_stays() {
        let change = PreferencesChange { sms_enabled: Some(true), ..PreferencesChange::default() };
        let first = ada().changed(&change, Timestamp::UNIX_EPOCH);
        assert_eq!((first.email_enabled, first.sms_enabled, first.version), (true, true, 1));
        let change = PreferencesChange { email_enabled: Some(false), ..PreferencesChange::default() };
        let second = first.changed(&change, Timestamp::UNIX_EPOCH);
        assert_eq!((second.email_enabled, second.sms_enabled, second.version), (false, true, 2));
    }

    #[test]
    fn an_address_can_be_given_and_taken_back() {
        let number = PhoneNumber::parse("+4930901820").unwrap();
        let given = PreferencesChange { phone_number: Some(Some(number.clone())), ..PreferencesChange::default() };
        let with = ada().changed(&given, Timestamp::UNIX_EPOCH);
        assert_eq!((with.phone_number.as_ref(), with.push_token.as_ref(), with.version), (Some(&number), None, 1));
        let back = PreferencesChange { phone_number: Some(None), ..PreferencesChange::default() };
        let without = with.changed(&back, Timestamp::UNIX_EPOCH);
        assert_eq!((without.phone_number, without.version), (None, 2));
    }

    #[test]
    fn nothing_is_decided_about_a_channel_that_nobody_asked_for() {
        assert_eq!(ada().channels().collect::<Vec<_>>(), [Channel::Email]);
        let change = PreferencesChange {
            email_enabled: Some(false),
            sms_enabled: Some(true),
            push_enabled: Some(true),
            ..PreferencesChange::default()
        };
        let asked = ada().changed(&change, Timestamp::UNIX_EPOCH);
        assert_eq!(asked.channels().collect::<Vec<_>>(), Channel::ALL);
    }

    #[test]
    fn a_change_of_nothing_is_no_change_but_the_first_word_counts() {
        let change = PreferencesChange { email_enabled: Some(true), ..PreferencesChange::default() };
        let first = ada().changed(&change, Timestamp::UNIX_EPOCH);
        assert_eq!((first.version, first.update_time), (1, Some(Timestamp::UNIX_EPOCH)));
        assert_eq!(first.changed(&change, Timestamp::MAX_UTC), first);
    }
}
