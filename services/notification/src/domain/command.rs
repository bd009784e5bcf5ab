//! What the rules of notifications decide on.

use openorder_types::{Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{Notice, PreferencesChange};

/// A command of a caller, of another service's event or of the delivery worker: the rules do not ask where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// An order changed in a way that its customer is notified of.
    Notify(Box<Notice>),
    /// A user changes its preferences.
    UpdatePreferences { user_id: UserId, change: PreferencesChange },
    /// A user is nobody any more: where it was reached is forgotten.
    Forget { user_id: UserId },
    /// A notification is to be sent once more.
    Resend { notification_id: Uuid },
    /// An attempt to hand a notification over has ended.
    Delivered(Box<Delivery>),
}

/// One attempt to hand a notification over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub notification_id: Uuid,
    /// The round that the attempt belongs to: a late result does not touch a later round.
    pub round: i32,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub outcome: DeliveryOutcome,
    /// When another attempt is due, if there is to be one.
    pub retry_at: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The other side took the message.
    Accepted,
    /// It may take it later.
    TryLater {
        /// Stable, `UPPER_SNAKE`.
        reason: &'static str,
        /// What the other side said, without addresses.
        detail: String,
    },
    /// It never will.
    Refused {
        /// Stable, `UPPER_SNAKE`.
        reason: &'static str,
        /// What the other side said, without addresses.
        detail: String,
    },
}

impl DeliveryOutcome {
    /// The number in table `delivery_attempt`.
    #[must_use]
    pub const fn number(&self) -> i16 {
        match self {
            Self::Accepted => 1,
            Self::TryLater { .. } => 2,
            Self::Refused { .. } => 3,
        }
    }

    /// Reason and detail; both empty for an accepted message.
    #[must_use]
    pub fn why(&self) -> (&'static str, &str) {
        match self {
            Self::Accepted => ("", ""),
            Self::TryLater { reason, detail } | Self::Refused { reason, detail } => (reason, detail),
        }
    }
}
