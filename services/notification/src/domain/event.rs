//! Facts that the rules of notifications decide.

use openorder_types::Timestamp;
use uuid::Uuid;

use crate::domain::{Handover, Notification, Preferences};

/// A fact about a notification or the preferences of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A notification was decided: requested, sent or suppressed.
    Decided(Box<Notification>),
    /// A notification is sent once more.
    RoundBegun {
        notification_id: Uuid,
        /// When the message leaves.
        handover: Handover,
        time: Timestamp,
    },
    /// An attempt to hand a notification over has ended.
    AttemptEnded {
        notification_id: Uuid,
        /// What follows from it.
        result: AttemptResult,
        time: Timestamp,
    },
    /// The preferences of a user have other values now. Not published.
    PreferencesChanged(Box<Preferences>),
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    /// The notification is sent.
    Sent,
    /// It is tried again at this time. Not published.
    RetryAt(Timestamp),
    /// It is given up for this reason, in stable `UPPER_SNAKE`.
    Failed(&'static str),
}
