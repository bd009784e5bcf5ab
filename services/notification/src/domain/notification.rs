//! One message to a customer, from the decision to its end.
//!
//! ```text
//! new ──► SUPPRESSED              not wanted, or no address
//!     ├─► SENT                    handed over within the same transaction (history)
//!     └─► REQUESTED ──► SENT      handed over by the delivery worker
//!              └──────► FAILED    refused, or attempts used up
//! SENT, FAILED, SUPPRESSED ──resend──► as new, one round later
//! ```

use openorder_types::{Timestamp, UserId};
use uuid::Uuid;

use crate::domain::{AttemptResult, Channel, Kind, Recipient, Status};

/// When a message leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// In the transaction that decides it: the message is kept in the history and nothing leaves the machine.
    AtOnce,
    /// Later, by the delivery worker.
    ByWorker,
}

/// When the messages of each channel leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handovers {
    /// Mail.
    pub email: Handover,
    /// Text messages.
    pub sms: Handover,
    /// Messages in the app.
    pub push: Handover,
}

impl Handovers {
    /// That of one channel.
    #[must_use]
    pub const fn of(&self, channel: Channel) -> Handover {
        match channel {
            Channel::Email => self.email,
            Channel::Sms => self.sms,
            Channel::Push => self.push,
        }
    }
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub notification_id: Uuid,
    /// The order that it is about.
    pub order_id: Uuid,
    /// Whom it is for.
    pub user_id: UserId,
    /// What it is about.
    pub kind: Kind,
    /// How it goes.
    pub channel: Channel,
    /// Current status.
    pub status: Status,
    /// Where it goes, if there is an address.
    pub recipient: Option<Recipient>,
    /// Its subject line; empty where the channel has none.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// 1, and one more each time that it is sent again on request.
    pub round: i32,
    /// How often sending was tried, in all rounds.
    pub attempts: i32,
    /// How often sending was tried in this round.
    pub round_attempts: i32,
    /// Why it failed or was suppressed, in stable `UPPER_SNAKE`; else empty.
    pub failure_reason: String,
    /// W3C trace context of the work that made it.
    pub traceparent: String,
    /// 1 for a new one, one more for every change.
    pub version: i64,
    /// Version in its stream of events.
    pub event_version: i64,
    /// When it was decided.
    pub create_time: Timestamp,
    /// When the round began.
    pub request_time: Timestamp,
    /// When it was handed over.
    pub send_time: Option<Timestamp>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
}

impl Notification {
    /// It is not wanted, or cannot be sent, for this reason.
    pub(crate) fn suppress(&mut self, reason: &str) {
        self.status = Status::Suppressed;
        reason.clone_into(&mut self.failure_reason);
    }

    /// Begins another round.
    pub(crate) fn begin_round(&mut self, handover: Handover, now: Timestamp) {
        self.round += 1;
        self.round_attempts = 0;
        self.failure_reason.clear();
        self.version += 1;
        self.hand_over(handover, now);
    }

    /// Hands it over in this round, or leaves that to the worker.
    pub(crate) fn hand_over(&mut self, handover: Handover, now: Timestamp) {
        self.event_version += 1;
        self.request_time = now;
        match handover {
            Handover::AtOnce => {
                self.attempts += 1;
                self.round_attempts += 1;
                self.status = Status::Sent;
                self.send_time = Some(now);
            }
            Handover::ByWorker => {
                self.status = Status::Requested;
                self.send_time = None;
                self.next_attempt_at = Some(now);
            }
        }
    }

    /// Counts an attempt that ended so.
    pub(crate) fn end_attempt(&mut self, result: AttemptResult, now: Timestamp) {
        self.attempts += 1;
        self.round_attempts += 1;
        self.version += 1;
        match result {
            AttemptResult::RetryAt(time) => {
                self.next_attempt_at = Some(time);
                return;
            }
            AttemptResult::Sent => {
                self.status = Status::Sent;
                self.send_time = Some(now);
            }
            AttemptResult::Failed(reason) => {
                self.status = Status::Failed;
                reason.clone_into(&mut self.failure_reason);
            }
        }
        self.event_version += 1;
        self.next_attempt_at = None;
    }
}
